"""Check a folder or archive of images and their labels.

Writes  dvc_plots/labels.html     labels that look wrong, and images unlike their class

    python -m stages check_dataset photos/
    python -m stages check_dataset photos.zip --list labels.csv

It computes features, as prepare-dataset does with dataset.scenes, and keeps them in .work. The exit code
is 1 when images cannot be used, or when a model cannot be trained on the folder.
"""

import argparse
import base64
import io
import statistics
import sys
from collections import Counter
from pathlib import Path

from tqdm import tqdm

from stages.core.dataset.examined import Examined, examine_dataset
from stages.core.dataset.findings import SMALL_CLASS, summary
from stages.core.dataset.sources import DatasetImage
from stages.core.files import csv_row, first_ten, write_text
from stages.core.images.archives import is_archive, unpacked_folder
from stages.core.images.decoding import decode
from stages.core.layout import Layout
from stages.core.params import DatasetParams, load_params
from stages.core.report.page import Suspect, Thumbnail, labels_page
from stages.core.scenes.labels import nearest

SMALL_SIDE = 64
"""An image with a shorter side, in pixels, is called small."""
SCENES = 0.64
"""The cosine of `configs/presets/photos.yaml`, where params.yaml has scenes off."""
SHOWN_LABELS, SHOWN_ODD = 200, 100
"""Images on the page, at most."""
SHOWN_NEAREST = 4
THUMBNAIL = 144
"""Longer side, in pixels."""


def main(dataset: DatasetParams, workers: int, labels: bool = True, root: Path = Path()) -> bool:
    """Print the report; returns whether all images can be used. Raises ValueError as the stage does.

    labels: look for wrong labels, too. root: the project; unpacked archives, checks and features are
    kept in its `.work`, where prepare-dataset finds them again.
    """
    # examine
    source = root / dataset.path
    base = unpacked_folder(root, source) if is_archive(source) else source
    dataset = dataset.replace(scenes=(dataset.scenes or SCENES) if labels else 0.0)
    examined = examine_dataset(root, dataset, workers, base, labels)

    # report
    print(report([image for image in examined.images if image.class_name]))
    for note in examined.notes:
        print(note)
    problems = summary(examined.findings)
    print(f"\n{problems or 'no duplicates, no near-duplicates, nothing unreadable'}")
    if examined.seen:
        page = Layout(root).label_page
        write_text(page, page_of(examined, dataset))
        print(f"\nto look at before training: labels and odd images -> {Layout(root).relative(page)}")
    examined.splits(by_its_splits(dataset, examined.usable), without="cannot be used")
    print(
        f"\n{len(examined.excluded):,} of {len(examined.images):,} images cannot be used: repair or "
        "remove them."
        if examined.excluded
        else "\nall images can be used"
    )
    return not examined.excluded


def page_of(examined: Examined, dataset: DatasetParams) -> str:
    """The page to look at before training: doubtful images, each with those most like it."""
    seen = examined.seen
    row_of = {at: row for row, at in enumerate(seen.of)}
    at_of = {image.file: at for at, image in enumerate(examined.images)}

    def suspects(kind: str, most: int) -> tuple[list[Suspect], int]:
        found = [finding for finding in examined.findings if finding.kind == kind]
        shown = found[:most]
        rows = [row_of[at_of[finding.image.file]] for finding in shown]
        bar = tqdm(
            zip(shown, nearest(seen.features, rows, SHOWN_NEAREST), strict=True),
            "page",
            len(shown),
            unit="image",
            disable=not sys.stderr.isatty(),
        )
        return [
            Suspect(
                thumbnail(finding.image),
                finding.reason,
                [thumbnail(examined.images[seen.of[row]]) for row in near],
                csv_row([f"{dataset.path.rstrip('/')}/{finding.image.path}", finding.kind]).rstrip(),
            )
            for finding, near in bar
        ], len(found)

    doubtful, num_doubtful = suspects("doubtful label", SHOWN_LABELS)
    odd, num_odd = suspects("odd image", SHOWN_ODD)
    return labels_page(
        dataset.path,
        len(seen.of),
        doubtful,
        odd,
        (num_doubtful, num_odd),
        examined.notes,
        dataset.exclude,
    )


def thumbnail(image: DatasetImage) -> Thumbnail:
    small = decode(image.file.read_bytes(), THUMBNAIL)
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=80)
    source = "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
    return Thumbnail(source, image.path, image.class_name)


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
    parser.add_argument("--exclude", help="a CSV of images to leave out; else that of params.yaml")
    parser.add_argument(
        "--no-labels",
        action="store_true",
        help="do not look for wrong labels and odd images, which takes a second for some 25 images",
    )
    parser.add_argument("--workers", type=int, default=2, help="processes")
    arguments = parser.parse_args()
    own = defaults()
    asked = own.replace(
        path=arguments.path,
        list=arguments.list,
        class_level=arguments.class_level,
        group_by=arguments.group_by,
        near_duplicates=arguments.near_duplicates,
        exclude=arguments.exclude or own.exclude,
    )
    sys.exit(0 if main(asked, arguments.workers, labels=not arguments.no_labels) else 1)
