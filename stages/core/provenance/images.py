"""Which test images two revisions answer differently, and whether that can be chance."""

from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML

from stages.core.inference.predictions import UNREADABLE, Prediction, predictions_of
from stages.core.layout import PATHS
from stages.core.provenance.git import git_bytes, prefix_of
from stages.core.provenance.lock_diff import hashes
from stages.core.provenance.markdown import cell, table
from stages.core.provenance.rerun import committed_content

CHANCE = 0.05
"""Below this p-value, a difference is hardly chance."""


@dataclass(frozen=True)
class Answers:
    """An image that both revisions scored, with the same label."""

    before: Prediction
    after: Prediction

    @property
    def change(self) -> str:
        if self.before.correct == self.after.correct:
            return ""
        return "fixed" if self.after.correct else "broken"


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

    # what changed, as a table and a verdict
    scored = {row.path: row for row in old}
    common = [
        Answers(scored[row.path], row)
        for row in new
        if row.path in scored and row.label == scored[row.path].label
    ]
    rows = [
        [
            answers.after.path,
            answers.after.label,
            answers.before.prediction,
            answers.after.prediction,
            change,
        ]
        for change in ("broken", "fixed")
        for answers in common
        if answers.change == change
    ]
    changes = [answers.change for answers in common]
    text = (
        f"### Test images\n\n{verdict(len(common), changes.count('fixed'), changes.count('broken'))}\n"
    )
    return text + ("\n" + table(["image", "label", cell(base), "now", ""], rows) if rows else "")


def verdict(scored: int, fixed: int, broken: int) -> str:
    """A sentence on the numbers of images; scored: by both revisions."""
    counts = f"Of {scored:,} images that both scored, {fixed:,} are fixed and {broken:,} are broken."
    if not fixed + broken:
        return counts
    p = mcnemar(fixed, broken)
    verdict = "is hardly chance" if p < CHANCE else "can be chance"
    return f"{counts} This {verdict} (McNemar's exact test: p = {p:.2g})."


def mcnemar(fixed: int, broken: int) -> float:
    """How likely so uneven a count is if both revisions are equally good; two-sided, exact.

    McNemar 1947, https://doi.org/10.1007/BF02295996.
    """
    from scipy.stats import binomtest  # takes a second to import, and is needed only if images changed

    return float(binomtest(fixed, fixed + broken).pvalue)


def predictions_hash(root: Path, commit: str) -> str:
    """Of the predictions in the commit's dvc.lock, or in that of the work tree; empty if it has none."""
    try:
        name = f"{commit}:{prefix_of(root)}dvc.lock"
        text = git_bytes(root, "cat-file", "blob", name) if commit else (root / "dvc.lock").read_bytes()
        lock = YAML(typ="safe").load(text)["stages"]
    except (RuntimeError, OSError, KeyError, TypeError):
        return ""
    made = {path: md5 for stage in lock for path, md5 in hashes(lock, stage, "outs").items()}
    return made.get(PATHS["predictions"], "")
