"""What a dataset holds: each image with its class and, if the source names one, its split."""

import csv
import io
import os
import re
import unicodedata
from dataclasses import dataclass, replace
from pathlib import Path

from stages.core.files import first_ten
from stages.core.images.archives import is_archive, unpack
from stages.core.layout import Layout
from stages.core.params import DatasetParams

SPLITS = ("train", "val", "test")
SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
JUNK = {"__macosx", "thumbs.db", "desktop.ini", "__pycache__", "$recycle.bin"}


@dataclass(frozen=True, slots=True)
class DatasetImage:
    """One image, from the source to the list files.

    `find_images` sets what the source says, and `examine_dataset` what the file's content says.
    """

    file: Path
    class_name: str
    """Empty for a file that lies in no class folder."""
    split: str | None
    """train, val or test if the source says so."""
    group: str = ""
    """Images of one group stay in one split; empty when there are no groups."""
    path: str = ""
    """As in lists and messages: from the project's root, with forward slashes, always valid UTF-8."""
    problem: str = ""
    """Why it cannot be used; empty when it can."""
    sha256: str = ""
    """Of the file's bytes, 64 hex digits; empty when it cannot be read at all."""
    width: int = 0
    height: int = 0
    pixels: str = ""
    """SHA-256 of the decoded image: equal for exact duplicates, whatever their files' bytes."""
    look: str = ""
    """Perceptual hash, 16 hex digits; a few of its 64 bits differ between near-duplicates."""
    doubt: str = ""
    """What looks damaged, though it can be used; empty when nothing does."""
    key: str = ""
    """Images with the same key stay in one split, see `grouping_keys`."""


def find_images(root: Path, dataset: DatasetParams, base: Path) -> list[DatasetImage]:
    """The images of a folder or archive, sorted by split, class and name.

    There are three shapes: one folder per class; train/, val/ and test/ with one folder per class in
    each; or a list file that names the images and their classes. Hidden files and files that operating
    systems leave behind are ignored. Other files beside the class folders are returned without a class.
    base: the folder that paths are listed from. Raises FileNotFoundError or ValueError.
    """
    # the folder
    source = root / dataset.path
    if Layout(root).classes.resolve().is_relative_to(source.resolve()):
        raise ValueError(
            f"dataset.path: {dataset.path} holds what the stages write; expected a folder of its own, "
            "such as data/photos."
        )
    folder = unpack(root, source) if is_archive(source) else source
    if not folder.is_dir():
        found = "is a file" if folder.is_file() else "does not exist"
        raise FileNotFoundError(
            f"dataset.path: {dataset.path} {found}; expected a folder, or a zip or tar archive. "
            f"If DVC tracks it, run `dvc pull {dataset.path}.dvc`."
        )
    beside: list[Path] = []
    if dataset.class_level == 1:
        folder, beside = without_wrapper(folder, dataset.list)

    # the images in it
    found = in_list(folder, dataset) if dataset.list else in_folders(folder, beside, dataset)
    check_learnable(found, found, dataset.path)
    order = {split: number for number, split in enumerate((None, *SPLITS))}
    found.sort(key=lambda i: (order[i.split], i.class_name, i.file.as_posix()))
    return [with_path(image, base) for image in found]


def with_path(image: DatasetImage, base: Path) -> DatasetImage:
    """Add how the image is named in lists. A name that is not UTF-8 is escaped, and is a problem."""
    file = image.file.relative_to(base) if image.file.is_relative_to(base) else image.file
    name = file.as_posix()
    path = name.encode("utf-8", "backslashreplace").decode()
    return replace(image, path=path, problem="" if path == name else "its name is not UTF-8: rename it")


def check_learnable(found: list[DatasetImage], kept: list[DatasetImage], shown: str) -> None:
    """Raise ValueError unless there are classes, and each has an image to train on among those kept."""
    names = {image.class_name for image in found} - {""}
    if len(names) < 2:
        raise ValueError(
            f"{shown} has {len(names)} class ({', '.join(names)}); expected 2 or more, each a folder of "
            "images."
        )
    learnable = {image.class_name for image in kept if image.split in ("train", None)} - {""}
    lacking = sorted(names - learnable)
    if lacking:
        raise ValueError(
            f"{shown}: {len(lacking)} classes have no image to train on: {first_ten(lacking)}; "
            f"those that have: {first_ten(sorted(learnable))}. Add training images, or rename or remove "
            "the class."
        )


# --- folders ------------------------------------------------------------------------------------------


def in_folders(folder: Path, beside: list[Path], dataset: DatasetParams) -> list[DatasetImage]:
    """The images of class folders, with or without split folders above them.

    beside: files that lie above the folder.
    """
    # split folders, or class folders at once
    folders = subfolders(folder)
    named = [SPLIT_NAMES.get(sub.name.lower()) for sub in folders]
    official = any(n == "train" and subfolders(f) for n, f in zip(named, folders, strict=True))
    if official or (folders and None not in named):
        beside = beside + files_in(folder)
        found = [
            image
            for split, sub in official_folders(folders, dataset.path)
            for image in in_classes(sub, split, f"{dataset.path}/{sub.name}", dataset.class_level)
        ]
    else:
        found = in_classes(folder, None, dataset.path, dataset.class_level)

    # groups
    if dataset.group_by:
        found = [
            replace(image, group=group_in(image.file.relative_to(folder).as_posix(), dataset))
            if image.class_name
            else image
            for image in found
        ]
    return found + [DatasetImage(file, "", None) for file in beside]


def official_folders(folders: list[Path], shown: str) -> list[tuple[str, Path]]:
    strangers = [sub.name for sub in folders if sub.name.lower() not in SPLIT_NAMES]
    if strangers:
        raise ValueError(
            f"{shown}: beside train/ is {strangers[0]!r}; expected only train/, val/ and test/."
        )
    named = [(SPLIT_NAMES[sub.name.lower()], sub) for sub in folders]
    if len({split for split, _ in named}) < len(named):
        names = ", ".join(sub.name for sub in folders)
        raise ValueError(f"{shown}: {names} name one split twice; expected train/, val/ and test/.")
    return named


def in_classes(folder: Path, split: str | None, shown: str, level: int) -> list[DatasetImage]:
    """The images below a folder. level: which folder below it names the class; -1 is the innermost."""
    if not subfolders(folder):
        loose = files_in(folder)
        found = f"{len(loose)} files, such as {loose[0].name}" if loose else "nothing"
        raise ValueError(f"{shown}: found {found}; expected a folder for each class, with images in it.")

    # each file's class is the name of a folder above it
    found, folders = [], {}
    for file in files_below(folder):
        parents = file.relative_to(folder).parts[:-1]
        deep_enough = len(parents) >= (1 if level == -1 else level)
        if not deep_enough:
            found.append(DatasetImage(file, "", split))
            continue
        classes = parents if level == -1 else parents[:level]
        # macOS writes names decomposed; the same name must be the same class everywhere
        name = unicodedata.normalize("NFC", classes[-1])
        if folders.setdefault(name, classes) != classes:
            raise ValueError(
                f"{shown}: two folders are named {name!r}: {'/'.join(folders[name])} and "
                f"{'/'.join(classes)}. Rename one, or join them."
            )
        found.append(DatasetImage(file, name, split))
    if level != -1:
        refuse_empty(folder, {"/".join(classes) for classes in folders.values()}, shown, level)
    return found


def refuse_empty(folder: Path, filled: set[str], shown: str, level: int) -> None:
    at_level = [folder]
    for _ in range(level):
        at_level = [sub for parent in at_level for sub in subfolders(parent)]
    names = [sub.relative_to(folder).as_posix() for sub in at_level]
    empty = [name for name in names if name not in filled]
    if empty:
        raise ValueError(
            f"{shown}: {len(empty)} class folders hold no image: {first_ten(empty)}. "
            "Add images or remove the folder."
        )


def without_wrapper(folder: Path, list_name: str) -> tuple[Path, list[Path]]:
    """The folder that holds the dataset, and the files that were passed on the way to it.

    Archives often wrap their content in a folder. A folder is passed while it has one subfolder, and
    that one holds folders or the list.
    """
    beside, passed = [], {os.path.realpath(folder)}
    while True:
        subs = subfolders(folder)
        only = subs[0] if len(subs) == 1 else None
        if only is None or os.path.realpath(only) in passed:
            return folder, beside
        holds_list = list_name and (only / list_name).is_file()
        if list_name and (folder / list_name).is_file() or not (holds_list or subfolders(only)):
            return folder, beside
        beside += files_in(folder)
        folder = only
        passed.add(os.path.realpath(folder))


def is_junk(name: str) -> bool:
    return name.startswith(".") or name.lower() in JUNK


def subfolders(folder: Path) -> list[Path]:
    return sorted(Path(e) for e in os.scandir(folder) if e.is_dir() and not is_junk(e.name))


def files_in(folder: Path) -> list[Path]:
    return sorted(Path(e) for e in os.scandir(folder) if not e.is_dir() and not is_junk(e.name))


def files_below(folder: Path) -> list[Path]:
    """All files below a folder. Links to folders are followed, but not in circles."""
    found, pending = [], [(folder, {os.path.realpath(folder)})]
    while pending:
        current, above = pending.pop()
        found += files_in(current)
        for sub in subfolders(current):
            real = os.path.realpath(sub)
            if real not in above:
                pending.append((sub, above | {real}))
    return sorted(found)


# --- a list file --------------------------------------------------------------------------------------


def in_list(folder: Path, dataset: DatasetParams) -> list[DatasetImage]:
    """The images of a list file: rows under a header, or lines `path label`."""
    path = folder / dataset.list
    if not path.is_file():
        raise FileNotFoundError(
            f"dataset.list: {dataset.list} is not in {dataset.path}; expected a CSV or text file with "
            "the columns path, label and perhaps split."
        )
    # the rows
    shown = f"{dataset.path}/{dataset.list}"
    rows = read_rows(path, shown)
    if not rows:
        raise ValueError(f"{shown} lists no image.")

    # the image of each row
    found, missing, seen = [], [], {}
    for number, row in rows:
        where = f"{shown} line {number}"
        name, label = row["path"], unicodedata.normalize("NFC", row["label"].strip())
        if not name or not label:
            raise ValueError(f"{where}: path is {name!r}, label is {label!r}; expected both.")
        inside = os.path.relpath(folder / name, folder)
        if inside.split(os.sep)[0] == os.pardir:
            raise ValueError(f"{where}: {name!r} leads out of {dataset.path}. Refused.")
        if inside in seen:
            raise ValueError(f"{where}: {name!r} is also in line {seen[inside]}; expected it once.")
        seen[inside] = number
        file = folder / inside
        split = row.get("split", "").strip() or None
        if split is not None and split.lower() not in SPLIT_NAMES:
            raise ValueError(f"{where}: split is {split!r}; expected train, val or test.")
        group = group_in(name, dataset, row) if dataset.group_by else ""
        split = SPLIT_NAMES[split.lower()] if split else None
        found.append(DatasetImage(file, label, split, group))
        if not file.is_file():
            missing.append(name)

    # the list as a whole
    if missing:
        raise FileNotFoundError(
            f"{shown}: {len(missing)} listed images are missing: {first_ten(missing)}. "
            "Paths count from dataset.path, with forward slashes."
        )
    without = sum(image.split is None for image in found)
    if 0 < without < len(found):
        raise ValueError(f"{shown}: {without} of {len(found)} rows have no split; expected all or none.")
    return found


def read_rows(path: Path, shown: str) -> list[tuple[int, dict[str, str]]]:
    """(line number, row) of a table with a header, or of lines `path label` as MMPretrain has them."""
    try:
        text = path.read_text(encoding="utf-8-sig")  # spreadsheets write a byte order mark
    except UnicodeDecodeError as error:
        raise ValueError(f"{shown} is not UTF-8 ({error}). Save it as UTF-8.") from None

    # the shape: what separates the columns
    header = text.split("\n", 1)[0]
    delimiter = next((s for s in "\t,;" if {"path", "label"} <= set(columns_of(header, s))), None)
    if delimiter is None and path.suffix.lower() in (".csv", ".tsv"):
        raise ValueError(f"{shown} line 1: found {header!r}; expected the columns path and label.")
    if delimiter is None:
        return plain_rows(text, shown)

    # the rows under the header
    columns = columns_of(header, delimiter)
    reader = csv.DictReader(
        io.StringIO(text, newline=""), fieldnames=columns, delimiter=delimiter, strict=True
    )
    rows = []
    try:
        next(reader)  # the header
        for row in reader:
            if None in row or None in row.values():
                raise ValueError(
                    f"{shown} line {reader.line_num}: another number of columns than the first line's "
                    f"{len(columns)}. Quote names that hold {delimiter!r}."
                )
            rows.append((reader.line_num, row))
    except csv.Error as error:
        raise ValueError(f"{shown} line {reader.line_num}: {error}.") from None
    return rows


def columns_of(header: str, delimiter: str) -> list[str]:
    return [column.strip().strip('"').lower() for column in header.split(delimiter)]


def plain_rows(text: str, shown: str) -> list[tuple[int, dict[str, str]]]:
    """Lines of a path and a label, separated by a tab or, if there is none, by a space."""
    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        parts = line.rstrip().rsplit("\t" if "\t" in line.rstrip() else " ", 1)
        if len(parts) != 2:
            raise ValueError(f"{shown} line {number}: found {line!r}; expected '<path> <label>'.")
        rows.append((number, {"path": parts[0], "label": parts[1]}))
    return rows


def group_in(name: str, dataset: DatasetParams, row: dict[str, str] | None = None) -> str:
    """An image's group: a column of the list, or what a regular expression finds in its path."""
    if row is not None and dataset.group_by.lower() in row:
        return row[dataset.group_by.lower()]
    found = re.search(dataset.group_by, name)
    if not found or not found[0]:
        raise ValueError(
            f"dataset.group_by: {dataset.group_by!r} finds nothing in {name!r}; expected a column of "
            "dataset.list, or a regular expression that matches every path."
        )
    return "/".join(part or "" for part in found.groups()) if found.groups() else found[0]
