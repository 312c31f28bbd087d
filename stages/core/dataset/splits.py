"""Which split an image belongs to. Its content alone decides, so adding images moves none."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping

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
    wanted = held_out(dataset) | {"train"}
    few = classes_of_few_scenes(official["train"], dataset)
    keys = [i.content_key if i.class_name in few else i.key for i in official["train"]]
    classes: dict[str, Counter[str]] = defaultdict(Counter)
    for image, key in zip(official["train"], keys, strict=True):
        classes[image.class_name][key] += 1
    split_by = splitting(dataset, wanted)
    if dataset.scenes and not dataset.fold:
        split_of = {key: split_by(key) for keys in classes.values() for key in keys}
        shares = {"test": dataset.test_fraction, "val": dataset.val_fraction}
        even_out(split_of, classes, {split: shares[split] for split in shares if split in wanted})
        split_by = split_of.__getitem__
    split_of = split_by_content(classes, wanted, split_by)

    splits: dict[str, list[DatasetImage]] = {split: [] for split in SPLITS}
    for image, key in zip(official["train"], keys, strict=True):
        splits[split_of[key]].append(image)
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


def held_out(dataset: DatasetParams) -> set[str]:
    """The splits that are taken out of the training images."""
    sources = {"val": dataset.val_from, "test": dataset.test_from}
    return {split for split, source in sources.items() if source == "train"}


def classes_of_few_scenes(images: list[DatasetImage], dataset: DatasetParams) -> list[str]:
    """The classes with fewer scenes than splits: they are split by content. Sorted.

    images: those that are split.
    """
    if not dataset.scenes:
        return []
    scenes: dict[str, set[str]] = defaultdict(set)
    for image in images:
        scenes[image.class_name].add(image.key)
    return sorted(name for name, keys in scenes.items() if len(keys) <= len(held_out(dataset)))


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


def even_out(
    split_of: dict[str, str], classes: Mapping[str, Counter[str]], asked: Mapping[str, float]
) -> None:
    """Move keys between train and another split where chance, with keys of many images, is too uneven.

    That is where a class has less than three quarters of the images that a split asks for, or more than
    one and a half times. A key moves as a whole, if it fits, in an order that its hash alone decides. A
    key of several classes stays. classes: images of each key of each class. asked: share of each split.
    """
    homes = Counter(key for keys in classes.values() for key in keys)
    for name in sorted(classes):
        sizes = {key: size for key, size in classes[name].items() if homes[key] == 1}
        for split, share in asked.items():
            least, most = (factor * share * classes[name].total() for factor in (0.75, 1.5))
            order = sorted(sizes, key=lambda key: position(f"{split} {key}"))
            held = sum(size for key, size in classes[name].items() if split_of[key] == split)
            for key in order:
                if held > most and split_of[key] == split:
                    split_of[key] = "train"
                    held -= sizes[key]
            for key in order:
                if held < least and split_of[key] == "train" and held + sizes[key] <= most:
                    split_of[key] = split
                    held += sizes[key]
            rest = [key for key in order if split_of[key] == "train"]
            if not held and len(rest) > 1:
                split_of[min(rest, key=lambda key: sizes[key])] = split


def split_by_content(
    classes: Mapping[str, Collection[str]], wanted: set[str], split_by: Callable[[str], str]
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
