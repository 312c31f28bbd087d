"""Check that dvc.lock matches the code, data and metrics.

    python -m stages check

Parameters, code, data pointers, dvc.lock and metrics in Git must belong together. The check
needs neither the data nor torch, and runs no stage. It shows that nothing is stale; `python -m stages
verify` shows that a rerun produces what dvc.lock recorded. Exit code 1 when there is a problem.
"""

import argparse
import sys
from pathlib import Path

from stages.core.layout import Layout
from stages.core.params import load_params
from stages.core.provenance.lock_check import Problem, examine_project, report
from stages.core.yaml_files import check_project


def main(root: Path = Path()) -> bool:
    """Print the problems. Returns whether everything belongs together."""
    try:
        check_project(root)
    except ValueError as error:
        print(error)
        return False
    examined = examine_project(root)
    try:
        load_params(Layout(root).params)
    except (FileNotFoundError, ValueError) as error:
        examined.problems[:0] = [Problem("params.yaml", line) for line in str(error).splitlines()]
    print(report(examined))
    return not examined.problems


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    sys.exit(0 if main() else 1)
