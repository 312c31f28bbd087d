"""A dataset from its source to its splits: find the images, check them, compare them, split them."""

import sys
import unicodedata
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from tqdm import tqdm

from stages.core.dataset.checks import check_images
from stages.core.dataset.class_names import doubts
from stages.core.dataset.duplicates import grouping_keys, near_pairs
from stages.core.dataset.findings import (
    Finding,
    chain_note,
    excluded_files,
    find_problems,
    skipped_findings,
)
from stages.core.dataset.sources import DatasetImage, check_learnable, find_images
from stages.core.dataset.splits import assign_splits
from stages.core.files import first_ten
from stages.core.layout import Layout
from stages.core.params import DatasetParams
from stages.core.scenes.features import DIMENSIONS, scene_features
from stages.core.scenes.grouping import scene_pairs


@dataclass(frozen=True)
class Examined:
    images: list[DatasetImage]
    """Every file that was read, those outside of class folders included."""
    findings: list[Finding]
    notes: list[str]
    """Sentences on what is doubtful, and is used all the same."""

    @cached_property
    def excluded(self) -> set[Path]:
        """The files that cannot be used."""
        return excluded_files(self.findings)

    @cached_property
    def usable(self) -> list[DatasetImage]:
        return [i for i in self.images if i.class_name and i.file not in self.excluded]

    def splits(self, dataset: DatasetParams, without: str) -> dict[str, list[DatasetImage]]:
        """The usable images of train, val and test.

        without: names the images that were left out, for the error. Raises ValueError when a class has
        too few usable images, or when params.yaml and the source disagree about splits. It is a step of
        its own, so that the findings can be reported before.
        """
        check_learnable(self.images, self.usable, f"{dataset.path} without what {without}")
        return assign_splits(self.usable, dataset)


def examine_dataset(
    root: Path, dataset: DatasetParams, workers: int, base: Path | None = None
) -> Examined:
    """Find, check and compare the images that dataset.path names, with a progress bar on a terminal.

    workers: processes that decode; 0 decodes in this one. base: the folder that paths are listed and
    reported from; without it, the project's root.
    """
    # find
    base = base or root
    found, skipped = find_images(root, dataset, base)

    # check: each file is hashed and decoded
    checks = check_images([image.file for image in found], workers, Layout(root).work)
    bar = tqdm(checks, "checking", len(found), unit="image", disable=not sys.stderr.isatty())
    images = [
        replace(image, **vars(check) | {"problem": check.problem or image.problem})
        for image, check in zip(found, bar, strict=True)
    ]

    # compare
    near = near_pairs(images, dataset.near_duplicates)
    contents = grouping_keys(images, near)
    scenes = shown_scenes(images, dataset.scenes, workers, Layout(root).work)
    keys = grouping_keys(images, near, scenes) if scenes else contents
    images = [
        replace(image, key=key, content_key=content)
        for image, key, content in zip(images, keys, contents, strict=True)
    ]
    findings = find_problems(images, near, scenes) + skipped_findings(skipped, base)
    notes = doubts(sorted({image.class_name for image in images} - {""}))
    notes += filter(None, [level_note(images, dataset), chain_note(images, near)])
    return Examined(images, findings, notes)


def shown_scenes(
    images: list[DatasetImage], cosine: float, workers: int, folder: Path
) -> list[tuple[int, int]]:
    """What `scene_pairs` returns for the images that can be used; nothing where scenes are off."""
    # of equal files, the first
    first: dict[str, int] = {}
    for index, image in enumerate(images):
        if image.class_name and image.pixels:
            first.setdefault(image.sha256, index)
    if not cosine or not first:
        return []

    # their features
    row_of = {sha256: row for row, sha256 in enumerate(first)}
    features = np.empty((len(first), DIMENSIONS), np.float16)
    computed = scene_features({key: images[at].file for key, at in first.items()}, workers, folder)
    quiet = not sys.stderr.isatty()
    for sha256, row in tqdm(computed, "scenes", len(first), unit="image", disable=quiet):
        features[row_of[sha256]] = row

    # the scenes
    at = list(first.values())
    classes = [images[index].class_name for index in at]
    pairs = scene_pairs(classes, list(first), features, cosine)
    return [(at[leader], at[image]) for leader, image in pairs]


def level_note(images: list[DatasetImage], dataset: DatasetParams) -> str:
    """A sentence if no image lies in a class folder itself; empty otherwise."""
    if dataset.list or dataset.class_level == -1:
        return ""
    if any(unicodedata.normalize("NFC", i.file.parent.name) == i.class_name for i in images):
        return ""
    inner = sorted({image.file.parent.name for image in images if image.class_name})
    return (
        f"no image lies in a class folder itself, all lie in folders below: {first_ten(inner)}. If "
        f"those are the classes, set dataset.class_level to {dataset.class_level + 1}, or -1 for the "
        "innermost"
    )
