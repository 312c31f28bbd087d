"""List files: the images of a split, with the label and the content hash of each.

A line is `<sha256> <label> <path>`. Because of the hash, a stage that depends on a list depends on
the content of its images, and of no others. The path is from the project's root. It comes last, so
that it may hold any character; a backslash, line ends and other characters that act are escaped. The
last line is a seal: a list that was cut would score fewer images silently.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from stages.core.files import first_ten, write_text, write_whole
from stages.core.names import escape, unescape
from stages.core.seals import seal, unsealed

WAY_OUT = "Run `dvc repro prepare-dataset`."


@dataclass(frozen=True)
class ListedImage:
    path: str
    """From the project's root, with forward slashes."""
    label: int
    sha256: str
    """Of the file's bytes, 64 hex digits."""


def write_list(path: Path, images: list[ListedImage]) -> None:
    lines = [f"{image.sha256} {image.label} {escape(image.path)}\n" for image in images]
    content = "".join(lines).encode()
    write_whole(path, content + seal(content, path.name))


def read_list(path: Path) -> list[ListedImage]:
    """Raises FileNotFoundError, or ValueError for a list that is not as `write_list` wrote it."""
    try:
        lines = str(unsealed(read_bytes(path), path.name), "utf-8").split("\n")[:-1]
    except ValueError as error:
        raise ValueError(f"{path} {error}. {WAY_OUT}") from None
    fields = [line.split(" ", 2) for line in lines]
    return [ListedImage(unescape(name), int(label), sha256) for sha256, label, name in fields]


def write_classes(path: Path, classes: list[str]) -> None:
    """One class name per line; the line's number, from 0, is the label."""
    write_text(path, "".join(f"{escape(name)}\n" for name in classes))


def read_classes(path: Path) -> list[str]:
    """Raises FileNotFoundError, or ValueError unless each line is a name that no other line has."""
    try:
        *lines, last = read_bytes(path).decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: {error}. {WAY_OUT}") from None
    names = [unescape(line) for line in lines]
    if last:
        raise ValueError(f"{path} was cut: {last!r} has no end of line. {WAY_OUT}")
    if wrong := [name for name, count in Counter(names).items() if count > 1 or not name]:
        raise ValueError(f"{path} has {first_ten(wrong)}; expected each name once. {WAY_OUT}")
    return names


def read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} does not exist. Run `dvc repro` to make it.") from None
    except IsADirectoryError:
        raise ValueError(f"{path} is a folder; expected a file. {WAY_OUT}") from None
