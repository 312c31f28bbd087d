"""Files and folders that are written whole or not at all, and lists of names in a message.

Everything is made beside its place, so on the same disk, and renamed when it is complete. Nothing is
opened in place: an output may be a link into DVC's cache, whose content must stay. So a link is replaced
and never followed. What is being made is called `.<name>.<random>.part`, which Git and DVC ignore. Its
writer holds a lock on it, so that the next writer can delete what a killed one left.
"""

import csv
import errno
import fcntl
import glob
import io
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import BinaryIO

from stages.core.names import csv_cell, shown

SHOWN = 10
WAYS_OUT = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "make room"),
    errno.EISDIR: "move that folder away or choose another name",
    errno.ENOTDIR: "move the file that is in the way",
    errno.EEXIST: "move the file that is in the way",
    errno.EBUSY: "mount its disk one folder higher",
    errno.ENAMETOOLONG: "choose a shorter name",
}
STREAMS = ("/dev", "/dev/fd", "/proc/self/fd")
"""Folders of devices and open files."""

waiting: ContextVar[list[tuple[Path, Path]] | None] = ContextVar("waiting", default=None)
"""Inside `together`: what has been made, and the places it will take."""


# --- making files and folders -------------------------------------------------------------------------


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A new file that takes the place of `path` at the end. After an error, what was there stays.

    A device, a pipe or /dev/stdout is written to, as there is nothing to replace. Raises OSError, where
    the folder cannot be written to before anything else happens.
    """
    with explained(path):
        if is_stream(path):
            with path.open("ab") as stream:  # not "wb": the shell may append to /dev/stdout
                yield stream
            return
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with partial_of(path) as partial, partial.open("xb") as file:
            lock(file.fileno())
            yield file
            file.flush()
            os.fsync(file.fileno())
            publish(partial, path)


@contextmanager
def whole_folder(output: Path) -> Iterator[Path]:
    """A new folder that takes the place of `output` at the end. After an error, what was there stays."""
    with explained(output), partial_of(output) as partial:
        if output.exists() and not output.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        partial.mkdir()
        handle = os.open(partial, os.O_RDONLY)
        try:
            lock(handle)
            yield partial
            publish(partial, output)
        finally:
            os.close(handle)


@contextmanager
def together() -> Iterator[None]:
    """The files and folders made inside take their places at the end: all or, after an error, none."""
    made: list[tuple[Path, Path]] = []
    token = waiting.set(made)
    try:
        yield
        for partial, path in made:
            with explained(path):
                put_in_place(partial, path)
    finally:
        waiting.reset(token)
        for partial, _ in made:
            delete_quietly(partial)


# --- how they take their places -----------------------------------------------------------------------


@contextmanager
def partial_of(path: Path) -> Iterator[Path]:
    """A new name beside `path`; after an error it is deleted. What killed writers left is, too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    start = f".{path.name[:40]}."
    for left in path.parent.glob(f"{glob.escape(start)}*.part"):
        delete_abandoned(left)
    partial = path.with_name(f"{start}{secrets.token_hex(4)}.part")
    try:
        yield partial
    except BaseException:
        delete_quietly(partial)
        raise


def delete_abandoned(left: Path) -> None:
    """Delete what a writer left, unless it is alive: then it holds the lock."""
    with suppress(OSError):
        handle = os.open(left, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            delete(left)
        finally:
            os.close(handle)


def lock(handle: int) -> None:
    with suppress(OSError):  # some network disks have no locks; what is left there stays
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def publish(partial: Path, path: Path) -> None:
    made = waiting.get()
    if made is None:
        put_in_place(partial, path)
    else:
        made.append((partial, path))


def put_in_place(made: Path, path: Path) -> None:
    if made.is_dir():
        replace_folder(made, path)
    else:
        os.replace(made, path)
    with suppress(OSError):  # after a power failure, the new name is on the disk, too
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def replace_folder(made: Path, output: Path) -> None:
    """Move a finished folder to its place. What was there before is moved away first, then deleted."""
    output.parent.mkdir(parents=True, exist_ok=True)
    old = output.with_name(f".{output.name[:40]}.{secrets.token_hex(4)}.part")
    try:
        os.rename(output, old)
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        delete(output)  # a folder of a container's image cannot be moved
    try:
        os.rename(made, output)
    except OSError:
        with suppress(FileNotFoundError):
            os.rename(old, output)
        raise
    delete_quietly(old)


def delete(path: Path) -> None:
    """Delete a file, a link or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def delete_quietly(path: Path) -> None:
    with suppress(OSError):
        delete(path)


def is_stream(path: Path) -> bool:
    special = path.exists() and not path.is_file() and not path.is_dir()
    return special or os.path.dirname(os.path.abspath(path)) in STREAMS


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Gives an error of the system the name of the output and a way out."""
    try:
        yield
    except OSError as error:
        if not is_about(path, error):
            raise
        way_out = WAYS_OUT.get(error.errno, f"make {path.parent} a folder that you can write to")
        raise OSError(
            error.errno,
            f"{path} could not be written ({error.strerror}). What was there before stays: {way_out} "
            "and run `dvc repro` or the same command again.",
        ) from error


def is_about(path: Path, error: OSError) -> bool:
    """Whether it arose where `path` is made, and has no message of this package."""
    if error.errno is None or error.strerror != os.strerror(error.errno):
        return False
    if error.filename is None:  # of an open file, unless it is a connection
        return not isinstance(error, ConnectionError | TimeoutError)
    file = Path(os.fsdecode(error.filename))
    return file in (path, *path.parents) or any(part.endswith(".part") for part in file.parts)


# --- contents -----------------------------------------------------------------------------------------


def write_whole(path: Path, content: bytes | memoryview) -> None:
    with whole_file(path) as file:
        file.write(content)


def write_text(path: Path, text: str) -> None:
    write_whole(path, text.encode("utf-8"))


def write_json(path: Path, content: object) -> None:
    write_text(path, json.dumps(content, indent=2, sort_keys=True) + "\n")


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Iterable]) -> None:
    write_text(path, csv_text(header, rows))


def csv_text(header: Sequence[str], rows: Iterable[Iterable]) -> str:
    return csv_row(header) + "".join(map(csv_row, rows))


def csv_row(cells: Iterable) -> str:
    """A line. Texts are written by `csv_cell`; `unescape` reads them."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(csv_cell(cell) if isinstance(cell, str) else cell for cell in cells)
    return buffer.getvalue()


# --- names -------------------------------------------------------------------------------------------


def first_ten(names: Iterable[str], quoted: Callable[[str], str] = repr) -> str:
    """`'a', 'b', and 3 more`; quoted=str leaves out the quotes."""
    names = list(names)
    more = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(shown(quoted(name)) for name in names[:SHOWN]) + more
