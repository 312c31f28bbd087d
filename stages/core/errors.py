"""How a stage ends when its input is wrong: with the sentence that says so, not with a traceback."""

import sys
import traceback
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType

PACKAGE = Path(__file__).resolve().parents[1]


def install_error_hook() -> None:
    """An exception that this package raises itself is printed as its sentence, Ctrl-C as what follows
    from it, any other whole."""
    sys.excepthook = print_error


def print_error(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, Exception) and raised_here(trace):
        print(f"error: {error}", file=sys.stderr)
    elif issubclass(kind, KeyboardInterrupt):
        print("\ninterrupted: `dvc repro` resumes from here", file=sys.stderr)
    elif issubclass(kind, ModuleNotFoundError) and not find_spec("torch"):
        print(
            f"error: {sys.executable} has no {error.name}: it is not the project's environment. Run "
            "`. .venv/bin/activate` first, and `make environment` before that if there is no .venv/.",
            file=sys.stderr,
        )
    else:
        sys.__excepthook__(kind, error, trace)


def raised_here(trace: TracebackType | None) -> bool:
    """Whether a `raise` of this package ended it: an error that was foreseen, and worded."""
    last = traceback.extract_tb(trace)[-1]
    return Path(last.filename).is_relative_to(PACKAGE) and last.line.split()[:1] == ["raise"]
