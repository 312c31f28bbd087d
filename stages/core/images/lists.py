"""List files: the images of a split, with the label and the content hash of each.

A line is `<sha256> <label> <path>`. Because of the hash, a stage that depends on a list depends on
the content of its images, and of no others. The path is from the project's root. It comes last, so
that it may hold any character; a backslash, line ends and other characters that act are escaped.
"""

from dataclasses import dataclass
from pathlib import Path

from stages.core.files import write_text
from stages.core.names import escape, unescape


@dataclass(frozen=True)
class ListedImage:
    path: str
    """From the project's root, with forward slashes."""
    label: int
    sha256: str
    """Of the file's bytes, 64 hex digits."""


def write_list(path: Path, images: list[ListedImage]) -> None:
    lines = [f"{image.sha256} {image.label} {escape(image.path)}\n" for image in images]
    write_text(path, "".join(lines))


def read_list(path: Path) -> list[ListedImage]:
    images = []
    for number, line in enumerate(read_lines(path), start=1):
        try:
            sha256, label, name = line.split(" ", 2)
            images.append(ListedImage(unescape(name), int(label), sha256))
        except ValueError:
            raise ValueError(
                f"{path} line {number}: found {line!r}; expected '<sha256> <label> <path>'. "
                "Run `dvc repro prepare-dataset`."
            ) from None
    return images


def write_classes(path: Path, classes: list[str]) -> None:
    """One class name per line; the line's number, from 0, is the label."""
    write_text(path, "".join(f"{escape(name)}\n" for name in classes))


def read_classes(path: Path) -> list[str]:
    return [unescape(line) for line in read_lines(path)]


def read_lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").split("\n")[:-1]
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} does not exist. Run `dvc repro` to make it.") from None
