"""How a stage or command ends: a foreseen error prints a message, a defect its traceback."""

import errno
import os
import sys
import traceback
from importlib.util import find_spec
from pathlib import Path
from subprocess import CalledProcessError
from types import TracebackType

from stages.core.names import shown_lines

PACKAGE = Path(__file__).resolve().parents[1]

MAKE_ROOM = "Make room on this disk and run the same command again"
GET_RIGHTS = "Change its permissions or its owner and run the same command again"
WHAT_TO_DO = {
    errno.ENOSPC: MAKE_ROOM,
    errno.EDQUOT: MAKE_ROOM,
    errno.EFBIG: MAKE_ROOM,
    errno.EACCES: GET_RIGHTS,
    errno.EPERM: GET_RIGHTS,
    errno.EISDIR: "Delete this folder: `dvc repro` makes the file",
    errno.EROFS: "Run it on a disk that can be written to",
    errno.ENOENT: "`dvc repro` makes and `dvc pull` downloads what the pipeline needs",
}
"""For the errors of the system that are no defect of this package."""


def install_error_hook() -> None:
    """It also lets every name be printed, whatever the terminal's locale says."""
    sys.excepthook = print_error
    for stream in filter(None, (sys.stdout, sys.stderr)):
        stream.reconfigure(errors="backslashreplace")


def print_error(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Raises SystemExit where the exit code is another than 1."""
    if isinstance(error, KeyboardInterrupt):
        resumes = ": `dvc repro` resumes with this stage" if "DVC_STAGE" in os.environ else ""
        print(f"\ninterrupted{resumes}", file=sys.stderr)
        raise SystemExit(130)
    if isinstance(error, CalledProcessError) and error.stderr is None:  # it has printed what is wrong
        raise SystemExit(error.returncode if error.returncode > 0 else 128 - error.returncode)
    message = foreseen(error, trace)
    if message:
        print(f"error: {shown_lines(message)}", file=sys.stderr)
    else:
        text = "".join(traceback.format_exception(kind, error, trace))
        print(shown_lines(text), end="", file=sys.stderr)


def foreseen(error: BaseException, trace: TracebackType | None) -> str:
    """The message of a foreseen error; empty for a defect."""
    if isinstance(error, Exception) and raised_here(trace):
        return getattr(error, "strerror", None) or str(error)
    if isinstance(error, ModuleNotFoundError) and not find_spec("torch"):
        return (
            f"{sys.executable} has no {error.name}: it is not the project's environment. Run "
            "`. .venv/bin/activate` first, and `make environment` before that if there is no .venv/."
        )
    if isinstance(error, CalledProcessError):
        said = error.stderr if isinstance(error.stderr, str) else error.stderr.decode("utf-8", "replace")
        return f"`{' '.join(map(str, error.cmd))}` failed: {said.strip()}"
    if raised_by_dvc(error):
        return ": ".join(causes(error))
    if isinstance(error, OSError) and error.errno in WHAT_TO_DO:
        file = f"{error.filename}: " if error.filename else ""
        return f"{file}{error.strerror}. {WHAT_TO_DO[error.errno]}."
    if isinstance(error, FileNotFoundError):  # a library's, in its own words
        return str(error)
    return ""


def raised_here(trace: TracebackType | None) -> bool:
    """Whether a `raise` of this package ended it: an error that has a message for the user."""
    last = traceback.extract_tb(trace)[-1]
    return Path(last.filename).is_relative_to(PACKAGE) and last.line.split()[:1] == ["raise"]


def raised_by_dvc(error: BaseException) -> bool:
    exceptions = sys.modules.get("dvc.exceptions")  # not imported here, as few stages need DVC
    return exceptions is not None and isinstance(error, exceptions.DvcException)


def causes(error: BaseException | None) -> list[str]:
    """What the error and its causes say, as DVC prints them."""
    return [" ".join(str(error).split()), *causes(error.__cause__)] if error else []
