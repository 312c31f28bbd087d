"""What happens to files on disks: each damage changes the file at a path, so that it must not be used."""

import os
import shutil
from pathlib import Path


def flipped(path: Path, position: float) -> None:
    """One bit of the byte at a share of the length."""
    content = bytearray(path.read_bytes())
    content[int(position * (len(content) - 1))] ^= 4
    path.write_bytes(content)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def longer(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def replaced_by_text(path: Path) -> None:
    path.write_bytes(b"<html>404</html>\n")


def replaced_by_a_folder(path: Path) -> None:
    path.unlink()
    (path / "inside").mkdir(parents=True)


def replaced_by_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def replaced_by_a_link_to_nothing(path: Path) -> None:
    path.unlink()
    path.symlink_to("nothing")


def replaced_by_a_link_to_itself(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


DAMAGES = {
    "first byte flipped": lambda path: flipped(path, 0),
    "middle byte flipped": lambda path: flipped(path, 0.5),
    "last byte flipped": lambda path: flipped(path, 1),
    "cut": cut,
    "emptied": emptied,
    "longer": longer,
    "text": replaced_by_text,
    "folder": replaced_by_a_folder,
    "pipe": replaced_by_a_pipe,
    "link to nothing": replaced_by_a_link_to_nothing,
    "link to itself": replaced_by_a_link_to_itself,
}


def exchanged(path: Path, other: Path) -> None:
    """The other file's content, whole, under this name."""
    shutil.copyfile(other, path)
