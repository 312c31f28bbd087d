"""Check a folder or archive of images, without a pipeline.

    python -m stages check_dataset photos/
    python -m stages check_dataset photos.zip --list labels.csv

The checks are those of prepare-dataset. Exit code 1 when images cannot be used, or when the classes
cannot be learned.
"""

import argparse
import statistics
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tqdm import tqdm

from stages.core.dataset.checks import CheckedImage, check_images
from stages.core.dataset.findings import SMALL_CLASS, examine, summary, usable
from stages.core.dataset.sources import FoundImage, check_learnable, find_images
from stages.core.dataset.splits import assign_splits
from stages.core.files import first_ten
from stages.core.images.archives import is_archive, unpacked_folder
from stages.core.layout import Layout
from stages.core.params import DatasetParams, load_params

SMALL_SIDE = 64
"""Pixels below which a picture is called small."""


def main(dataset: DatasetParams, workers: int) -> bool:
    """Print the report; returns whether all pictures can be used and the classes be learnt."""
    source = Path(dataset.path).absolute()
    with tempfile.TemporaryDirectory(prefix="check_dataset-") as scratch:
        root = Path(scratch)
        found = find_images(root, dataset.replace(path=str(source)))
        checks = check_images([image.file for image in found], workers, root)
        checked = list(tqdm(checks, "checking", len(found), disable=not sys.stderr.isatty()))
        shown = unpacked_folder(root, source) if is_archive(source) else source
        findings, keys = examine(shown, found, checked, dataset.near_duplicates)
        in_class = [index for index, image in enumerate(found) if image.class_name]
        print(report([found[index] for index in in_class], [checked[index] for index in in_class]))
        problems = summary(shown, findings, excluded=False)
    print(f"\n{problems or 'no duplicates, no look-alikes, nothing unreadable'}")
    kept = usable(found, findings)
    images = [found[index] for index in kept]
    check_learnable(found, images, f"{dataset.path} without what cannot be used")
    assign_splits(images, [keys[index] for index in kept], by_its_splits(dataset, images))
    excluded = len({finding.file for finding in findings if finding.excluded})
    print(
        f"\n{excluded:,} of {len(found):,} pictures cannot be used: repair or remove them."
        if excluded
        else "\nall pictures can be used"
    )
    return not excluded


def by_its_splits(dataset: DatasetParams, images: list[FoundImage]) -> DatasetParams:
    """With the splits that the source has taken as they are."""
    there = {image.split for image in images}
    return dataset.replace(
        val_from="val" if "val" in there else "train",
        test_from="test" if "test" in there else "val" if "val" in there else "train",
        fold="",
    )


def report(found: list[FoundImage], checked: list[CheckedImage]) -> str:
    """Counts, balance and sizes."""
    per_class = Counter(image.class_name for image in found)
    splits = Counter(image.split for image in found if image.split)
    (largest, most), (smallest, least) = per_class.most_common()[0], per_class.most_common()[-1]
    lines = [f"{len(found):,} pictures in {len(per_class):,} classes"]
    if splits:
        lines.append("official splits: " + ", ".join(f"{n:,} {split}" for split, n in splits.items()))
    lines.append(f"largest class {largest!r}: {most:,}; smallest {smallest!r}: {least:,}")
    few = [name for name, number in sorted(per_class.items()) if number < SMALL_CLASS]
    if few:
        lines.append(f"{len(few)} classes have fewer than {SMALL_CLASS} pictures: {first_ten(few)}")
    spellings = Counter(name.casefold() for name in per_class)
    alike = sorted(name for name in per_class if spellings[name.casefold()] > 1)
    if alike:
        lines.append(f"{len(alike)} class names differ only in upper and lower case: {first_ten(alike)}")
    good = [check for check in checked if not check.problem]
    if good:
        sides = [min(check.width, check.height) for check in good]
        lines.append(
            f"short side: {min(sides):,} to {max(sides):,} pixels, "
            f"median {statistics.median(sides):,.0f}"
        )
        small = sum(side < SMALL_SIDE for side in sides)
        if small:
            lines.append(f"{small:,} pictures have a side below {SMALL_SIDE} pixels")
    return "\n".join(lines)


def defaults() -> DatasetParams:
    """params.yaml's dataset section, without what names a data set of its own."""
    dataset = load_params(Layout().params).dataset
    return dataset.replace(list="", class_level=1, group_by="")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", help="a folder, or a zip or tar archive")
    parser.add_argument("--list", default="", help="a CSV in it with the columns path, label[, split]")
    parser.add_argument("--class-level", type=int, default=1, help="the folder that names the class")
    parser.add_argument("--group-by", default="", help="what must stay in one split, as in params.yaml")
    parser.add_argument("--near-duplicates", type=int, default=3, help="differing bits of 64; 0 is off")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    arguments = parser.parse_args()
    asked = defaults().replace(
        path=arguments.path,
        list=arguments.list,
        class_level=arguments.class_level,
        group_by=arguments.group_by,
        near_duplicates=arguments.near_duplicates,
    )
    sys.exit(0 if main(asked, arguments.workers) else 1)
