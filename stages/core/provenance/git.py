"""Git, asked by its command: the version on the PATH, with its rules on who owns a clone."""

import os
import subprocess
from pathlib import Path

NOT_INHERITED = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "DVC_ROOT", "DVC_STAGE"}


def git(root: Path, *arguments: str, given: str = "", no: int = 0) -> str:
    """What the command prints. Raises RuntimeError.

    given: its standard input. no: the exit code that is an answer, and no failure.
    """
    return git_bytes(root, *arguments, given=given, no=no).decode("utf-8", "surrogateescape")


def git_bytes(root: Path, *arguments: str, given: str = "", no: int = 0) -> bytes:
    environment = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
    where = Path(root).absolute()
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=root,
            env=environment,
            input=given.encode("utf-8", "surrogateescape"),
            capture_output=True,
        )
    except FileNotFoundError:
        raise RuntimeError(
            f"the command git is not on the PATH, or {where} does not exist: install Git."
        ) from None
    if done.returncode not in (0, no):
        said = " ".join(done.stderr.decode("utf-8", "replace").split())
        raise RuntimeError(f"git {command_of(arguments)} failed in {where}: {said}")
    return done.stdout


def command_of(arguments: tuple[str, ...]) -> str:
    """The subcommand: the first argument that is no option of Git itself."""
    skip = 0
    for argument in arguments:
        if skip:
            skip -= 1
        elif argument == "-c":
            skip = 1
        elif not argument.startswith("-"):
            return argument
    return ""


def top_of(root: Path) -> str:
    return git(root, "rev-parse", "--show-toplevel").rstrip("\n")


def prefix_of(root: Path) -> str:
    """The project's folder in its Git repository: empty, or with a slash at the end."""
    return git(root, "rev-parse", "--show-prefix").rstrip("\n")


def names(listing: str) -> list[str]:
    """The names that a command printed with -z."""
    return [name for name in listing.split("\0") if name]
