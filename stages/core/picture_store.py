"""Reduced pictures on disk, so that a phone photo is decoded once and not in every epoch.

A file a picture, named by the content hash of the original, holding its pixels as they are: a changed
picture has another name, and what is read is exactly what was decoded. Safe to delete at any time, and
to share between workers and runs: files appear whole, under their final name.
"""

import os
from contextlib import suppress
from pathlib import Path

import numpy as np

from stages.core.decoding import RULE


class PictureStore:
    def __init__(self, folder: Path, reduce: int, max_gb: float, writers: int = 1):
        """reduce: the short side of the pictures. max_gb: when it is reached nothing more is kept.

        writers: processes that fill it at the same time; each gets its share of the room.
        """
        self.folder = folder / f"{reduce}-{RULE}"
        used = sum(file.stat().st_size for file in folder.rglob("*.npy"))
        self.room = (max_gb * 1e9 - used) / writers

    def get(self, sha256: str) -> np.ndarray | None:
        """(H, W, 3) uint8, or None when it is not kept."""
        try:
            return np.load(self.path(sha256), allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None

    def put(self, sha256: str, picture: np.ndarray) -> None:
        """Keep a picture; a full disk or a full store is no error, as it is only sooner with it."""
        if picture.nbytes > self.room:
            return
        path = self.path(sha256)
        partial = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                np.save(file, picture)
            os.replace(partial, path)
            self.room -= picture.nbytes
        except OSError:
            self.room = 0
            with suppress(OSError):
                partial.unlink()

    def path(self, sha256: str) -> Path:
        return self.folder / sha256[:2] / f"{sha256}.npy"
