"""Check every picture and split them by content.

Reads   params.yaml: dataset, and the folder or archive it names
Writes  data/dataset/classes.txt                  a class a line; the line is the label
        data/dataset/{train, val, test}.txt       a picture a line, with its label and content hash
        data/dataset/findings.csv                 what is wrong with which picture
        metrics/dataset.json                      the counts

    python -m stages.prepare_dataset
"""

import json
import sys
from collections import Counter
from pathlib import Path

from tqdm import tqdm

from stages.core.findings import Finding, accepted, examine, listed_path, summary, write_findings
from stages.core.images import check_images
from stages.core.layout import Layout
from stages.core.lists import ListedImage, write_classes, write_list, write_text
from stages.core.params import load_params
from stages.core.sources import SPLITS, find_images
from stages.core.splits import assign_splits


def main(root: Path = Path()) -> None:
    layout = Layout(root)
    params = load_params(layout.params)
    found = find_images(root, params.dataset.path)
    checked = list(
        tqdm(
            check_images([image.file for image in found], params.runtime.workers),
            total=len(found),
            desc="checking",
            unit="image",
            disable=not sys.stderr.isatty(),
        )
    )

    findings = examine(root, found, checked)
    write_findings(layout.findings, root, findings)
    kept = accepted(root, found, checked, findings, params.dataset.on_error)
    classes = sorted({image.class_name for image, _ in kept})
    if len(classes) < 2:
        raise ValueError(
            f"{params.dataset.path} has {len(classes)} class ({', '.join(classes)}); expected 2 or "
            "more, each a folder of pictures."
        )
    splits = assign_splits(kept, params.dataset)

    label_of = {name: label for label, name in enumerate(classes)}
    lists = {
        split: [
            ListedImage(listed_path(root, image.file), label_of[image.class_name], check.sha256)
            for image, check in splits[split]
        ]
        for split in SPLITS
    }
    write_classes(layout.classes, classes)
    write_list(layout.train_list, lists["train"])
    write_list(layout.val_list, lists["val"])
    write_list(layout.test_list, lists["test"])
    counts = count(splits, len(classes), findings)
    write_text(layout.dataset_counts, json.dumps(counts, indent=2, sort_keys=True) + "\n")

    if counts["excluded"]:
        print(f"left out, as dataset.on_error is exclude:\n{summary(root, findings)}")
    if params.dataset.test_from == params.dataset.val_from == "val":
        print("the val pictures are scored as test, too: they chose the epoch, so expect less on others")
    print(
        f"{counts['num_images']:,} pictures in {len(classes)} classes: {counts['train']:,} train, "
        f"{counts['val']:,} val, {counts['test']:,} test -> {layout.relative(layout.classes.parent)}"
    )


def count(splits: dict[str, list], num_classes: int, findings: list[Finding]) -> dict:
    """What metrics/dataset.json holds."""
    pictures = {image.file: image.class_name for split in splits.values() for image, _ in split}
    per_class = Counter(pictures.values())
    return {
        "num_classes": num_classes,
        "num_images": len(pictures),
        **{split: len(members) for split, members in splits.items()},
        "min_per_class": min(per_class.values()),
        "max_per_class": max(per_class.values()),
        "duplicates": sum(finding.kind == "duplicate" for finding in findings),
        "excluded": sum(finding.excluded for finding in findings),
    }


if __name__ == "__main__":
    main()
