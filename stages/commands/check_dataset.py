"""Check a folder or archive of images, without a pipeline.

    python -m stages check_dataset photos/
    python -m stages check_dataset photos.zip --list labels.csv

The exit code is 1 when images cannot be used, or when a model cannot be trained on the folder.
"""

import argparse
import statistics
import sys
import tempfile
from collections import Counter
from pathlib import Path

from stages.core.dataset.examined import examine_dataset
from stages.core.dataset.findings import SMALL_CLASS, summary
from stages.core.dataset.sources import DatasetImage
from stages.core.files import first_ten
from stages.core.images.archives import is_archive, unpacked_folder
from stages.core.layout import Layout
from stages.core.params import DatasetParams, load_params

SMALL_SIDE = 64
"""An image with a shorter side, in pixels, is called small."""


def main(dataset: DatasetParams, workers: int) -> bool:
    """Print the report; returns whether all images can be used. Raises ValueError as the stage does."""
    # examine, in a scratch folder that takes the place of the project
    source = Path(dataset.path).absolute()
    with tempfile.TemporaryDirectory(prefix="check_dataset-") as scratch:
        root = Path(scratch)
        base = unpacked_folder(root, source) if is_archive(source) else source
        examined = examine_dataset(root, dataset.replace(path=str(source)), workers, base)

    # report
    print(report([image for image in examined.images if image.class_name]))
    for note in examined.notes:
        print(note)
    problems = summary(examined.findings)
    print(f"\n{problems or 'no duplicates, no near-duplicates, nothing unreadable'}")
    examined.splits(by_its_splits(dataset, examined.usable), without="cannot be used")
    print(
        f"\n{len(examined.excluded):,} of {len(examined.images):,} images cannot be used: repair or "
        "remove them."
        if examined.excluded
        else "\nall images can be used"
    )
    return not examined.excluded


def by_its_splits(dataset: DatasetParams, images: list[DatasetImage]) -> DatasetParams:
    """The settings that take the source's own splits as they are."""
    official = {image.split for image in images}
    return dataset.replace(
        val_from="val" if "val" in official else "train",
        test_from="test" if "test" in official else "val" if "val" in official else "train",
        fold="",
    )


def report(images: list[DatasetImage]) -> str:
    """Counts, balance and sizes."""
    # counts and balance
    per_class = Counter(image.class_name for image in images)
    splits = Counter(image.split for image in images if image.split)
    (largest, most), (smallest, least) = per_class.most_common()[0], per_class.most_common()[-1]
    lines = [f"{len(images):,} images in {len(per_class):,} classes"]
    if splits:
        lines.append("official splits: " + ", ".join(f"{n:,} {split}" for split, n in splits.items()))
    lines.append(f"largest class {largest!r}: {most:,}; smallest {smallest!r}: {least:,}")
    few = [name for name, number in sorted(per_class.items()) if number < SMALL_CLASS]
    if few:
        lines.append(f"{len(few)} classes have fewer than {SMALL_CLASS} images: {first_ten(few)}")

    # sizes
    sides = [min(image.width, image.height) for image in images if image.pixels]
    if sides:
        lines.append(
            f"short side: {min(sides):,} to {max(sides):,} pixels, "
            f"median {statistics.median(sides):,.0f}"
        )
        small = sum(side < SMALL_SIDE for side in sides)
        if small:
            lines.append(f"{small:,} images have a side below {SMALL_SIDE} pixels")
    return "\n".join(lines)


def defaults() -> DatasetParams:
    """The dataset section of params.yaml, without the settings that belong to its own dataset."""
    dataset = load_params(Layout().params).dataset
    return dataset.replace(list="", class_level=1, group_by="")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", help="a folder, or a zip or tar archive")
    parser.add_argument("--list", default="", help="a CSV in it with the columns path, label[, split]")
    parser.add_argument("--class-level", type=int, default=1, help="the folder that names the class")
    parser.add_argument(
        "--group-by", default="", help="which images stay in one split, as in params.yaml"
    )
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
