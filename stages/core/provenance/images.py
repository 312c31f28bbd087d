"""Which test images two revisions answer differently, and whether that can be chance."""

from pathlib import Path

from stages.core.inference.predictions import UNREADABLE, predictions_of
from stages.core.layout import PATHS
from stages.core.provenance.lock_diff import hashes, lock_of
from stages.core.provenance.markdown import cell, table
from stages.core.provenance.rerun import committed_content, committed_file

CHANCE = 0.05
"""Below this p-value, a difference is hardly chance."""


def images_section(root: Path, commit: str, base: str) -> str:
    """The test images that are fixed or broken since `commit`, with McNemar's test.

    Empty if the predictions are the same, or if one revision has none. A sentence if they are nowhere.
    """
    # the predictions of both
    path = PATHS["predictions"]
    before, after = predictions_hash(root, commit), predictions_hash(root, "")
    if not before or not after or before == after:
        return ""
    here = root / path
    contents = [
        committed_content(root, commit, path, before),
        here.read_bytes() if here.exists() else committed_content(root, "HEAD", path, after),
    ]
    if None in contents:
        return (
            f"The test images are not compared one by one: neither the cache nor a remote has "
            f"{path} of {cell(base) if contents[0] is None else 'now'}.\n"
        )
    try:
        old, new = (predictions_of(content.decode("utf-8")) for content in contents)
    except UNREADABLE:
        return f"The test images are not compared one by one: {path} cannot be read.\n"

    # the images that both scored with one label
    scored = {(row.path, row.label): row for row in old}
    pairs = [(scored[row.path, row.label], row) for row in new if (row.path, row.label) in scored]
    broken = [(was, now) for was, now in pairs if was.correct and not now.correct]
    fixed = [(was, now) for was, now in pairs if now.correct and not was.correct]

    # a verdict and a table
    rows = [
        [now.path, now.label, was.prediction, now.prediction, change]
        for change, images in (("broken", broken), ("fixed", fixed))
        for was, now in images
    ]
    text = f"### Test images\n\n{verdict(len(pairs), len(fixed), len(broken))}\n"
    return text + ("\n" + table(["image", "label", cell(base), "now", ""], rows) if rows else "")


def verdict(scored: int, fixed: int, broken: int) -> str:
    """A sentence on the numbers of images; scored: by both revisions."""
    counts = f"Of {scored:,} images that both scored, {fixed:,} are fixed and {broken:,} are broken."
    if not fixed + broken:
        return counts
    p = mcnemar(fixed, broken)
    word = "is hardly" if p < CHANCE else "can be"
    return f"{counts} This {word} chance (McNemar's exact test: p = {p:.2g})."


def mcnemar(fixed: int, broken: int) -> float:
    """How likely so uneven a count is if both revisions are equally good; two-sided, exact.

    McNemar 1947, https://doi.org/10.1007/BF02295996.
    """
    from scipy.stats import binomtest  # takes a second to import, and is needed only if images changed

    return float(binomtest(fixed, fixed + broken).pvalue)


def predictions_hash(root: Path, commit: str) -> str:
    """Of the predictions in the commit's dvc.lock, or in that of the work tree; empty if it has none."""
    try:
        read = committed_file(root, commit, "dvc.lock") if commit else (root / "dvc.lock").read_bytes()
        lock = lock_of(read)
    except (RuntimeError, OSError, ValueError):
        return ""
    made = {path: md5 for stage in lock for path, md5 in hashes(lock, stage, "outs").items()}
    return made.get(PATHS["predictions"], "")
