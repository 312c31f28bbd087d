"""Whether scores mean what they say: of the images with a score of 0.8, four in five should be right."""

import numpy as np

from stages.core.evaluation.intervals import wilson

BINS = 15
"""Of equal width, as Guo et al. 2017 use them."""
POINTS = 100
"""Of the coverage curve, at most."""


def brier(scores: np.ndarray, labels: np.ndarray) -> float:
    """The mean squared distance of the scores from the truth, 0 to 2; Brier 1950.

    scores: (N, C). labels: (N,).
    """
    apart = scores.copy()
    apart[np.arange(len(labels)), labels] -= 1
    return float(np.mean(np.sum(apart**2, axis=1)))


def bins_of(confidence: np.ndarray) -> np.ndarray:
    """(N,) in [0, 1] -> the number of each one's bin; a bin has its upper end."""
    return np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)


def ece(confidence: np.ndarray, correct: np.ndarray) -> float:
    """Expected calibration error in [0, 1]: how far confidence and accuracy of a bin are apart.

    confidence, correct: (N,). Guo et al. 2017, https://arxiv.org/abs/1706.04599.
    """
    apart = np.bincount(bins_of(confidence), weights=confidence - correct, minlength=BINS)
    return float(np.sum(np.abs(apart)) / len(confidence))


def reliability_rows(confidence: np.ndarray, correct: np.ndarray) -> list[list]:
    """A row for each of 15 groups of like score: its mean, accuracy and its bounds (percent), images.

    The groups are equally large, so that none is empty and each accuracy is about as sure.
    """
    rows = []
    for group in np.array_split(np.argsort(confidence, kind="stable"), min(BINS, len(confidence))):
        hits, of = int(correct[group].sum()), len(group)
        shares = [confidence[group].mean(), hits / of, *wilson(hits, of)]
        rows.append([*(f"{100 * float(share):.2f}" for share in shares), of])
    return rows


def coverage_rows(confidence: np.ndarray, correct: np.ndarray) -> list[list]:
    """If images below a threshold are not answered: threshold, coverage, accuracy, its bounds.

    The threshold is a score in [0, 1], the rest is in percent. The most confident images come first.
    """
    order = np.argsort(-confidence, kind="stable")
    hits = np.cumsum(correct[order])
    rows = []
    for of in np.unique(np.ceil(np.linspace(0, len(order), POINTS + 1)[1:]).astype(int)):
        right = int(hits[of - 1])
        shares = [of / len(order), right / of, *wilson(right, int(of))]
        rows.append(
            [f"{confidence[order[of - 1]]:.6f}", *(f"{100 * float(share):.2f}" for share in shares)]
        )
    return rows
