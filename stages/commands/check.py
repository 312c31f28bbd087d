"""Check that dvc.lock matches the code, data and metrics.

    python -m stages check
    python -m stages check --data    also read outputs that are too large to be read each time

Parameters, code, data pointers, dvc.lock and metrics in Git must belong together. The check
needs neither the data nor torch, and runs no stage. It hashes the data that are here, up to 1 GB, and
says which it did not look at. It shows that nothing is stale; `python -m stages verify` shows that a
rerun produces what dvc.lock recorded. Exit code 1 when there is a problem.
"""

import argparse
import logging
import math
import sys
from pathlib import Path

from stages.core.layout import Layout
from stages.core.params import load_params
from stages.core.provenance.lock_check import MOST_READ, examine_project
from stages.core.provenance.problems import Problem, report
from stages.core.yaml_files import check_project


def main(root: Path = Path(), all_data: bool = False) -> bool:
    """Print the problems. Returns whether everything belongs together."""
    try:
        check_project(root)
    except ValueError as error:
        print(error)
        return False
    logging.getLogger("dvc").setLevel(logging.ERROR)  # its warnings are among the problems
    examined = examine_project(root, math.inf if all_data else MOST_READ)
    try:
        load_params(Layout(root).params)
    except (FileNotFoundError, ValueError) as error:
        examined.problems[:0] = [Problem("params.yaml", line) for line in str(error).splitlines()]
    print(report(examined))
    return not examined.problems


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", action="store_true", help="hash all data that are here, however large")
    sys.exit(0 if main(all_data=parser.parse_args().data) else 1)
