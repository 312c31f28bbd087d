"""Check every picture and split them by content.

Reads   params.yaml: dataset, and the folder or archive it names
Writes  data/dataset/classes.txt                  a class a line; the line is the label
        data/dataset/{train, val, test}.txt       a picture a line, with its label and content hash
        data/dataset/findings.csv                 what is wrong with which picture
        metrics/dataset.json                      the counts

    python -m stages.prepare_dataset
"""

import sys
from collections import Counter
from pathlib import Path

from tqdm import tqdm

from stages.core.dataset.checks import CheckedImage, check_images
from stages.core.dataset.findings import (
    SMALL_CLASS,
    Finding,
    examine,
    listed_path,
    refuse,
    summary,
    usable,
    write_findings,
)
from stages.core.dataset.sources import SPLITS, FoundImage, check_learnable, find_images
from stages.core.dataset.splits import assign_splits
from stages.core.files import write_json
from stages.core.images.lists import ListedImage, write_classes, write_list
from stages.core.layout import Layout
from stages.core.params import load_params


def main(root: Path = Path()) -> None:
    layout = Layout(root)
    params = load_params(layout.params)
    dataset = params.dataset
    found = find_images(root, dataset)
    checks = check_images([image.file for image in found], params.runtime.workers, layout.work)
    bar = tqdm(checks, "checking", len(found), unit="image", disable=not sys.stderr.isatty())
    checked = list(bar)

    findings, keys = examine(root, found, checked, dataset.near_duplicates)
    write_findings(layout.findings, root, findings)
    if dataset.on_error == "fail":
        refuse(root, len(found), findings)
    kept = usable(found, findings)
    images = [found[index] for index in kept]
    check_learnable(found, images, f"{dataset.path} without what data/dataset/findings.csv excludes")
    classes = sorted({image.class_name for image in images})
    splits = assign_splits(images, [keys[index] for index in kept], dataset)

    label_of = {name: label for label, name in enumerate(classes)}
    listed = [
        ListedImage(listed_path(root, found[i].file), label_of[found[i].class_name], checked[i].sha256)
        for i in kept
    ]
    write_classes(layout.classes, classes)
    write_list(layout.train_list, [listed[i] for i in splits["train"]])
    write_list(layout.val_list, [listed[i] for i in splits["val"]])
    write_list(layout.test_list, [listed[i] for i in splits["test"]])
    counts = count(images, [checked[index] for index in kept], splits, findings)
    write_json(layout.dataset_counts, counts)

    if counts["excluded"]:
        print(f"left out, as dataset.on_error is exclude:\n{summary(root, findings)}")
    if dataset.val_from == dataset.test_from == "val":
        print("the val pictures are scored as test, too: they chose the epoch, so expect less elsewhere")
    print(
        f"{len(images):,} pictures in {len(classes)} classes: {counts['train']:,} train, "
        f"{counts['val']:,} val, {counts['test']:,} test -> {layout.relative(layout.classes.parent)}"
    )


def count(
    images: list[FoundImage],
    checks: list[CheckedImage],
    splits: dict[str, list[int]],
    findings: list[Finding],
) -> dict[str, int]:
    """What metrics/dataset.json says; sides in pixels."""
    per_class = Counter(image.class_name for image in images)
    short_sides = [min(check.width, check.height) for check in checks]
    kinds = Counter(finding.kind for finding in findings)
    alike = [finding for finding in findings if finding.kind == "look-alike"]
    return {
        "num_classes": len(per_class),
        "num_images": len(images),
        **{split: len(splits[split]) for split in SPLITS},
        "min_per_class": min(per_class.values()),
        "max_per_class": max(per_class.values()),
        "small_classes": sum(number < SMALL_CLASS for number in per_class.values()),
        "min_short_side": min(short_sides),
        "max_short_side": max(short_sides),
        "excluded": len({finding.file for finding in findings if finding.excluded}),
        "unreadable": kinds["unreadable"],
        "strays": kinds["stray"],
        "label_conflicts": kinds["label conflict"],
        "leaks": kinds["leak"],
        "duplicates": kinds["duplicate"],
        "look_alikes": len(alike),
        "look_alikes_across_classes": sum("class" in finding.across for finding in alike),
        "look_alikes_across_splits": sum("split" in finding.across for finding in alike),
    }


if __name__ == "__main__":
    main()
