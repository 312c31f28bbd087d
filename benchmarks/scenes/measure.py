"""Which rule tells scenes apart: what a probe scores on a split that keeps them together.

    python benchmarks/scenes/measure.py PHOTOS

PHOTOS holds a folder of photos for each class. For each rule, the photos are split five times, in other
hash orders, as prepare-dataset splits them. A linear probe is fitted to the training photos' features.
Prints the rows of results.md: scenes, the largest one, the share of val (mean and standard deviation
over the classes), val top-1 (mean, least and most), and how many photos of 1,000 move to another split
when 100 are added (four draws).
"""

import os
import random
import statistics
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

os.chdir(Path(__file__).resolve().parents[2])
sys.path.insert(0, os.getcwd())

import numpy as np  # noqa: E402
from scipy.cluster.hierarchy import fcluster, linkage  # noqa: E402
from scipy.spatial.distance import squareform  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from tqdm import tqdm  # noqa: E402

from stages.core.dataset.checks import check_image  # noqa: E402
from stages.core.dataset.splits import even_out, split_by_content, splitting  # noqa: E402
from stages.core.layout import Layout  # noqa: E402
from stages.core.params import load_params  # noqa: E402
from stages.core.scenes.features import scene_features  # noqa: E402
from stages.core.scenes.grouping import direction, rounded, scene_pairs  # noqa: E402
from stages.core.scenes.grouping import leaders as leaders_of  # noqa: E402

DATASET = load_params(Layout().params).dataset.replace(val_fraction=0.2, test_fraction=0.2, fold="")
ASKED = {"test": 0.2, "val": 0.2}
ORDERS = 5


def main(photos: Path) -> None:
    # the photos, with equal ones once
    files: dict[str, Path] = {}
    for path in tqdm(sorted(photos.glob("*/*")), "checking", disable=not sys.stderr.isatty()):
        files.setdefault(check_image(path).sha256, path)
    hashes = sorted(files)
    classes = np.array([files[sha256].parent.name for sha256 in hashes])
    with tempfile.TemporaryDirectory() as folder:
        found = dict(scene_features(files, os.cpu_count() or 1, Path(folder)))
    features = np.stack([found[sha256] for sha256 in hashes])

    # each rule
    for name, rule in RULES.items():
        keys = rule(classes, hashes, features)
        scenes = Counter(keys)
        shares, scores = [], []
        for order in range(ORDERS):
            splits = split(classes, [f"{order}{key}" if order else key for key in keys])
            scores.append(probe(features, classes, splits))
            shares += [(splits[classes == name] == "val").mean() for name in set(classes)]
        row = [name, f"{len(scenes):,}", str(max(scenes.values()))]
        row += [f"{statistics.mean(shares):.2f} +- {statistics.pstdev(shares):.2f}"]
        row += [f"{statistics.mean(scores):.1f} ({min(scores):.1f} to {max(scores):.1f})"]
        row += [f"{statistics.mean(moves(classes, hashes, features, rule)):.0f}"]
        print("|", " | ".join(row), "|", flush=True)


def split(classes: np.ndarray, keys: list[str]) -> np.ndarray:
    """The split of each photo, as prepare-dataset has it with scenes."""
    of_class: dict[str, Counter[str]] = defaultdict(Counter)
    for name, key in zip(classes, keys, strict=True):
        of_class[name][key] += 1
    wanted = {"train", *ASKED}
    by_hash = splitting(DATASET, wanted)
    split_of = {key: by_hash(key) for key in set(keys)}
    even_out(split_of, of_class, ASKED)
    few = {name for name, own in of_class.items() if len(own) < len(wanted)}
    kept = {name: own for name, own in of_class.items() if name not in few}
    split_of |= split_by_content(kept, wanted, split_of.__getitem__)
    return np.array([split_of[key] for key in keys])


def probe(features: np.ndarray, classes: np.ndarray, splits: np.ndarray) -> float:
    """Val top-1 in percent, of a logistic regression on the training photos."""
    trained = features[splits == "train"].astype(np.float32)
    mean, std = trained.mean(0), trained.std(0) + 1e-6
    model = LogisticRegression(C=0.01, max_iter=60).fit(
        (trained - mean) / std, classes[splits == "train"]
    )
    val = (features[splits == "val"].astype(np.float32) - mean) / std
    return 100 * float((model.predict(val) == classes[splits == "val"]).mean())


def moves(classes: np.ndarray, hashes: list[str], features: np.ndarray, rule: Callable) -> list[int]:
    """How many of 1,000 photos of whole classes move when 100 of these classes are added."""
    draws = []
    for seed in range(4):
        draw = random.Random(seed)
        names = draw.sample(sorted(set(classes)), len(set(classes)))
        some = [i for name in names for i in np.flatnonzero(classes == name)][:1100]
        added = set(draw.sample(some, 100))
        both = []
        for chosen in (sorted(set(some) - added), sorted(some)):
            keys = rule(classes[chosen], [hashes[i] for i in chosen], features[chosen])
            both.append(dict(zip(chosen, split(classes[chosen], keys), strict=True)))
        draws.append(sum(both[1][photo] != where for photo, where in both[0].items()))
    return draws


# --- rules: the key of each photo's scene -------------------------------------------------------------


def content(classes, hashes, features) -> list[str]:
    return list(hashes)


def joined_leaders(cosine: float) -> Callable:
    """As prepare-dataset has it."""

    def rule(classes, hashes, features) -> list[str]:
        keys = list(hashes)
        for first, image in scene_pairs(list(classes), list(hashes), features, cosine):
            keys[image] = hashes[first]
        return keys

    return rule


def leaders(cosine: float) -> Callable:
    """Leaders alone: neighbours may be in groups of different leaders."""

    def rule(classes, hashes, features) -> list[str]:
        mean = sum(rounded(row) for row in features) / len(features)
        keys = list(hashes)
        for name in set(classes):
            members = [i for i in np.argsort(hashes) if classes[i] == name]
            directions = np.stack([direction(features[i], mean) for i in members])
            for image, leader in zip(members, leaders_of(directions, cosine), strict=True):
                keys[image] = hashes[members[leader]]
        return keys

    return rule


def linked(method: str, cosine: float) -> Callable:
    def rule(classes, hashes, features) -> list[str]:
        centred = features.astype(np.float32) - features.astype(np.float32).mean(0)
        centred /= np.linalg.norm(centred, axis=1, keepdims=True)
        keys = list(hashes)
        for name in set(classes):
            members = np.flatnonzero(classes == name)
            if len(members) < 2:
                continue
            distances = np.maximum(1 - centred[members] @ centred[members].T, 0)
            np.fill_diagonal(distances, 0)
            tree = linkage(squareform(distances, checks=False), method)
            first: dict[int, str] = {}
            for member, scene in zip(members, fcluster(tree, 1 - cosine, "distance"), strict=True):
                keys[member] = first.setdefault(scene, hashes[member])
        return keys

    return rule


RULES = {
    "content alone": content,
    "single linkage, 0.7": linked("single", 0.7),
    "average linkage, 0.7": linked("average", 0.7),
    "average linkage, 0.65": linked("average", 0.65),
    "average linkage, 0.6": linked("average", 0.6),
    "complete linkage, 0.6": linked("complete", 0.6),
    "leaders, 0.67": leaders(0.67),
    "leaders, 0.6": leaders(0.6),
    "joined leaders, 0.7": joined_leaders(0.7),
    "joined leaders, 0.67": joined_leaders(0.67),
    "joined leaders, 0.64 (as it is)": joined_leaders(0.64),
    "joined leaders, 0.6": joined_leaders(0.6),
}

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]).resolve())
