"""Draw the pipeline in README.md.

    python -m stages draw_dag

The chart is what `dvc dag --mermaid` prints; it is between two markers, and GitHub draws it.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from stages.core.files import write_text
from stages.core.yaml_files import check_project

START, END = "<!-- dvc dag -->\n", "<!-- end of dvc dag -->\n"


def main(root: Path = Path()) -> None:
    readme = root / "README.md"
    text = readme.read_text(encoding="utf-8")
    if text.count(START) != 1 or text.count(END) != 1 or text.index(START) > text.index(END):
        raise ValueError(f"{readme}: expected {START.strip()} once and, below it, {END.strip()} once.")
    before, rest = text.split(START)
    after = rest.split(END)[1]
    write_text(readme, f"{before}{START}```mermaid\n{dag(root)}```\n{END}{after}")


def dag(root: Path) -> str:
    check_project(root)
    command = [sys.executable, "-m", "dvc", "dag", "--mermaid"]
    done = subprocess.run(command, cwd=root, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.expandtabs(2).strip() + "\n"


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    main()
