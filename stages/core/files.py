"""Files and folders that are written whole or not at all, seals, and lists of names in a message.

Everything is written under a temporary name beside first. A path has one writer at a time, so what a
killed writer left there is overwritten by the next. A seal is a last line that shows whether a file is
still as it was written.
"""

import csv
import errno
import io
import json
import os
import shutil
import sys
import zlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

SHOWN = 10
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Raises OSError when the file cannot be written; the file that was there before stays."""
    if path.exists() and not path.is_file():  # /dev/null or a pipe: there is nothing to replace
        path.write_bytes(content)
        return
    partial = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        size = f"{len(content) / 1e6:.1f} MB are needed"
        todo = "make room" if error.errno in DISK_FULL else f"make {path.parent} writable"
        raise OSError(
            error.errno,
            f"{path} could not be written ({error.strerror}): {size}. Nothing written before is lost: "
            f"{todo} and run `dvc repro` or the same command again.",
        ) from error


def write_text(path: Path, text: str) -> None:
    write_whole(path, text.encode("utf-8"))


def write_json(path: Path, content: object) -> None:
    write_text(path, json.dumps(content, indent=2, sort_keys=True) + "\n")


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Iterable]) -> None:
    write_text(path, csv_text(header, rows))


def csv_text(header: Sequence[str], rows: Iterable[Iterable]) -> str:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return buffer.getvalue()


def seal(content: bytes | memoryview, name: str) -> bytes:
    """The last line of a file: a checksum of its content and its name, so that neither a damaged file
    nor another one fits.

    CRC-32, as it takes less time than reading the file does.
    """
    return b"# checksum of all above: %08x\n" % zlib.crc32(content, zlib.crc32(name.encode()))


SEAL_BYTES = len(seal(b"", ""))


def unsealed(content: bytes, name: str) -> memoryview:
    """The content without its seal. Raises ValueError unless the seal fits."""
    above, last = memoryview(content)[:-SEAL_BYTES], content[-SEAL_BYTES:]
    if last != seal(above, name):
        raise ValueError("is not as it was written: its last line is not the checksum of the others")
    return above


def read_kept(path: Path, name: str, instead: str) -> memoryview | None:
    """The content of a sealed file that can be made again; None if there is none.

    A damaged file is deleted, and a line says what happens `instead` of using it.
    """
    try:
        if path.is_file():  # not a pipe, which would keep its reader waiting
            return unsealed(path.read_bytes(), name)
        if not os.path.lexists(path):
            return None
    except (OSError, ValueError):
        pass
    print(f"{path} is damaged: {instead}", file=sys.stderr, flush=True)
    with suppress(OSError):
        delete(path)
    return None


def delete(path: Path) -> None:
    """Delete a file, a link or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def replace_folder(made: Path, output: Path) -> None:
    """Move a finished folder to its place; what was there before is deleted."""
    shutil.rmtree(output, ignore_errors=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    os.replace(made, output)


def first_ten(names: Iterable[str], shown: Callable[[str], str] = repr) -> str:
    """`'a', 'b', and 3 more`; shown=str leaves out the quotes."""
    names = list(names)
    more = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(map(shown, names[:SHOWN])) + more
