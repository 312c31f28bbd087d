"""Files and folders that are written whole or not at all, and lists of names in a message.

Everything is written under a temporary name beside first. A path has one writer at a time, so what a
killed writer left there is overwritten by the next.
"""

import csv
import errno
import io
import json
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from stages.core.names import csv_cell, shown

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
    """A row per line. Texts are written by `csv_cell`; `unescape` reads them."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    for row in rows:
        writer.writerow(csv_cell(cell) if isinstance(cell, str) else cell for cell in row)
    return buffer.getvalue()


def replace_folder(made: Path, output: Path) -> None:
    """Move a finished folder to its place; what was there before is deleted."""
    shutil.rmtree(output, ignore_errors=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    os.replace(made, output)


def first_ten(names: Iterable[str], quoted: Callable[[str], str] = repr) -> str:
    """`'a', 'b', and 3 more`; quoted=str leaves out the quotes."""
    names = list(names)
    more = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(shown(quoted(name)) for name in names[:SHOWN]) + more
