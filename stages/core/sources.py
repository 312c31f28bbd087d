"""What a data set on disk holds: each picture with its class and, in official folders, its split."""

import os
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from stages.core.archives import is_archive, unpack

SPLITS = ("train", "val", "test")
SPLIT_FOLDERS = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}
JUNK = {"__macosx", "thumbs.db", "desktop.ini", "__pycache__", "$recycle.bin"}


@dataclass(frozen=True)
class FoundImage:
    file: Path
    class_name: str
    split: str | None
    """train, val or test when the source says so."""


def find_images(root: Path, path: str) -> list[FoundImage]:
    """The pictures of a folder or archive, sorted by split, class and name.

    Two shapes: a folder a class; or train/, val/ and test/ with a folder a class in each. A folder
    around it all is looked through. Everything below a class folder is the class's. Hidden files and
    what operating systems leave behind are nobody's. Raises FileNotFoundError or ValueError.
    """
    source = root / path
    folder = unpack(root, source) if is_archive(source) else source
    if not folder.is_dir():
        found = "is a file" if folder.is_file() else "does not exist"
        raise FileNotFoundError(
            f"dataset.path: {path} {found}; expected a folder, or a zip or tar archive. "
            f"If DVC tracks it, run `dvc pull {path}.dvc`."
        )
    folder = without_wrapper(folder)
    folders = subfolders(folder)
    train = next((sub for sub in folders if sub.name.lower() == "train"), None)
    if train is None or not subfolders(train):
        return classes_in(folder, None, path)

    strangers = [sub.name for sub in folders if sub.name.lower() not in SPLIT_FOLDERS]
    if strangers:
        raise ValueError(
            f"{path}: beside train/ stands {strangers[0]!r}; expected only train/, val/ and test/."
        )
    splits = [SPLIT_FOLDERS[sub.name.lower()] for sub in folders]
    if len(set(splits)) < len(splits):
        names = ", ".join(sub.name for sub in folders)
        raise ValueError(f"{path}: {names} name one split twice; expected train/, val/ and test/.")
    found = []
    for split, sub in sorted(zip(splits, folders, strict=True), key=lambda s: SPLITS.index(s[0])):
        found += classes_in(sub, split, f"{path}/{sub.name}")
    train_classes = {image.class_name for image in found if image.split == "train"}
    for image in found:
        if image.class_name not in train_classes:
            raise ValueError(
                f"{path}: class {image.class_name!r} is in {image.split}/ and not in train/ "
                f"(classes there: {', '.join(sorted(train_classes)[:10])}, ...). Nothing can be learnt "
                "about it: add training pictures, or rename or remove the folder."
            )
    return found


def without_wrapper(folder: Path) -> Path:
    """The folder itself, or the only one in it that holds folders, as archives often have."""
    while True:
        subs = subfolders(folder)
        only = subs[0] if len(subs) == 1 else None
        if only is None or files_in(folder) or not subfolders(only) or files_in(only):
            return folder
        folder = only


def classes_in(folder: Path, split: str | None, shown: str) -> list[FoundImage]:
    folders = subfolders(folder)
    if not folders:
        loose = files_in(folder)
        found = f"{len(loose)} files, such as {loose[0].name}" if loose else "nothing"
        raise ValueError(f"{shown}: found {found}; expected a folder for each class, pictures in it.")
    loose = files_in(folder)
    if loose:
        raise ValueError(
            f"{shown}: {len(loose)} files lie beside the class folders, first {loose[0].name!r}. "
            "Move them into a class folder or away."
        )
    found: list[FoundImage] = []
    empty = []
    seen: dict[str, str] = {}
    for sub in folders:
        # macOS writes names decomposed; the same name must be the same class everywhere
        name = unicodedata.normalize("NFC", sub.name)
        if name in seen:
            raise ValueError(f"{shown}: two folders are named {name!r}, in two Unicode spellings.")
        seen[name] = sub.name
        files = files_below(sub)
        if not files:
            empty.append(name)
        found += [FoundImage(file, name, split) for file in files]
    if empty:
        raise ValueError(
            f"{shown}: {len(empty)} class folders hold no picture, first {empty[0]!r}. "
            "Add pictures or remove the folder."
        )
    return sorted(found, key=lambda image: (image.class_name, image.file.as_posix()))


def is_junk(name: str) -> bool:
    return name.startswith(".") or name.lower() in JUNK


def subfolders(folder: Path) -> list[Path]:
    return sorted(Path(e) for e in os.scandir(folder) if e.is_dir() and not is_junk(e.name))


def files_in(folder: Path) -> list[Path]:
    return sorted(Path(e) for e in os.scandir(folder) if not e.is_dir() and not is_junk(e.name))


def files_below(folder: Path) -> list[Path]:
    """Links to folders are followed, but not in circles."""
    found, seen = [], set()
    pending = [folder]
    while pending:
        current = pending.pop()
        real = os.path.realpath(current)
        if real in seen:
            continue
        seen.add(real)
        found += files_in(current)
        pending += subfolders(current)
    return sorted(found)
