"""What is wrong with which image, and whether it can be used."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from stages.core.dataset.duplicates import CHAIN, chains
from stages.core.dataset.folders import Skipped
from stages.core.dataset.sources import SPLITS, DatasetImage, with_path
from stages.core.files import SHOWN, first_ten, write_csv
from stages.core.names import shown
from stages.core.scenes.labels import Judged

SMALL_CLASS = 20
"""A class with fewer images is called small: with the default fractions about 4 of them are scored."""
EXPLAINED = {
    "unreadable": "files cannot be used",
    "suspicious": "images look damaged, and are used",
    "stray": "images lie in no class folder",
    "label conflict": "images lie in more than one class",
    "leak": "images, or others of their group, are also in a later split",
    "duplicate": "images appear twice in one class and split",
    "near-duplicate": "images are near-duplicates of another one",
    "shared scene": "images of val or test show a scene that train shows",
    "doubtful label": "labels look wrong, the most doubtful first",
    "odd image": "images are unlike all others of their class, the oddest first",
    "no image": "other files lie in no class folder",
    "not listed": "files are not in dataset.list, and not used",
    "hidden": "files or folders are hidden, and not used",
    "ignored": "files or folders are ignored by DVC, and not used",
    "leftover": "leftovers of systems and programs are not used",
    "excluded": "images are left out, as dataset.exclude says",
    "elsewhere": "rows of dataset.exclude name no image of dataset.path, perhaps of another dataset",
}
SKIPPED = {
    "not listed": "dataset.list does not name it",
    "hidden": "its name starts with a dot: if it is data, rename it",
    "ignored": ".dvcignore names it, so DVC does not hash it: if it is data, rename it",
    "leftover": "a system or program has left it here",
    "excluded": "dataset.exclude names it",
    "elsewhere": "dataset.exclude names it",
}
"""Why a file or folder was not read."""


@dataclass(frozen=True)
class Finding:
    image: DatasetImage
    kind: str
    """A key of EXPLAINED."""
    reason: str
    excluded: bool
    """Whether the image cannot be used. Duplicates and near-duplicates can be used."""
    across: str = ""
    """What a near-duplicate crosses: class, split, or both as "class, split"."""
    rank: int = 0
    """Where it comes among those of its kind; the path decides among equal ones."""


# --- finding ------------------------------------------------------------------------------------------


def find_problems(
    images: list[DatasetImage],
    near: list[tuple[int, int, int]],
    scenes: list[tuple[int, int]] = [],  # noqa: B006 (never changed)
) -> list[Finding]:
    """All findings, sorted by kind and path.

    near: what `near_pairs` returns for these images. scenes: what `scene_pairs` returns for them.

    If one image is in two classes, no copy is trusted. If an image, or a group, is in two splits, the
    copy in the earlier split is the finding.
    """
    # each image by itself
    findings = []
    same_pixels: dict[str, list[DatasetImage]] = defaultdict(list)
    groups: dict[str, list[DatasetImage]] = defaultdict(list)
    for image in images:
        if not image.class_name:
            findings.append(stray(image))
            continue
        if image.problem:
            findings.append(Finding(image, "unreadable", image.problem, True))
        if image.doubt:
            findings.append(Finding(image, "suspicious", image.doubt, False))
        if image.pixels:
            same_pixels[image.pixels].append(image)
        if image.group:
            groups[image.group].append(image)

    # images that belong together
    for copies in same_pixels.values():
        if len(copies) > 1:
            findings += exact_duplicates(copies)
    for group, members in groups.items():
        findings += leaks(members, f"an image of its group {group!r}")
    findings += near_duplicate_findings(images, near)
    findings += shared_scene_findings(images, scenes)

    return sorted(findings, key=by_kind)


def stray(image: DatasetImage) -> Finding:
    where = "lies above the class folders"
    if image.problem:
        return Finding(image, "no image", f"{image.problem}, and {where}", False)
    return Finding(image, "stray", f"{where} (dataset.class_level): move it into one or away", True)


def exact_duplicates(copies: list[DatasetImage]) -> list[Finding]:
    classes = sorted({image.class_name for image in copies})
    if len(classes) > 1:
        reason = f"the same image is in the classes {', '.join(map(repr, classes))}"
        return [Finding(image, "label conflict", reason, True) for image in copies]
    findings = leaks(copies, "the same image")
    leaking = {finding.image.file for finding in findings}
    kept, *others = [image for image in copies if image.file not in leaking]
    reason = f"the same image as {kept.path}"
    return findings + [Finding(image, "duplicate", reason, False) for image in others]


def leaks(images: list[DatasetImage], shared: str) -> list[Finding]:
    """The images that are in an earlier split than the last one, where all should be in one split."""
    last = max(images, key=split_order)
    reason = f"{shared} is in {last.split}: {last.path}"
    return [
        Finding(image, "leak", reason, True)
        for image in images
        if split_order(image) < split_order(last)
    ]


def split_order(image: DatasetImage) -> int:
    return SPLITS.index(image.split or "train")


def near_duplicate_findings(
    images: list[DatasetImage], near: list[tuple[int, int, int]]
) -> list[Finding]:
    """One finding for each image with near-duplicates.

    It names the near-duplicate that crosses most (class, split), and among those the nearest.
    """
    best: dict[int, tuple[int, int, int]] = {}
    for first, later, bits in near:
        one, other = images[first], images[later]
        crossed = (one.class_name != other.class_name) + (one.split != other.split)
        best[later] = min(best.get(later, (0, 65, 0)), (-crossed, bits, first))
    joined = {index: len(chain) for chain in chains(len(images), near) for index in chain}
    return [
        near_duplicate(images[first], images[later], bits, joined.get(later, 0))
        for later, (_, bits, first) in best.items()
    ]


def near_duplicate(one: DatasetImage, other: DatasetImage, bits: int, joined: int) -> Finding:
    """joined: how many images a chain of near-duplicates joins with this one; 0 if they are few."""
    across = []
    reason = f"{bits} of 64 bits differ from {one.path}"
    if other.class_name != one.class_name:
        across.append("class")
        reason += f", of class {one.class_name!r}"
    if other.split != one.split:
        across.append("split")
        reason += f", in {one.split}"
    if joined:
        reason += f"; so {joined} images are joined"
    return Finding(other, "near-duplicate", reason, False, ", ".join(across))


def shared_scene_findings(images: list[DatasetImage], scenes: list[tuple[int, int]]) -> list[Finding]:
    """The images of an official val or test split whose scene is in train."""
    members: dict[int, list[DatasetImage]] = defaultdict(list)
    for first, later in scenes:
        members[first] = members[first] or [images[first]]
        members[first].append(images[later])
    findings = []
    for scene in members.values():
        trained = [image for image in scene if (image.split or "train") == "train"]
        for image in scene if trained else ():
            if image.split in ("val", "test"):
                reason = f"{image.split} shows the scene of {trained[0].path}, in train"
                findings.append(Finding(image, "shared scene", reason, False, "split"))
    return findings


def label_findings(
    images: list[DatasetImage], of: list[int], class_names: list[str], judged: Judged
) -> list[Finding]:
    """The labels that look wrong, and the images that are unlike their class.

    of: the position in `images` of each image that was judged.
    """
    findings = []
    for rank, at in enumerate(judged.doubtful()):
        image = images[of[at]]
        reason = (
            f"it looks like {class_names[judged.other[at]]!r} ({judged.other_confidence[at]:.2f}), its "
            f"label {image.class_name!r} has {judged.confidence[at]:.2f}"
        )
        findings.append(Finding(image, "doubtful label", reason, False, rank=rank))
    for rank, at in enumerate(judged.odd()):
        reason = (
            f"the second most similar image of its class has a cosine of {judged.similarity[at]:.2f}"
        )
        findings.append(Finding(images[of[at]], "odd image", reason, False, rank=rank))
    return findings


def skipped_findings(skipped: list[Skipped], base: Path) -> list[Finding]:
    """Findings of what was not read at all. base: the folder that paths are reported from."""
    files = [with_path(DatasetImage(one.file, "", None), base) for one in skipped]
    findings = [
        Finding(file, one.kind, one.reason or SKIPPED[one.kind], False)
        for file, one in zip(files, skipped, strict=True)
    ]
    return sorted(findings, key=by_kind)


def by_kind(finding: Finding) -> tuple[int, int, str]:
    return list(EXPLAINED).index(finding.kind), finding.rank, finding.image.path


def chain_note(images: list[DatasetImage], near: list[tuple[int, int, int]]) -> str:
    """A sentence on many images that are joined, though few may be alike; empty if there are none."""
    found = chains(len(images), near)
    if not found:
        return ""
    classes = sorted({images[index].class_name for index in found[0]})
    return (
        f"near-duplicates of near-duplicates join {len(found)} sets of {CHAIN} images or more, and each "
        f"stays in one split; the largest has {len(found[0])}, of {first_ten(classes)}, such as "
        f"{images[found[0][0]].path}. Frames of a film belong together. If they are only drawn alike, "
        "set dataset.near_duplicates to 1 or 0"
    )


# --- reporting ----------------------------------------------------------------------------------------


def excluded_files(findings: list[Finding]) -> set[Path]:
    return {finding.image.file for finding in findings if finding.excluded}


def refuse(num_images: int, findings: list[Finding]) -> None:
    """Raise ValueError when images cannot be used."""
    excluded = excluded_files(findings)
    if excluded:
        raise ValueError(
            f"{len(excluded)} of {num_images} images cannot be used.\n"
            f"{summary([finding for finding in findings if finding.excluded])}\n"
            "Repair or remove them, or set dataset.on_error to exclude. "
            "data/dataset/findings.csv lists them all."
        )


def summary(findings: list[Finding]) -> str:
    """The first ten of each kind, and how many there are."""
    lines = []
    for kind, explained in EXPLAINED.items():
        some = [f for f in findings if f.kind == kind]
        if some:
            lines.append(f"{len(some)} {explained}:")
            lines += [shown(f"  {f.image.path}: {f.reason}") for f in some[:SHOWN]]
        if len(some) > SHOWN:
            lines.append(f"  ... and {len(some) - SHOWN} more")
    return "\n".join(lines)


def write_findings(path: Path, findings: list[Finding]) -> None:
    rows = ((f.image.path, f.kind, f.reason, int(f.excluded)) for f in findings)
    write_csv(path, ["path", "finding", "reason", "excluded"], rows)
