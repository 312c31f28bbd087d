"""Run each stage in a project, as `python -m stages.<stage>` does, and print how each ends, as JSON.

In one process, as starting Python takes longer than a stage of a small project.
"""

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from pathlib import Path

from stages.core.errors import print_error

STAGES = (
    "make_sample",
    "fetch_weights",
    "prepare_dataset",
    "render_config",
    "train",
    "evaluate",
    "cam_report",
)


def end_of(stage: str, root: Path) -> str:
    """What the stage prints of an error; empty if it ends well."""
    said = io.StringIO()
    with redirect_stdout(io.StringIO()), redirect_stderr(said):
        try:
            import_module(f"stages.{stage}").main(root)
        except BaseException as error:
            print_error(type(error), error, error.__traceback__)
    return said.getvalue()


if __name__ == "__main__":
    ends = {stage: end_of(stage, Path()) for stage in STAGES}
    print(json.dumps(ends))
