"""List files: the images of a split, with the label and the content hash of each.

A line is `<sha256> <label> <path>`. Because of the hash, a stage that depends on a list depends on
the content of its images, and of no others. The path is from the project's root. It comes last, so
that it may hold any character; a backslash, line ends and other characters that act are escaped. The
last line is a seal: a list that was cut would score fewer images silently.
"""

from dataclasses import dataclass
from pathlib import Path

from stages.core.files import write_text
from stages.core.names import escape, unescape
from stages.core.seals import read_sealed, sealed_text


@dataclass(frozen=True)
class ListedImage:
    path: str
    """From the project's root, with forward slashes."""
    label: int
    sha256: str
    """Of the file's bytes, 64 hex digits."""


def write_list(path: Path, images: list[ListedImage]) -> None:
    write_lines(path, [f"{image.sha256} {image.label} {escape(image.path)}" for image in images])


def read_list(path: Path) -> list[ListedImage]:
    fields = [line.split(" ", 2) for line in read_lines(path)]
    return [ListedImage(unescape(name), int(label), sha256) for sha256, label, name in fields]


def write_classes(path: Path, classes: list[str]) -> None:
    """One class name per line; the line's number, from 0, is the label."""
    write_lines(path, [escape(name) for name in classes])


def read_classes(path: Path) -> list[str]:
    return [unescape(line) for line in read_lines(path)]


def write_lines(path: Path, lines: list[str]) -> None:
    write_text(path, sealed_text("".join(f"{line}\n" for line in lines), path.name))


def read_lines(path: Path) -> list[str]:
    return read_sealed(path, "Run `dvc repro prepare-dataset`.").split("\n")[:-1]
