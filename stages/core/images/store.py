"""Decoded, reduced images on disk, so that a photo is decoded once and not in every epoch.

There is one file per image. It is named by the content hash of the original, holds the pixels
uncompressed, and is sealed. So a changed image has another name, and what is read is exactly what was
decoded. The store is safe to delete at any time, and to share between workers and runs, because each
file is renamed to its final name when it is complete.
"""

import os
import shutil
from contextlib import suppress
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np

from stages.core.images.decoding import RULE
from stages.core.seals import SEAL_BYTES, read_kept, seal

HEADER = 128
"""Bytes of a .npy file before the pixels."""


class ImageStore:
    def __init__(self, folder: Path, reduce: int, max_gb: float, writers: int = 1):
        """reduce: the short side of the images. max_gb: once half of it is used, images of other sizes
        are removed; once all of it is used, nothing more is kept.

        writers: processes of this run that fill the store at the same time. Each process counts what is
        there, fills its share of half the room, and counts again, so that two runs have room for both.
        """
        self.root, self.max_bytes, self.writers = folder, max_gb * 1e9, writers
        self.folder = folder / f"{reduce}-{RULE}"
        if bytes_in(folder) > max_gb * 1e9 / 2:
            for other in set(folder.iterdir()) - {self.folder}:
                shutil.rmtree(other, ignore_errors=True)
        self.room = self.counted_room()

    def get(self, sha256: str) -> np.ndarray | None:
        """(H, W, 3) uint8, or None if the store does not have it."""
        content = read_kept(self.path(sha256), self.name(sha256), "the image is decoded again")
        if content is None:
            return None
        return np.frombuffer(content, np.uint8, offset=HEADER).reshape(shape_of(bytes(content[:HEADER])))

    def put(self, sha256: str, image: np.ndarray) -> None:
        """Keep an image. A full disk or store is no error: the image is then decoded each time."""
        size = image.nbytes + HEADER + SEAL_BYTES
        if 0 < self.room < size:
            self.room = self.counted_room()
        if size > self.room:
            self.room = 0
            return
        path = self.path(sha256)
        partial = path.with_name(f"{path.name}.{os.getpid()}.part")
        content = BytesIO()
        np.save(content, image)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                file.write(content.getbuffer())
                file.write(seal(content.getbuffer(), self.name(sha256)))
            os.replace(partial, path)
            self.room -= size
        except OSError:
            self.room = 0
            with suppress(OSError):
                partial.unlink()

    def counted_room(self) -> float:
        return (self.max_bytes - bytes_in(self.root)) / (2 * self.writers)

    def path(self, sha256: str) -> Path:
        return self.folder / sha256[:2] / f"{sha256}.npy"

    def name(self, sha256: str) -> str:
        """What decides the pixels: the image, and how it was decoded."""
        return f"{self.folder.name}/{sha256}"


@cache
def shape_of(header: bytes) -> tuple[int, ...]:
    """Of the array in a .npy file; cached, as numpy would parse the same header for each image."""
    stream = BytesIO(header)
    np.lib.format.read_magic(stream)
    return np.lib.format.read_array_header_1_0(stream)[0]


def bytes_in(folder: Path) -> int:
    """The size of all files in a folder; a file that another run removes meanwhile is skipped."""
    used = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                used += os.stat(os.path.join(parent, name)).st_size
    return used
