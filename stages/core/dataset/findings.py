"""What is wrong with which picture, and what becomes of it."""

import csv
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from stages.core.dataset.checks import CheckedImage
from stages.core.dataset.duplicates import components, equal_pairs, look_alikes
from stages.core.dataset.sources import SPLITS, FoundImage

SHOWN = 10
SMALL_CLASS = 20
"""Pictures below which a class is called small: with the default fractions 4 of them are scored."""
EXPLAINED = {
    "unreadable": "files cannot be used",
    "stray": "pictures lie in no class folder",
    "label conflict": "pictures lie in more than one class",
    "leak": "pictures, or others of their group, are in a later split, too",
    "duplicate": "pictures are there twice in one class and split",
    "look-alike": "pictures look like another one",
    "no picture": "other files lie in no class folder",
}


@dataclass(frozen=True)
class Finding:
    file: Path
    kind: str
    """A key of EXPLAINED."""
    reason: str
    excluded: bool
    """Whether the picture cannot be used; duplicates and look-alikes can, other files need not."""
    across: str = ""
    """What a look-alike crosses: class, split, or both as "class, split"."""


def examine(
    root: Path, found: list[FoundImage], checked: list[CheckedImage], near_duplicates: int
) -> tuple[list[Finding], list[str]]:
    """All findings, sorted by kind and path; and a key for each picture, the same for those that belong
    together: exact duplicates, look-alikes, groups.

    found and checked: in the same order. Of one picture in two classes no copy is trusted. Of a picture
    that stands in two splits, or of a group that does, the copy in the earlier one is the finding. Of
    the many that a picture may look like one is told, first of another class or split, then the nearest.
    """
    findings = []
    same: dict[str, list[int]] = defaultdict(list)
    groups: dict[str, list[FoundImage]] = defaultdict(list)
    for index, (image, check) in enumerate(zip(found, checked, strict=True)):
        problem = check.problem or name_problem(root, image.file)
        if not image.class_name:
            findings.append(stray(image.file, problem))
            continue
        if problem:
            findings.append(Finding(image.file, "unreadable", problem, True))
        if check.pixels:
            same[check.pixels].append(index)
        if image.group:
            groups[image.group].append(image)
    for indices in same.values():
        if len(indices) > 1:
            findings += exact_duplicates(root, [found[index] for index in indices])
    for group, images in groups.items():
        findings += leaks(root, images, f"a picture of its group {group!r}")

    together = [(one, other) for one, *others in same.values() for other in others]
    if near_duplicates:
        looks = {pixels: indices[0] for pixels, indices in same.items()}
        indices = list(looks.values())
        pairs = look_alikes([checked[i].look for i in indices], near_duplicates)
        told: dict[int, tuple[int, int, int]] = {}
        for one, other, bits in pairs:
            one, other = indices[one], indices[other]
            together.append((one, other))
            crossed = (found[one].class_name != found[other].class_name) + (
                found[one].split != found[other].split
            )
            told[other] = min(told.get(other, (0, 65, 0)), (-crossed, bits, one))
        for other, (_, bits, one) in told.items():
            findings.append(look_alike(root, found[one], found[other], bits))
    together += equal_pairs([image.group for image in found])
    of = components(len(found), together)
    names = [image.group or check.sha256 for image, check in zip(found, checked, strict=True)]
    smallest: dict[int, str] = {}
    for index, component in enumerate(of):
        smallest[component] = min(smallest.get(component, names[index]), names[index])
    kinds = list(EXPLAINED)
    findings.sort(key=lambda f: (kinds.index(f.kind), f.file.as_posix()))
    return findings, [smallest[component] for component in of]


def exact_duplicates(root: Path, images: list[FoundImage]) -> list[Finding]:
    classes = sorted({image.class_name for image in images})
    if len(classes) > 1:
        reason = f"the same picture is in the classes {', '.join(map(repr, classes))}"
        return [Finding(image.file, "label conflict", reason, True) for image in images]
    findings = leaks(root, images, "the same picture")
    leaking = {finding.file for finding in findings}
    kept, *others = [image for image in images if image.file not in leaking]
    reason = f"the same picture as {shown_path(root, kept.file)}"
    return findings + [Finding(image.file, "duplicate", reason, False) for image in others]


def leaks(root: Path, images: list[FoundImage], shared: str) -> list[Finding]:
    """Of what should be in one split, those in an earlier one than the last."""
    last = max(images, key=split_order)
    reason = f"{shared} is in {last.split}: {shown_path(root, last.file)}"
    return [
        Finding(image.file, "leak", reason, True)
        for image in images
        if split_order(image) < split_order(last)
    ]


def split_order(image: FoundImage) -> int:
    return SPLITS.index(image.split or "train")


def stray(file: Path, problem: str) -> Finding:
    where = "lies above the class folders"
    if problem:
        return Finding(file, "no picture", f"{problem}, and {where}", False)
    return Finding(file, "stray", f"{where} (dataset.class_level): move it into one or away", True)


def look_alike(root: Path, one: FoundImage, other: FoundImage, bits: int) -> Finding:
    across = []
    reason = f"{bits} of 64 bits differ from {shown_path(root, one.file)}"
    if other.class_name != one.class_name:
        across.append("class")
        reason += f", of class {one.class_name!r}"
    if other.split != one.split:
        across.append("split")
        reason += f", in {one.split}"
    return Finding(other.file, "look-alike", reason, False, ", ".join(across))


def name_problem(root: Path, file: Path) -> str:
    try:
        listed_path(root, file).encode("utf-8")
    except UnicodeEncodeError:
        return "its name is not UTF-8: rename it"
    return ""


def usable(found: list[FoundImage], findings: list[Finding]) -> list[int]:
    """The positions of the pictures that can be used."""
    excluded = {finding.file for finding in findings if finding.excluded}
    return [i for i, image in enumerate(found) if image.class_name and image.file not in excluded]


def refuse(root: Path, num_images: int, findings: list[Finding]) -> None:
    """Raise ValueError when pictures cannot be used."""
    excluded = {finding.file for finding in findings if finding.excluded}
    if excluded:
        raise ValueError(
            f"{len(excluded)} of {num_images} pictures cannot be used.\n{summary(root, findings)}\n"
            "Repair or remove them, or set dataset.on_error to exclude. "
            "data/dataset/findings.csv lists them all."
        )


def summary(root: Path, findings: list[Finding], excluded: bool = True) -> str:
    """The first ten of each kind, and how many there are; excluded: only what cannot be used."""
    lines = []
    for kind, explained in EXPLAINED.items():
        some = [f for f in findings if f.kind == kind and (f.excluded or not excluded)]
        if some:
            lines.append(f"{len(some)} {explained}:")
            lines += [f"  {shown_path(root, f.file)}: {f.reason}" for f in some[:SHOWN]]
        if len(some) > SHOWN:
            lines.append(f"  ... and {len(some) - SHOWN} more")
    return "\n".join(lines)


def write_findings(path: Path, root: Path, findings: list[Finding]) -> None:
    """Columns: path, finding, reason, excluded (0 or 1)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        write = csv.writer(file, lineterminator="\n").writerow
        write(["path", "finding", "reason", "excluded"])
        for finding in findings:
            row = [shown_path(root, finding.file), finding.kind, finding.reason, int(finding.excluded)]
            write(row)


def listed_path(root: Path, file: Path) -> str:
    """How a file is named in lists: from the project's root, with forward slashes."""
    return (file.relative_to(root) if file.is_relative_to(root) else file).as_posix()


def shown_path(root: Path, file: Path) -> str:
    """The same for messages, whatever bytes the name has."""
    return listed_path(root, file).encode("utf-8", "backslashreplace").decode()
