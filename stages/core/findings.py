"""What is wrong with which picture, and what becomes of it."""

import csv
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from stages.core.images import CheckedImage
from stages.core.sources import FoundImage

SHOWN = 10
EXPLAINED = {
    "unreadable": "files cannot be used",
    "label conflict": "pictures lie in more than one class",
    "leak": "training pictures are in another split, too",
    "duplicate": "pictures are there twice in one class and split",
}


@dataclass(frozen=True)
class Finding:
    file: Path
    kind: str
    """A key of EXPLAINED."""
    reason: str
    excluded: bool
    """Whether the picture is left out; all but mere duplicates are."""


def examine(root: Path, found: list[FoundImage], checked: list[CheckedImage]) -> list[Finding]:
    """All findings, sorted by kind and path. found and checked: in the same order.

    Of pictures in two classes none is trusted. Of a picture that stands in training and in another
    split, the training copy is the finding.
    """
    findings = []
    same: dict[str, list[FoundImage]] = defaultdict(list)
    for image, check in zip(found, checked, strict=True):
        problem = check.problem or name_problem(root, image.file)
        if problem:
            findings.append(Finding(image.file, "unreadable", problem, True))
        else:
            same[check.sha256].append(image)
    for images in same.values():
        classes = sorted({image.class_name for image in images})
        if len(classes) > 1:
            reason = f"the same picture is in the classes {', '.join(map(repr, classes))}"
            findings += [Finding(i.file, "label conflict", reason, True) for i in images]
            continue
        held_out = [image for image in images if image.split in ("val", "test")]
        kept: dict[str | None, FoundImage] = {}
        for image in images:
            if image.split == "train" and held_out:
                other = held_out[0]
                reason = f"the same picture is in {other.split}: {listed_path(root, other.file)}"
                findings.append(Finding(image.file, "leak", reason, True))
            elif image.split in kept:
                reason = f"the same picture as {listed_path(root, kept[image.split].file)}"
                findings.append(Finding(image.file, "duplicate", reason, False))
            else:
                kept[image.split] = image
    kinds = list(EXPLAINED)
    return sorted(findings, key=lambda f: (kinds.index(f.kind), f.file.as_posix()))


def name_problem(root: Path, file: Path) -> str:
    try:
        listed_path(root, file).encode("utf-8")
    except UnicodeEncodeError:
        return "its name is not UTF-8: rename it"
    return ""


def accepted(
    root: Path,
    found: list[FoundImage],
    checked: list[CheckedImage],
    findings: list[Finding],
    on_error: Literal["fail", "exclude"],
) -> list[tuple[FoundImage, CheckedImage]]:
    """The pictures to use. Raises ValueError when some cannot be and on_error is fail."""
    excluded = {finding.file for finding in findings if finding.excluded}
    if excluded and on_error == "fail":
        raise ValueError(
            f"{len(excluded)} of {len(found)} pictures cannot be used.\n{summary(root, findings)}\n"
            "Repair or remove them, or set dataset.on_error to exclude. "
            "data/dataset/findings.csv lists them all."
        )
    return [pair for pair in zip(found, checked, strict=True) if pair[0].file not in excluded]


def summary(root: Path, findings: list[Finding]) -> str:
    """The first ten of each kind that excludes, and how many there are."""
    lines = []
    for kind, explained in EXPLAINED.items():
        some = [finding for finding in findings if finding.kind == kind and finding.excluded]
        if some:
            lines.append(f"{len(some)} {explained}:")
            lines += [f"  {shown_path(root, f.file)}: {f.reason}" for f in some[:SHOWN]]
        if len(some) > SHOWN:
            lines.append(f"  ... and {len(some) - SHOWN} more")
    return "\n".join(lines)


def write_findings(path: Path, root: Path, findings: list[Finding]) -> None:
    """Columns: path, finding, reason, excluded (0 or 1)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        write = csv.writer(file, lineterminator="\n").writerow
        write(["path", "finding", "reason", "excluded"])
        for finding in findings:
            excluded = int(finding.excluded)
            write([listed_path(root, finding.file), finding.kind, finding.reason, excluded])


def listed_path(root: Path, file: Path) -> str:
    """How a file is named in lists: from the project's root, with forward slashes."""
    return (file.relative_to(root) if file.is_relative_to(root) else file).as_posix()


def shown_path(root: Path, file: Path) -> str:
    return listed_path(root, file).encode("utf-8", "backslashreplace").decode()
