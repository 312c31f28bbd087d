"""How many wrong labels are found: labels are flipped at random, and the probe looks for them.

    python benchmarks/labels/measure.py data/sample [PHOTOS [NAMES]]

PHOTOS holds a folder of photos for each class; NAMES is a file with the classes to take, one a line. Of
each folder, 5 % of the labels are flipped to another class, five times. Prints the rows of results.md:
of the first k images by the probability of their label, the share that is wrong (k wrong ones there
are); of all wrong ones, the share among the first 2k; what was flagged, how much of it is wrong, how
much of the wrong is flagged; what is flagged with no label flipped; seconds beyond the features.
"""

import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.chdir(Path(__file__).resolve().parents[2])
sys.path.insert(0, os.getcwd())

import numpy as np  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from tqdm import tqdm  # noqa: E402

from stages.core.dataset.checks import check_image  # noqa: E402
from stages.core.scenes.features import scene_features  # noqa: E402
from stages.core.scenes.grouping import scene_pairs  # noqa: E402
from stages.core.scenes.labels import FOLDS, SCENES, Judged, assign_folds, judge  # noqa: E402

DRAWS = 5
FLIPPED = 0.05


def main(folder: Path, cosine: float, only: set[str]) -> None:
    # the photos, with equal ones once
    files: dict[str, Path] = {}
    for path in tqdm(sorted(folder.glob("*/*")), "checking", disable=not sys.stderr.isatty()):
        if not only or path.parent.name in only:
            files.setdefault(check_image(path).sha256, path)
    hashes = sorted(files)
    names = sorted({files[sha256].parent.name for sha256 in hashes})
    right = [names.index(files[sha256].parent.name) for sha256 in hashes]
    with tempfile.TemporaryDirectory() as kept:
        found = dict(scene_features(files, os.cpu_count() or 1, Path(kept)))
    features = np.stack([found[sha256] for sha256 in hashes])

    # each rule
    for name, rule in RULES.items():
        draws = [
            measure(right, flipped(right, draw), hashes, features, cosine, rule) for draw in range(DRAWS)
        ]
        clean = measure(right, right, hashes, features, cosine, rule)
        first, second, flagged, precision, recall, seconds = zip(*draws, strict=True)
        row = [folder.name + (f", {len(names)} classes" if only else ""), name]
        row += [
            f"{statistics.mean(first):.0f} ({min(first):.0f})",
            f"{statistics.mean(second):.0f} ({min(second):.0f})",
        ]
        row += [
            f"{statistics.mean(flagged):.0f}",
            f"{statistics.mean(precision):.0f}",
            f"{statistics.mean(recall):.0f}",
        ]
        row += [f"{clean[2]} of {len(hashes):,}", f"{statistics.median(seconds):.1f}"]
        print("|", " | ".join(row), "|", flush=True)


def flipped(right: list[int], draw: int) -> list[int]:
    choose = random.Random(draw)
    labels = list(right)
    for at in choose.sample(range(len(right)), round(FLIPPED * len(right))):
        labels[at] = choose.choice([label for label in set(right) if label != right[at]])
    return labels


def measure(
    right: list[int],
    labels: list[int],
    hashes: list[str],
    features: np.ndarray,
    cosine: float,
    rule: Callable[[list[int], list[str], np.ndarray], tuple[np.ndarray, list[int]]],
) -> tuple[float, float, int, float, float, float]:
    # scenes are those of the labels as they are
    keys = list(hashes)
    if cosine:
        for leader, image in scene_pairs([str(label) for label in labels], hashes, features, cosine):
            keys[image] = keys[leader]
    start = time.perf_counter()
    confidence, flags = rule(labels, keys, features)
    seconds = time.perf_counter() - start

    wrong = np.array(labels) != np.array(right)
    k = max(int(wrong.sum()), 1)
    order = np.argsort(confidence, kind="stable")  # NaN is last
    hits = int(wrong[flags].sum())
    return (
        100 * wrong[order[:k]].mean(),
        100 * wrong[order[: 2 * k]].sum() / k,
        len(flags),
        100 * hits / max(len(flags), 1),
        100 * hits / k,
        seconds,
    )


def ours(labels: list[int], keys: list[str], features: np.ndarray) -> tuple[np.ndarray, list[int]]:
    judged: Judged = judge(labels, keys, features)
    return judged.confidence, judged.doubtful()


def logistic(labels: list[int], keys: list[str], features: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Logistic regression in the same folds, with cleanlab's threshold: a class's mean confidence."""
    own, folds = np.array(labels), assign_folds(labels, keys)
    values = features.astype(np.float64)
    values = (values - values.mean(0)) / np.sqrt(values.var(0).mean())
    chances = np.zeros((len(own), own.max() + 1))
    for fold in range(FOLDS):
        fitted = folds != fold
        probe = LogisticRegression(C=100 / fitted.sum(), max_iter=200).fit(values[fitted], own[fitted])
        chances[np.ix_(~fitted, probe.classes_)] = probe.predict_proba(values[~fitted])
    confidence = chances[np.arange(len(own)), own]
    usual = np.array([confidence[own == label].mean() for label in range(own.max() + 1)])
    clear = np.where(chances >= usual, chances, -1)
    return confidence, np.flatnonzero((clear.max(1) > 0) & (clear.argmax(1) != own)).tolist()


RULES = {"ridge, 20 times as probable (as it is)": ours, "logistic, cleanlab's threshold": logistic}


if __name__ == "__main__":
    arguments = sys.argv[1:]
    main(Path(arguments[0]), 0.0, set())
    if arguments[1:]:
        taken = Path(arguments[2]).read_text().split("\n") if arguments[2:] else []
        main(Path(arguments[1]), SCENES, set(taken) - {""})
