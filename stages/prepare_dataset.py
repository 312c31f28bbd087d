"""Check every image and split them by content.

Reads   params.yaml: dataset, and the folder or archive it names
Writes  data/dataset/classes.txt                  one class per line; the line is the label
        data/dataset/{train, val, test}.txt       one image per line, with its label and content hash
        data/dataset/findings.csv                 what is wrong with which image
        metrics/dataset.json                      the counts

    python -m stages.prepare_dataset
"""

from collections import Counter
from pathlib import Path

from stages.core.dataset.examined import Examined, examine_dataset
from stages.core.dataset.findings import SKIPPED, SMALL_CLASS, refuse, summary, write_findings
from stages.core.dataset.sources import SPLITS, DatasetImage
from stages.core.dataset.splits import classes_of_few_scenes
from stages.core.files import first_ten, together, write_json
from stages.core.images.lists import ListedImage, write_classes, write_list
from stages.core.layout import Layout
from stages.core.params import DatasetParams, load_params


def main(root: Path = Path()) -> None:
    layout = Layout(root)
    params = load_params(layout.params)
    dataset = params.dataset

    # examine; the findings are written even when they stop the stage
    examined = examine_dataset(root, dataset, params.runtime.workers)
    write_findings(layout.findings, examined.findings)
    skipped = [finding for finding in examined.findings if finding.kind in SKIPPED]
    for note in [summary(skipped)] * bool(skipped) + examined.notes:
        print(note)
    if dataset.on_error == "fail":
        refuse(len(examined.images), examined.findings)
    splits = examined.splits(dataset, without="data/dataset/findings.csv excludes")

    # write
    classes = sorted({image.class_name for image in examined.usable})
    label_of = {name: label for label, name in enumerate(classes)}
    lists = {"train": layout.train_list, "val": layout.val_list, "test": layout.test_list}
    counts = count(examined, splits)
    with together():
        write_classes(layout.classes, classes)
        for split, path in lists.items():
            rows = [ListedImage(i.path, label_of[i.class_name], i.sha256) for i in splits[split]]
            write_list(path, rows)
        write_json(layout.dataset_counts, counts)

    # report
    excluded = [finding for finding in examined.findings if finding.excluded]
    if excluded:
        print(f"left out, as dataset.on_error is exclude:\n{summary(excluded)}")
    report_scenes(examined, dataset, splits)
    if dataset.val_from == dataset.test_from == "val":
        print("the val images are scored as test, too: they chose the epoch, so expect less elsewhere")
    suspicious = sum(finding.kind == "suspicious" for finding in examined.findings)
    if suspicious:
        print(f"{suspicious:,} images look damaged: {layout.relative(layout.findings)} says why")
    print(
        f"{counts['num_images']:,} images in {len(classes)} classes: {counts['train']:,} train, "
        f"{counts['val']:,} val, {counts['test']:,} test -> {layout.relative(layout.classes.parent)}"
    )


def report_scenes(
    examined: Examined, dataset: DatasetParams, splits: dict[str, list[DatasetImage]]
) -> None:
    """What the scenes say about the splits; nothing where they are off."""
    shared = [finding.image for finding in examined.findings if finding.kind == "shared scene"]
    for split in ("val", "test"):
        number = sum(image.split == split for image in shared)
        if number and len(splits[split]):
            print(
                f"{number:,} of {len(splits[split]):,} {split} images show a scene that train shows: "
                "expect less of images from elsewhere (data/dataset/findings.csv lists them)"
            )
    learned = [image for image in examined.usable if (image.split or "train") == "train"]
    few = classes_of_few_scenes(learned, dataset)
    if few:
        print(
            f"{len(few)} classes have too few scenes for {len(SPLITS)} splits, so images of one scene "
            f"are in several: {first_ten(few)}"
        )


def count(examined: Examined, splits: dict[str, list[DatasetImage]]) -> dict[str, int]:
    """The content of metrics/dataset.json; sides are in pixels."""
    images, findings = examined.usable, examined.findings
    per_class = Counter(image.class_name for image in images)
    short_sides = [min(image.width, image.height) for image in images]
    kinds = Counter(finding.kind for finding in findings)
    near = [finding for finding in findings if finding.kind == "near-duplicate"]
    return {
        "num_classes": len(per_class),
        "num_images": len(images),
        **{split: len(splits[split]) for split in SPLITS},
        "min_per_class": min(per_class.values()),
        "max_per_class": max(per_class.values()),
        "small_classes": sum(number < SMALL_CLASS for number in per_class.values()),
        "min_short_side": min(short_sides),
        "max_short_side": max(short_sides),
        "excluded": len(examined.excluded),
        "unreadable": kinds["unreadable"],
        "strays": kinds["stray"],
        "label_conflicts": kinds["label conflict"],
        "leaks": kinds["leak"],
        "duplicates": kinds["duplicate"],
        "near_duplicates": len(near),
        "near_duplicates_across_classes": sum("class" in finding.across for finding in near),
        "near_duplicates_across_splits": sum("split" in finding.across for finding in near),
        "shared_scenes": kinds["shared scene"],
        "doubtful_labels": kinds["doubtful label"],
        "odd_images": kinds["odd image"],
        "left_out": kinds["excluded"],
    }


if __name__ == "__main__":
    main()
