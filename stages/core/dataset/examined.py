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
    by_kind,
    chain_note,
    excluded_files,
    find_problems,
    label_findings,
    skipped_findings,
)
from stages.core.dataset.sources import DatasetImage, check_learnable, find_images
from stages.core.dataset.splits import assign_splits
from stages.core.files import first_ten
from stages.core.layout import Layout
from stages.core.params import DatasetParams
from stages.core.scenes.features import DIMENSIONS, scene_features
from stages.core.scenes.grouping import scene_pairs
from stages.core.scenes.labels import SCENES, Judged, judge


@dataclass(frozen=True)
class Seen:
    """What a network sees in the images that can be used, equal ones once."""

    of: list[int]
    """Of each row of the features, the position of its image in `Examined.images`."""
    features: np.ndarray
    """(N, 1280) float16."""
    judged: Judged


@dataclass(frozen=True)
class Examined:
    images: list[DatasetImage]
    """Every file that was read, those outside of class folders included."""
    findings: list[Finding]
    notes: list[str]
    """Sentences on what is doubtful, and is used all the same."""
    seen: "Seen | None" = None
    """None where no features were computed."""

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
    root: Path, dataset: DatasetParams, workers: int, base: Path | None = None, labels: bool = False
) -> Examined:
    """Find, check and compare the images that dataset.path names, with a progress bar on a terminal.

    workers: processes that decode; 0 decodes in this one. base: the folder that paths are listed and
    reported from; without it, the project's root. labels: look for wrong labels and odd images, even
    where dataset.scenes is off and no features are needed.
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
    of, features = [], np.empty((0, DIMENSIONS), np.float16)
    if dataset.scenes or labels:
        of, features = features_of(images, workers, Layout(root).work)
    scenes = shown_scenes(images, of, features, dataset.scenes)
    keys = grouping_keys(images, near, scenes) if scenes else contents
    images = [
        replace(image, key=key, content_key=content)
        for image, key, content in zip(images, keys, contents, strict=True)
    ]
    findings = find_problems(images, near, scenes) + skipped_findings(skipped, base)
    class_names = sorted({image.class_name for image in images} - {""})
    notes = doubts(class_names)
    notes += filter(None, [level_note(images, dataset), chain_note(images, near)])

    # judge the labels
    if not of:
        return Examined(images, findings, notes)
    number_of = {name: number for number, name in enumerate(class_names)}
    labels_of = [number_of[images[at].class_name] for at in of]
    keys = grouping_keys(images, near, shown_scenes(images, of, features, max(dataset.scenes, SCENES)))
    judged = judge(labels_of, [keys[at] for at in of], features)
    findings = sorted(findings + label_findings(images, of, class_names, judged), key=by_kind)
    notes += filter(None, [alike_note(class_names, judged)])
    if unjudged := [class_names[number] for number in judged.unjudged(labels_of)]:
        notes.append(
            f"labels of {len(unjudged)} classes cannot be judged, as all their images belong together: "
            f"{first_ten(unjudged)}"
        )
    return Examined(images, findings, notes, Seen(of, features, judged))


def features_of(images: list[DatasetImage], workers: int, folder: Path) -> tuple[list[int], np.ndarray]:
    """The positions of the images that can be used, of equal files the first; and their features.

    folder: where features are kept.
    """
    first: dict[str, int] = {}
    for index, image in enumerate(images):
        if image.class_name and image.pixels:
            first.setdefault(image.sha256, index)
    row_of = {sha256: row for row, sha256 in enumerate(first)}
    features = np.empty((len(first), DIMENSIONS), np.float16)
    computed = scene_features({key: images[at].file for key, at in first.items()}, workers, folder)
    quiet = not sys.stderr.isatty()
    for sha256, row in tqdm(computed, "scenes", len(first), unit="image", disable=quiet):
        features[row_of[sha256]] = row
    return list(first.values()), features


def shown_scenes(
    images: list[DatasetImage], of: list[int], features: np.ndarray, cosine: float
) -> list[tuple[int, int]]:
    """What `scene_pairs` returns for the images at the positions `of`; nothing where scenes are off."""
    if not cosine or not of:
        return []
    classes, hashes = zip(*((images[at].class_name, images[at].sha256) for at in of), strict=True)
    pairs = scene_pairs(classes, hashes, features, cosine)
    return [(of[leader], of[image]) for leader, image in pairs]


def alike_note(class_names: list[str], judged: Judged) -> str:
    """A sentence on classes that the probe takes for each other; empty if there are none."""
    pairs = [
        f"{class_names[one]!r} and {class_names[other]!r} ({taken:,} of {number:,} images)"
        for one, other, taken, number in judged.alike()
    ]
    return f"classes that look alike, by images taken for the other: {first_ten(pairs, str)}" * bool(
        pairs
    )


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
