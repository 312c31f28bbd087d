"""A dataset from its source to its splits: find the images, check them, compare them, split them."""

import sys
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from tqdm import tqdm

from stages.core.dataset.checks import check_images
from stages.core.dataset.duplicates import grouping_keys, near_pairs
from stages.core.dataset.findings import Finding, excluded_files, find_problems, skipped_findings
from stages.core.dataset.sources import DatasetImage, check_learnable, find_images
from stages.core.dataset.splits import assign_splits
from stages.core.layout import Layout
from stages.core.params import DatasetParams


@dataclass(frozen=True)
class Examined:
    images: list[DatasetImage]
    """Every file that was read, those outside of class folders included."""
    findings: list[Finding]

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
    keys = grouping_keys(images, near)
    images = [replace(image, key=key) for image, key in zip(images, keys, strict=True)]
    return Examined(images, find_problems(images, near) + skipped_findings(skipped, base))
