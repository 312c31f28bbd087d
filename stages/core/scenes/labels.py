"""Which labels look wrong, which images are unlike their class, and which classes look alike.

A linear probe (ridge regression on the features of `features.py`) is fitted five times, each time
without a fifth of the images, and says what it takes those for. Images of one scene are in one fifth:
they would vouch for each other. benchmarks/labels/results.md compares this with other probes.

All is computed by one thread with pinned instructions, as the features are: the same on any CPU.
"""

import hashlib
import multiprocessing
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np

from stages.core.scenes.features import pin

FOLDS = 5
SCENES = 0.7
"""The least cosine of scenes for judging labels, if that of the splits is lower: with larger scenes, a
label is judged by images that are less like it, and more right labels look wrong."""
PENALTY = 0.3
"""Of the ridge regression, for features of variance 1 on average."""
SHARPNESS = 10.0
"""The probe's outputs, near 0 and 1, times this are the logits of its probabilities."""
DOUBTFUL = 20.0
"""A label is doubtful if another class is this many times as probable."""
ODD = 3.5
"""An image is odd if its similarity is this many standard deviations below the median of all, where
1.48 times the median deviation stands for the standard deviation."""
COMPARED = 1000
"""Images of a class that each of its images is compared with, at most."""
BLOCK = 1024
ALIKE_SHARE, ALIKE_IMAGES = 0.1, 3
"""Two classes look alike if this share of their images, and so many, are taken for the other."""


@dataclass(frozen=True)
class Judged:
    """What the probe says of N images."""

    confidence: np.ndarray
    """(N,) probability of the image's own label; NaN if its class has one scene only."""
    other: np.ndarray
    """(N,) the most probable other class, by its number."""
    other_confidence: np.ndarray
    """(N,) its probability."""
    similarity: np.ndarray
    """(N,) cosine with the second nearest image of its class in other scenes; NaN if there is none."""
    taken_for: np.ndarray
    """(C, C) how many images of a class (row) are taken for a class (column)."""

    def doubtful(self) -> list[int]:
        """The images whose labels look wrong, the least probable label first."""
        wrong = self.other_confidence > DOUBTFUL * self.confidence
        return sorted(np.flatnonzero(wrong).tolist(), key=lambda at: (self.confidence[at].round(9), at))

    def odd(self) -> list[int]:
        """The images that are unlike their class, and like no other; the oddest first."""
        known = self.similarity[~np.isnan(self.similarity)]
        if not len(known):
            return []
        median = np.median(known)
        limit = median - ODD * 1.4826 * np.median(np.abs(known - median))
        odd = np.flatnonzero(self.similarity < limit).tolist()
        doubtful = set(self.doubtful())
        return sorted(
            (at for at in odd if at not in doubtful), key=lambda at: (self.similarity[at].round(9), at)
        )

    def unjudged(self, labels: list[int]) -> list[int]:
        """The classes of one scene, whose labels cannot be judged. labels: (N,), as they were judged."""
        return sorted(
            {label for label, own in zip(labels, self.confidence, strict=True) if np.isnan(own)}
        )

    def alike(self) -> list[tuple[int, int, int, int]]:
        """(class, class, images taken for the other, images of both), the most confused first."""
        number = self.taken_for.sum(1)
        swapped = self.taken_for + self.taken_for.T
        pairs = [
            (one, other, int(swapped[one, other]), int(number[one] + number[other]))
            for one, other in zip(*np.nonzero(np.triu(swapped, 1)), strict=True)
        ]
        clear = [p for p in pairs if p[2] >= max(ALIKE_IMAGES, ALIKE_SHARE * p[3])]
        return sorted(((int(p[0]), int(p[1]), *p[2:]) for p in clear), key=lambda p: (-p[2] / p[3], p))


def judge(labels: list[int], keys: list[str], features: np.ndarray) -> Judged:
    """Judge each label by images of other scenes.

    labels: from 0 to C - 1. keys: images that belong together have the same.
    features: (N, D) float16.
    """
    folds = assign_folds(labels, keys)
    # a process that starts anew, as instructions and threads are chosen before torch first computes
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, initializer=pin) as pool:
        return pool.submit(judge_folds, np.array(labels), folds, features).result()


def assign_folds(labels: list[int], keys: list[str]) -> np.ndarray:
    """A fold for each image: (N,). Those of a class are spread evenly, those of a key not at all."""
    members: dict[str, list[int]] = defaultdict(list)
    for index, key in enumerate(keys):
        members[key].append(index)
    of_class = np.zeros((max(labels) + 1, FOLDS), int)
    of_all = np.zeros(FOLDS, int)
    folds = np.zeros(len(labels), int)

    def largest_first(key: str) -> tuple[int, str]:
        return -len(members[key]), hashlib.sha256(key.encode()).hexdigest()

    for key in sorted(members, key=largest_first):
        label = labels[members[key][0]]
        fold = min(range(FOLDS), key=lambda fold: (of_class[label, fold], of_all[fold], fold))
        folds[members[key]] = fold
        of_all[fold] += len(members[key])
        for index in members[key]:
            of_class[labels[index], fold] += 1
    return folds


def judge_folds(labels: np.ndarray, folds: np.ndarray, features: np.ndarray) -> Judged:
    confidence, other, other_confidence, taken_for = probe(labels, folds, features)
    similarity = similarities(labels, folds, features)
    return Judged(confidence, other, other_confidence, similarity, taken_for)


def probe(
    labels: np.ndarray, folds: np.ndarray, features: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    import torch

    # sums over each fold, of features that are centred and scaled by one number
    count, size = features.shape
    classes = int(labels.max()) + 1
    mean = torch.from_numpy(features.mean(0, dtype=np.float64))
    variance = torch.zeros(size, dtype=torch.float64)
    for start in range(0, count, BLOCK):
        variance += (torch.from_numpy(features[start : start + BLOCK]).double() - mean).square().sum(0)
    scale = (variance.mean() / count).sqrt().clamp(min=1e-6)

    def standardised(rows: np.ndarray) -> torch.Tensor:
        return (torch.from_numpy(features[rows]).double() - mean) / scale

    products = torch.zeros(FOLDS, size, size, dtype=torch.float64)
    of_label = torch.zeros(FOLDS, classes, size, dtype=torch.float64)
    numbers = torch.zeros(FOLDS, classes, dtype=torch.float64)
    members = [np.flatnonzero(folds == fold) for fold in range(FOLDS)]
    for fold, rows in enumerate(members):
        for start in range(0, len(rows), BLOCK):
            block = rows[start : start + BLOCK]
            values, own = standardised(block), torch.from_numpy(labels[block])
            products[fold] += values.T @ values
            of_label[fold].index_add_(0, own, values)
            numbers[fold] += torch.bincount(own, minlength=classes)

    # for each fold, a probe that is fitted to the others
    confidence = np.full(count, np.nan)
    other = np.zeros(count, int)
    other_confidence = np.full(count, np.nan)
    taken_for = np.zeros((classes, classes), int)
    for fold, rows in enumerate(members):
        kept = numbers.sum(0) - numbers[fold]
        share = kept / kept.sum().clamp(min=1)
        gram = products.sum(0) - products[fold]
        gram.diagonal().add_(PENALTY * kept.sum().clamp(min=1))
        sums = of_label.sum(0) - of_label[fold]
        targets = sums - share[:, None] * sums.sum(0)
        weight = torch.cholesky_solve(targets.T.contiguous(), torch.linalg.cholesky(gram))
        for start in range(0, len(rows), BLOCK):
            block = rows[start : start + BLOCK]
            scores = (standardised(block) @ weight + share) * SHARPNESS
            scores[:, kept == 0] = -torch.inf
            chances, own = scores.softmax(1), torch.from_numpy(labels[block])
            judged = (kept[own] > 0).numpy()  # the others' class is in no other fold
            own_chance = chances.gather(1, own[:, None])[:, 0].numpy()
            np.add.at(taken_for, (labels[block][judged], chances.argmax(1).numpy()[judged]), 1)
            likeliest = chances.scatter(1, own[:, None], -1).max(1)
            confidence[block] = np.where(judged, own_chance, np.nan)
            other[block] = likeliest.indices.numpy()
            other_confidence[block] = np.where(judged, likeliest.values.numpy(), np.nan)
    return confidence, other, other_confidence, taken_for


def similarities(labels: np.ndarray, folds: np.ndarray, features: np.ndarray) -> np.ndarray:
    import torch

    mean = torch.from_numpy(features.mean(0, dtype=np.float64))

    def directions(rows: np.ndarray) -> torch.Tensor:
        return torch.nn.functional.normalize(torch.from_numpy(features[rows]).double() - mean)

    similarity = np.full(len(labels), np.nan)
    for label in range(int(labels.max()) + 1):
        rows = np.flatnonzero(labels == label)
        step = -(-len(rows) // COMPARED)
        compared = rows[::step]
        others, other_folds = directions(compared), torch.from_numpy(folds[compared])
        for start in range(0, len(rows), BLOCK):
            block = rows[start : start + BLOCK]
            cosines = directions(block) @ others.T
            cosines[torch.from_numpy(folds[block])[:, None] == other_folds] = -torch.inf
            best = cosines.topk(min(2, len(compared)), dim=1).values
            second = torch.where(best[:, -1].isinf(), best[:, 0], best[:, -1])
            similarity[block] = second.where(~second.isinf(), torch.nan).numpy()
    return similarity


def nearest(features: np.ndarray, rows: list[int], number: int) -> list[list[int]]:
    """For each of some rows, the images with the most similar features, itself left out."""
    centred = features.astype(np.float32)
    centred -= centred.mean(0)
    centred /= np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-6)
    found = []
    for row in rows:
        cosines = centred @ centred[row]
        cosines[row] = -np.inf
        found.append(np.argsort(-cosines, kind="stable")[:number].tolist())
    return found
