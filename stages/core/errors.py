"""How a stage or command ends: a foreseen error prints a message, a defect its traceback.

A worker process sends its error with its traceback as text. It ends as if it had been raised here.
"""

import atexit
import errno
import os
import re
import sys
import traceback
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from subprocess import CalledProcessError
from types import TracebackType

from stages.core.names import shown_lines

PACKAGE = Path(__file__).resolve().parents[1]

MAKE_ROOM = "Make room on this disk and run the same command again"
GET_RIGHTS = "Change its permissions or its owner and run the same command again"
FOLDER_NEEDED = "A file lies where a folder is needed: move it away and run the same command again"
WHAT_TO_DO = {
    errno.ENOSPC: MAKE_ROOM,
    errno.EDQUOT: MAKE_ROOM,
    errno.EFBIG: MAKE_ROOM,
    errno.EACCES: GET_RIGHTS,
    errno.EPERM: GET_RIGHTS,
    errno.EISDIR: "Delete this folder: `dvc repro` makes the file",
    errno.EEXIST: FOLDER_NEEDED,
    errno.ENOTDIR: FOLDER_NEEDED,
    errno.EROFS: "Run it on a disk that can be written to",
    errno.ENOENT: "`dvc repro` makes and `dvc pull` downloads what the pipeline needs",
}
"""For the errors of the system that are no defect of this package."""

SHARED_MEMORY = (
    "the processes that load images need more shared memory than /dev/shm has. Set runtime.workers to 0 "
    "in params.yaml, or enlarge it: `docker run --shm-size=1g`, or `mount -o remount,size=1g /dev/shm`."
)
KILLED = (
    "a worker process was killed, most likely for lack of memory. Set runtime.workers in params.yaml "
    "to a smaller number."
)
NO_MEMORY = (
    "the memory does not suffice. Set batch sizes and runtime.workers in params.yaml to smaller "
    "numbers; with predict, use --batch-size."
)
SAID_BY_TORCH = {
    r"shared memory|Bus error": SHARED_MEMORY,
    r"DataLoader worker .* (is killed by signal|exited unexpectedly)": KILLED,
    r"can't allocate memory|CUDA out of memory": NO_MEMORY,
}

FRAME = re.compile(r' +File "(.*)", line \d+, in .*\n +(.*)\n(?: +[~^ ]+\n)?')
"""In the text of a traceback; its groups are the file and the line of code."""

BROKEN_PIPE = 128 + 13
"""The exit code of a program that nobody reads from any more, as shells and coreutils have it."""


def install_error_hook() -> None:
    """It also lets every name be printed, whatever the terminal's locale says."""
    sys.excepthook = print_error
    # closed by the shell (>&-): Python has no stream then, and the next file would get its number
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")
    atexit.register(end_output)


def end_output() -> None:
    """The last that happens: what is still buffered may not find its way out."""
    hindered = flush_output()
    if hindered:
        os._exit(explain_output(hindered))


def flush_output() -> OSError | None:
    """What hinders the standard output; from then on, nothing is written to it."""
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return error
    return None


def explain_output(error: OSError) -> int:
    """Returns the exit code. A reader that has gone, such as `head`, is no error."""
    if isinstance(error, BrokenPipeError):
        return BROKEN_PIPE
    with suppress(OSError):
        print(f"error: the standard output could not be written: {error.strerror}.", file=sys.stderr)
    return 1


def print_error(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Raises SystemExit where the exit code is another than 1."""
    hindered = flush_output()
    printing = last_frame(trace).line.startswith(("print(", "sys.stdout."))
    of_output = isinstance(error, OSError) and (printing or (hindered and hindered.args == error.args))
    if of_output or isinstance(error, BrokenPipeError):
        raise SystemExit(explain_output(error))
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
    told, frame = told_by_worker(error), last_frame(trace)
    if told:
        error, frame = as_raised(told)
    if isinstance(error, Exception) and raised_here(frame):
        return getattr(error, "strerror", None) or str(error)
    if isinstance(error, MemoryError):
        return NO_MEMORY
    if isinstance(error, BrokenProcessPool):
        return KILLED
    if isinstance(error, RuntimeError):
        for said, sentence in SAID_BY_TORCH.items():
            if re.search(said, str(error)):
                return sentence
    if isinstance(error, OSError) and Path(frame.filename).parent.name == "multiprocessing":
        return SHARED_MEMORY  # which has the locks between processes
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


def raised_here(frame: traceback.FrameSummary) -> bool:
    """Whether a `raise` of this package ended it: an error that has a message for the user."""
    return Path(frame.filename).resolve().is_relative_to(PACKAGE) and frame.line.split()[:1] == ["raise"]


def last_frame(trace: TracebackType | None) -> traceback.FrameSummary:
    nowhere = traceback.FrameSummary("", 0, "", line="")
    return [nowhere, *traceback.extract_tb(trace)][-1]


def told_by_worker(error: BaseException) -> str:
    """The traceback that another process sent with its error; empty for an error of this process."""
    if type(error.__cause__).__name__.endswith("RemoteTraceback"):  # concurrent.futures
        return str(error.__cause__).strip('"\n')
    return str(error).partition("\nOriginal Traceback")[2]  # torch's DataLoader


def as_raised(told: str) -> tuple[Exception, traceback.FrameSummary]:
    """The error that ends the text of a traceback, and the frame that raised it."""
    *_, last = FRAME.finditer(told)
    frame = traceback.FrameSummary(last[1], 0, "", line=last[2])
    kind, _, message = told[last.end() :].strip().partition(": ")
    by_system = re.fullmatch(r"\[Errno (\d+)\] (.*?)(?:: '(.*)')?", message, re.DOTALL)
    if by_system:
        return OSError(int(by_system[1]), by_system[2], by_system[3]), frame
    if kind.endswith("MemoryError"):
        return MemoryError(message), frame
    return (RuntimeError if kind == "RuntimeError" else Exception)(message), frame


def raised_by_dvc(error: BaseException) -> bool:
    exceptions = sys.modules.get("dvc.exceptions")  # not imported here, as few stages need DVC
    return exceptions is not None and isinstance(error, exceptions.DvcException)


def causes(error: BaseException | None) -> list[str]:
    """What the error and its causes say, as DVC prints them."""
    return [" ".join(str(error).split()), *causes(error.__cause__)] if error else []
