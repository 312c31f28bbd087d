"""Which split a picture belongs to: decided by its content alone, so that adding pictures moves none."""

import hashlib
from collections import defaultdict

from stages.core.images import CheckedImage
from stages.core.params import DatasetParams
from stages.core.sources import SPLITS, FoundImage

Picture = tuple[FoundImage, CheckedImage]


def assign_splits(pictures: list[Picture], dataset: DatasetParams) -> dict[str, list[Picture]]:
    """The pictures of train, val and test, each in the given order.

    An official split (train/, val/, test/ folders) is taken as it is; the rest is held out of the
    training pictures, class by class. Raises ValueError when params.yaml and the folders disagree, or
    when classes are too small.
    """
    official: dict[str, list[Picture]] = {split: [] for split in SPLITS}
    for picture in pictures:
        official[picture[0].split or "train"].append(picture)
    check_sources(dataset, {split for split in SPLITS if official[split]})

    val_fraction = dataset.val_fraction if dataset.val_from == "train" else 0.0
    test_fraction = dataset.test_fraction if dataset.test_from == "train" else 0.0
    by_class: dict[str, list[Picture]] = defaultdict(list)
    for picture in official["train"]:
        by_class[picture[0].class_name].append(picture)
    splits: dict[str, list[Picture]] = {split: [] for split in SPLITS}
    problems = []
    for name, members in by_class.items():
        keys = [check.sha256 for _, check in members]
        try:
            assigned = split_by_content(keys, val_fraction, test_fraction)
        except ValueError as error:
            problems.append(f"class {name!r} has {error}")
            continue
        for split, picture in zip(assigned, members, strict=True):
            splits[split].append(picture)
    if problems:
        more = f"; and {len(problems) - 10} more classes" if len(problems) > 10 else ""
        raise ValueError(f"{'; '.join(problems[:10])}{more}. Add pictures or remove the class folder.")
    if dataset.val_from == "val":
        splits["val"] = official["val"]
    if dataset.test_from != "train":
        splits["test"] = official[dataset.test_from]
    return splits


def check_sources(dataset: DatasetParams, official: set[str]) -> None:
    """Raise ValueError unless every folder that params.yaml names is there, and none is unused."""
    wanted = {
        source: f"dataset.{name}"
        for name, source in (("val_from", dataset.val_from), ("test_from", dataset.test_from))
        if source != "train"
    }
    there = ", ".join(f"{split}/" for split in SPLITS if split in official)
    for source, name in wanted.items():
        if source not in official:
            raise ValueError(
                f"{name} is {source}, but {dataset.path} has no {source}/ folder with pictures. "
                f"Set {name} to train: part of the training pictures is then held out."
            )
    for split in sorted(official - {"train"} - set(wanted)):
        ways = "val_from or dataset.test_from" if split == "val" else "test_from"
        raise ValueError(
            f"{dataset.path} has {there}, and nothing in params.yaml uses {split}/. "
            f"Set dataset.{ways} to {split}, or remove the folder."
        )


def position(key: str) -> float:
    """Where a content hash falls in [0, 1), evenly spread over keys."""
    return int(hashlib.sha256(key.encode()).hexdigest()[:13], 16) / 16**13


def split_by_content(keys: list[str], val_fraction: float, test_fraction: float) -> list[str]:
    """train, val or test for each picture of one class; equal keys (duplicates) stay together.

    A fraction of 0 leaves its split out. Fractions hold on average. Where chance leaves a wanted
    split empty, it gets the picture nearest to its range: the lowest for test, then the next for val,
    the highest for train. Only in classes that small can an added picture move another one.
    Raises ValueError when there are fewer different pictures than wanted splits.
    """
    order = sorted(set(keys), key=position)
    wanted = (test_fraction > 0) + (val_fraction > 0) + 1
    if len(order) < wanted:
        raise ValueError(f"{len(order)} different pictures; {wanted} splits need at least {wanted}")
    split_of = {}
    for key in order:
        at = position(key)
        if at < test_fraction:
            split_of[key] = "test"
        elif at < test_fraction + val_fraction:
            split_of[key] = "val"
        else:
            split_of[key] = "train"
    if test_fraction > 0:
        split_of[order[0]] = "test"
    if "train" not in split_of.values():
        split_of[order[-1]] = "train"
    if val_fraction > 0 and "val" not in split_of.values():
        # between test, which starts at the lowest, and train, which ends at the highest
        inner = order[1:-1] if test_fraction > 0 else order[:-1]
        split_of[min(inner, key=lambda key: abs(position(key) - test_fraction))] = "val"
    return [split_of[key] for key in keys]
