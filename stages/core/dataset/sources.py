"""What a dataset holds: each image with its class and, if the source names one, its split."""

import os
import re
import unicodedata
from dataclasses import dataclass, replace
from pathlib import Path

from stages.core.dataset.exclusions import read_exclusions
from stages.core.dataset.folders import Folder, Skipped, walk
from stages.core.dataset.label_list import brief, read_rows
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
SPLIT_WORD = re.compile(
    r"(?<![a-z])(training|train|validation|valid|val|testing|test)"
    r"(?:[ _-]*(?:set|data|images))?(?![a-z])"
)
"""What names a split in `train_set`, `seg_train` or `val2017`."""
LIST_SUFFIXES = (".csv", ".tsv", ".txt")


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
    content_key: str = ""
    """The key without scenes."""


def find_images(
    root: Path, dataset: DatasetParams, base: Path
) -> tuple[list[DatasetImage], list[Skipped]]:
    """The images of a folder or archive, sorted by split, class and name; and what in it is not read.

    There are three shapes: one folder per class; train/, val/ and test/ with one folder per class in
    each; or a list file that names the images and their classes. Other files beside the class folders
    are returned without a class. base: the folder that paths are listed from. Raises FileNotFoundError
    or ValueError.
    """
    # the folder, in one walk
    source = root / dataset.path
    written = Path(os.path.realpath(Layout(root).classes))
    if written.is_relative_to(os.path.realpath(source)):
        raise ValueError(
            f"dataset.path: {dataset.path} holds what the stages write; expected a folder of its own, "
            "such as data/photos."
        )
    archive = is_archive(source)
    path = unpack(root, source) if archive else source
    if not path.is_dir():
        found = "is no folder" if path.exists() else "does not exist"
        if path.is_symlink():
            found = f"is a link to {os.readlink(path)}, which is no folder"
        raise FileNotFoundError(
            f"dataset.path: {dataset.path} {found}; expected a folder, or a zip or tar archive. "
            f"If DVC tracks it, run `dvc pull {dataset.path}.dvc`."
        )
    folder, skipped = walk(path, dvc=not archive, hidden=bool(dataset.list))
    if skipped and not (folder.folders or folder.files):
        raise ValueError(
            f"dataset.path: all that {dataset.path} holds is hidden, ignored by DVC or left by a system "
            f"({first_ten(one.file.name for one in skipped)}); expected a folder for each class."
        )

    # the images in it
    beside: list[Path] = []
    if dataset.class_level == 1:
        folder, beside = without_wrapper(folder, dataset.list)
    if dataset.list:
        found, unlisted = in_list(folder, dataset)
        skipped += [Skipped(file, "not listed") for file in sorted(beside + unlisted)]
    else:
        found = in_folders(folder, beside, dataset)
    check_classes(found, dataset, folder, skipped)
    kept, left_out = without_exclusions(found, path, root, dataset)
    check_learnable(found, kept, dataset.path + " without what dataset.exclude names" * bool(left_out))
    found, skipped = kept, skipped + left_out
    order = {split: number for number, split in enumerate((None, *SPLITS))}
    found.sort(key=lambda i: (order[i.split], i.class_name, i.file.as_posix()))
    return [with_path(image, base) for image in found], skipped


def without_exclusions(
    found: list[DatasetImage], path: Path, root: Path, dataset: DatasetParams
) -> tuple[list[DatasetImage], list[Skipped]]:
    """The images without those that dataset.exclude names, and those. path: what dataset.path became.

    Raises ValueError for a row that names a file of dataset.path that is not there. A row of another
    folder, perhaps of another dataset, is returned with those that are left out.
    """
    exclusions = read_exclusions(root / dataset.exclude, dataset.exclude)
    if not exclusions:
        return found, []
    by_name = {
        unicodedata.normalize("NFC", image.file.relative_to(path).as_posix()): image for image in found
    }
    source = os.path.normpath(dataset.path) + "/"
    unpacked = os.path.relpath(path, root) + "/"
    left_out: dict[Path, Skipped] = {}
    for row in exclusions:
        name = unicodedata.normalize("NFC", row.path)
        inside = name.removeprefix(source).removeprefix(unpacked)
        if image := by_name.get(name) or by_name.get(inside):
            left_out[image.file] = Skipped(image.file, "excluded", row.reason)
        elif inside != name:
            raise ValueError(
                f"{dataset.exclude} line {row.line}: {brief(row.path)} is no image of {dataset.path}; "
                "expected a path as in data/dataset/findings.csv. Correct the row, or remove it."
            )
        else:
            left_out[root / row.path] = Skipped(root / row.path, "elsewhere")
    kept = [image for image in found if image.file not in left_out]
    return kept, sorted(left_out.values(), key=lambda one: one.file)


def with_path(image: DatasetImage, base: Path) -> DatasetImage:
    """Add how the image is named in lists. A name that is not UTF-8 is escaped, and is a problem."""
    file = image.file.relative_to(base) if image.file.is_relative_to(base) else image.file
    name = file.as_posix()
    path = name.encode("utf-8", "backslashreplace").decode()
    return replace(image, path=path, problem="" if path == name else "its name is not UTF-8: rename it")


def check_classes(
    found: list[DatasetImage], dataset: DatasetParams, folder: Folder, skipped: list[Skipped]
) -> None:
    """Raise ValueError unless there are two classes or more."""
    names = sorted({image.class_name for image in found} - {""})
    if len(names) >= 2:
        return
    # what the folder looks like
    hint = ""
    lists = [file.name for file in folder.files if file.suffix.lower() in LIST_SUFFIXES]
    if not names:
        depths = (len(file.relative_to(folder.path).parts) - 1 for file in folder.all_files())
        hint = (
            f" dataset.class_level is {dataset.class_level}, but no file lies deeper than "
            f"{max(depths, default=0)} folders: set it to that, or less."
        )
    elif lists and not dataset.list:
        hint = f" If {first_ten(lists)} names the classes, set dataset.list."
    unread = [one.file.name for one in skipped if one.kind in ("hidden", "ignored")]
    hint += f" Hidden or ignored, and so not read: {first_ten(unread)}." if unread else ""
    what = "labels in the list" if dataset.list else "each a folder of images"
    raise ValueError(
        f"{dataset.path} has {len(names)} class{f' ({names[0]})' if names else 'es'}; expected 2 or "
        f"more, {what}.{hint}"
    )


def check_learnable(found: list[DatasetImage], kept: list[DatasetImage], shown: str) -> None:
    """Raise ValueError unless each class has an image to train on among those kept."""
    names = {image.class_name for image in found} - {""}
    learnable = {image.class_name for image in kept if image.split in ("train", None)} - {""}
    lacking = sorted(names - learnable)
    if lacking:
        raise ValueError(
            f"{shown}: {len(lacking)} classes have no image to train on: {first_ten(lacking)}; "
            f"those that have: {first_ten(sorted(learnable))}. Add training images, or rename or remove "
            "the class."
        )


# --- folders ------------------------------------------------------------------------------------------


def in_folders(folder: Folder, beside: list[Path], dataset: DatasetParams) -> list[DatasetImage]:
    """The images of class folders, with or without split folders above them.

    beside: files that lie above the folder.
    """
    # split folders, or class folders at once
    splits = split_folders(folder, dataset.path)
    if splits:
        beside = beside + folder.files
        found = []
        wrapped = dataset.class_level == 1 and all(len(sub.folders) == 1 for _, sub in splits)
        for split, sub in splits:
            shown = f"{dataset.path}/{sub.name}"
            if wrapped:  # like seg_train/seg_train/ and seg_test/seg_test/
                sub, above = without_wrapper(sub)
                beside += above
            found += in_classes(sub, split, shown, dataset.class_level)
    else:
        found = in_classes(folder, None, dataset.path, dataset.class_level)

    # groups
    if dataset.group_by:
        found = [
            replace(image, group=group_in(image.file.relative_to(folder.path).as_posix(), dataset))
            if image.class_name
            else image
            for image in found
        ]
    return found + [DatasetImage(file, "", None) for file in beside]


def split_folders(folder: Folder, shown: str) -> list[tuple[str, Folder]]:
    """(split, folder) of train/, val/ and test/, whatever they are called; nothing for class folders.

    Raises ValueError for folders that look like both.
    """
    named = [(split_in(sub.name), sub) for sub in folder.folders]
    splits = {split for split, _ in named}
    exactly = [SPLIT_NAMES.get(sub.name.lower()) for sub in folder.folders]
    holding_classes = {split for split, sub in named if split and sub.folders}
    train_holds_classes = any(
        split == "train" and sub.folders for split, sub in zip(exactly, folder.folders, strict=True)
    )
    only_exact_names = bool(exactly) and None not in exactly
    only_splits = None not in splits and len(splits) > 1
    several_hold_classes = {"train"} < holding_classes
    if not (train_holds_classes or only_exact_names or only_splits or several_hold_classes):
        return []
    strangers = [sub.name for split, sub in named if not split]
    if strangers:
        one = next(sub.name for split, sub in named if split)
        raise ValueError(
            f"{shown}: beside {one}/ is {first_ten(strangers)}; expected only train/, val/ and test/. "
            f"If {one}/ is a split, move the others away. If it is a class, move the images out of its "
            "subfolders."
        )
    if len(splits) < len(named):
        names = ", ".join(sub.name for _, sub in named)
        raise ValueError(
            f"{shown}: {names} name one split twice; expected train/, val/ and test/. Move one away."
        )
    return named


def split_in(name: str) -> str | None:
    """The split that a folder's name means, such as `train_set`, `seg_train` or `val2017`."""
    words = {SPLIT_NAMES[word] for word in SPLIT_WORD.findall(name.lower())}
    return words.pop() if len(words) == 1 else None


def in_classes(folder: Folder, split: str | None, shown: str, level: int) -> list[DatasetImage]:
    """The images below a folder. level: which folder below it names the class; -1 is the innermost."""
    if not folder.folders:
        loose = folder.files
        found = f"{len(loose)} files, such as {loose[0].name}" if loose else "nothing"
        lists = [file.name for file in loose if file.suffix.lower() in LIST_SUFFIXES]
        hint = f" If {first_ten(lists)} names the classes, set dataset.list." if lists else ""
        raise ValueError(
            f"{shown}: found {found}; expected a folder for each class, with images in it.{hint}"
        )

    # each file's class is the name of a folder above it
    found, folders = [], {}
    for file in folder.all_files():
        parents = file.relative_to(folder.path).parts[:-1]
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


def refuse_empty(folder: Folder, filled: set[str], shown: str, level: int) -> None:
    at_level = [folder]
    for _ in range(level):
        at_level = [sub for parent in at_level for sub in parent.folders]
    names = [sub.path.relative_to(folder.path).as_posix() for sub in at_level]
    empty = [name for name in names if name not in filled]
    if empty:
        raise ValueError(
            f"{shown}: {len(empty)} class folders hold no image: {first_ten(empty)}. "
            "Add images or remove the folder."
        )


def without_wrapper(folder: Folder, list_name: str = "") -> tuple[Folder, list[Path]]:
    """The folder that holds the dataset, and the files that were passed on the way to it.

    Archives often wrap their content in a folder. A folder is passed while it has one subfolder, hidden
    ones aside, and that one holds folders or the list.
    """
    beside = []
    while not holds_list(folder, list_name):
        subs = [sub for sub in folder.folders if not sub.name.startswith(".")]
        if len(subs) != 1 or not (subs[0].folders or holds_list(subs[0], list_name)):
            break
        hidden = [sub for sub in folder.folders if sub is not subs[0]]
        beside += folder.files + [file for sub in hidden for file in sub.all_files()]
        folder = subs[0]
    return folder, beside


def holds_list(folder: Folder, list_name: str) -> bool:
    return bool(list_name) and (folder.path / list_name).is_file()


# --- a list file --------------------------------------------------------------------------------------


def in_list(folder: Folder, dataset: DatasetParams) -> tuple[list[DatasetImage], list[Path]]:
    """The images of a list file, and the files that it does not name."""
    # the rows
    files = {file.relative_to(folder.path).as_posix(): file for file in folder.all_files()}
    composed = {unicodedata.normalize("NFC", name): file for name, file in files.items()}
    listing = files.get(os.path.normpath(dataset.list))
    if listing is None:
        raise FileNotFoundError(
            f"dataset.list: {dataset.list} is not in {dataset.path}; expected a CSV or text file with "
            "the columns path, label and perhaps split, in the folder that DVC tracks."
        )
    shown = f"{dataset.path}/{dataset.list}"
    rows = read_rows(listing, shown)

    # the image of each row
    found, missing, seen = [], [], {}
    for number, row in rows:
        where = f"{shown} line {number}"
        name, label = row["path"], unicodedata.normalize("NFC", row["label"].strip())
        if not name or not label:
            raise ValueError(f"{where}: path is {brief(name)}, label is {brief(label)}; expected both.")
        inside = os.path.relpath(folder.path / name, folder.path)
        if inside.split(os.sep)[0] == os.pardir:
            raise ValueError(f"{where}: {brief(name)} leads out of {dataset.path}. Refused.")
        if inside in seen:
            raise ValueError(f"{where}: {brief(name)} is also in line {seen[inside]}; expected it once.")
        seen[inside] = number
        split = row.get("split", "").strip() or None
        if split is not None and split.lower() not in SPLIT_NAMES:
            raise ValueError(f"{where}: split is {brief(split)}; expected train, val or test.")
        group = group_in(name, dataset, row) if dataset.group_by else ""
        split = SPLIT_NAMES[split.lower()] if split else None
        file = files.get(inside) or composed.get(unicodedata.normalize("NFC", inside))
        if file is None:
            missing.append(name)
        else:
            found.append(DatasetImage(file, label, split, group))

    # the list as a whole
    if not seen:
        raise ValueError(f"{shown} lists no image.")
    if missing:
        raise FileNotFoundError(
            f"{shown}: {len(missing)} listed images are missing: {first_ten(missing, brief)}. "
            "Paths count from dataset.path, with forward slashes."
        )
    without = sum(image.split is None for image in found)
    if 0 < without < len(found):
        raise ValueError(f"{shown}: {without} of {len(found)} rows have no split; expected all or none.")
    named = {listing, *(image.file for image in found)}
    unlisted = [file for file in files.values() if file not in named]
    return found, unlisted


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
