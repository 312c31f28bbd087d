"""Which split an image belongs to. Its content alone decides, so adding images moves none."""

import hashlib
from collections import defaultdict
from collections.abc import Callable

from stages.core.dataset.sources import SPLITS, DatasetImage
from stages.core.files import first_ten
from stages.core.params import DatasetParams


def assign_splits(images: list[DatasetImage], dataset: DatasetParams) -> dict[str, list[DatasetImage]]:
    """The images of train, val and test, each in the order of `images`.

    Images with the same key stay in one split. An official split (train/, val/, test/) is taken as it
    is; the rest is held out of the training images. Raises ValueError when params.yaml and the source
    disagree, or when classes are too small.
    """
    # official splits
    official: dict[str, list[DatasetImage]] = {split: [] for split in SPLITS}
    for image in images:
        official[image.split or "train"].append(image)
    check_sources(dataset, {split for split in SPLITS if official[split]})

    # hold the others out of the training images
    wanted = {"train"}
    wanted |= {"val"} if dataset.val_from == "train" else set()
    wanted |= {"test"} if dataset.test_from == "train" else set()
    classes: dict[str, set[str]] = defaultdict(set)
    for image in official["train"]:
        classes[image.class_name].add(image.key)
    split_of = split_by_content(classes, wanted, splitting(dataset, wanted))

    splits = {split: [i for i in official["train"] if split_of[i.key] == split] for split in SPLITS}
    if dataset.val_from == "val":
        splits["val"] = official["val"]
    if dataset.test_from != "train":
        splits["test"] = official[dataset.test_from]
    return splits


def check_sources(dataset: DatasetParams, official: set[str]) -> None:
    """Raise ValueError unless every split that params.yaml names exists, and none is unused."""
    wanted = {
        source: f"dataset.{name}"
        for name, source in (("val_from", dataset.val_from), ("test_from", dataset.test_from))
        if source != "train"
    }
    there = ", ".join(split for split in SPLITS if split in official)
    for source, name in wanted.items():
        if source not in official:
            raise ValueError(
                f"{name} is {source}, but {dataset.path} has no {source} split with images. "
                f"Set {name} to train: part of the training images is then held out."
            )
    for split in sorted(official - {"train"} - set(wanted)):
        ways = "val_from or dataset.test_from" if split == "val" else "test_from"
        raise ValueError(
            f"{dataset.path} has the splits {there}, and nothing in params.yaml uses {split}. "
            f"Set dataset.{ways} to {split}, or remove it."
        )


def splitting(dataset: DatasetParams, wanted: set[str]) -> Callable[[str], str]:
    """The split of a key, by where its hash falls. A fold takes its own slice as test."""
    if dataset.fold:
        fold, folds = map(int, dataset.fold.split("/"))
        low, high = (fold - 1) / folds, fold / folds

        def by_fold(key: str) -> str:
            if low <= position(key) < high:
                return "test"
            return "val" if position(f"val {key}") < dataset.val_fraction else "train"

        return by_fold
    test_below = dataset.test_fraction if "test" in wanted else 0.0
    val_below = test_below + (dataset.val_fraction if "val" in wanted else 0.0)

    def by_fraction(key: str) -> str:
        at = position(key)
        return "test" if at < test_below else "val" if at < val_below else "train"

    return by_fraction


def position(key: str) -> float:
    """Where a key falls in [0, 1), evenly spread over keys."""
    return int(hashlib.sha256(key.encode()).hexdigest()[:13], 16) / 16**13


def split_by_content(
    classes: dict[str, set[str]], wanted: set[str], split_by: Callable[[str], str]
) -> dict[str, str]:
    """The split of each key, given the keys of each class.

    Fractions hold on average. Where chance leaves a class without a wanted split, one of its keys moves
    there, the same one whatever the others are, out of a split that keeps another. Only in classes that
    small can an added image move another one. Raises ValueError that names classes too small for that.
    """
    # where the hash puts each key
    split_of = {key: split_by(key) for keys in classes.values() for key in keys}
    classes_of: dict[str, list[str]] = defaultdict(list)
    for name, keys in classes.items():
        for key in keys:
            classes_of[key].append(name)
    held = {  # how many keys of a class are in a split
        name: {split: sum(split_of[key] == split for key in keys) for split in wanted}
        for name, keys in classes.items()
    }

    # fill the splits that chance left empty
    small = []
    for name in sorted(classes):
        for split in ("test", "val", "train"):
            if split not in wanted or held[name][split]:
                continue
            movable = [
                key
                for key in classes[name]
                if all(held[other][split_of[key]] > 1 for other in classes_of[key])
            ]
            if not movable:
                small.append(name)
                break
            moved = min(movable, key=lambda key: (position(f"{split} {key}"), key))
            for other in classes_of[moved]:
                held[other][split_of[moved]] -= 1
                held[other][split] += 1
            split_of[moved] = split
    if small:
        raise ValueError(
            f"{len(small)} classes are too small: {first_ten(small)}. Each of "
            f"{', '.join(sorted(wanted))} needs an image of every class, so {len(wanted)} different "
            "ones at least; duplicates, near-duplicates (dataset.near_duplicates) and groups "
            "(dataset.group_by) count as one. Add images or remove the class."
        )
    return split_of
