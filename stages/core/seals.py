"""Seals: a last line by which a file shows that it is still as it was written.

Only DVC's own inputs and outputs are hashed by DVC. What a stage keeps for itself, and what one stage
run by hand reads from another, is sealed.
"""

import os
import sys
import zlib
from contextlib import suppress
from pathlib import Path

from stages.core.files import delete


def seal(content: bytes | memoryview, name: str) -> bytes:
    """The last line of a file: a checksum of its content and its name, so that neither a damaged file
    nor another one fits.

    CRC-32, as it takes less time than reading the file does.
    """
    return b"# checksum of all above: %08x\n" % zlib.crc32(content, zlib.crc32(name.encode()))


SEAL_BYTES = len(seal(b"", ""))


def sealed_text(text: str, name: str) -> str:
    return text + seal(text.encode("utf-8"), name).decode("ascii")


def unsealed(content: bytes, name: str) -> memoryview:
    """The content without its seal. Raises ValueError unless the seal fits."""
    above, last = memoryview(content)[:-SEAL_BYTES], content[-SEAL_BYTES:]
    if last != seal(above, name):
        raise ValueError("is not as it was written: its last line is not the checksum of the others")
    return above


def read_sealed(path: Path, way_out: str) -> str:
    """A text that another stage sealed with the file's name. Raises FileNotFoundError or ValueError."""
    try:
        return str(unsealed(path.read_bytes(), path.name), "utf-8")
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} does not exist. {way_out}") from None
    except ValueError as error:
        raise ValueError(f"{path} {error}. {way_out}") from None


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
