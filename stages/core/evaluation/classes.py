"""How well each class is found: precision, recall and F1."""

from dataclasses import dataclass

import numpy as np

from stages.core.evaluation.intervals import bootstrap, wilson

COLUMNS = [
    "class",
    "support",
    "predicted",
    *(f"{name}{bound}" for name in ("precision", "recall", "f1") for bound in ("", "_low", "_high")),
]


@dataclass(frozen=True)
class ClassScores:
    """Of each class; (C,) each, shares in [0, 1], NaN where there is no image to judge by."""

    support: np.ndarray
    """Images that show the class."""
    predicted: np.ndarray
    """Images that were taken for it."""
    hits: np.ndarray
    """Images of it that were."""
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray

    @property
    def macro_f1(self) -> float:
        """The mean F1 of the classes that the images show."""
        return float(np.mean(self.f1[self.support > 0]))


def class_scores(labels: np.ndarray, predicted: np.ndarray, num_classes: int) -> ClassScores:
    """labels, predicted: (N,) numbers of classes."""
    support = np.bincount(labels, minlength=num_classes)
    taken = np.bincount(predicted, minlength=num_classes)
    hits = np.bincount(labels[labels == predicted], minlength=num_classes)
    with np.errstate(invalid="ignore"):
        shares = hits / taken, hits / support, 2 * hits / (support + taken)
    return ClassScores(support, taken, hits, *shares)


def class_rows(labels: np.ndarray, predicted: np.ndarray, classes: list[str]) -> list[list]:
    """A row for each class, in the order of `classes`: COLUMNS, in percent; an empty cell for NaN."""
    found = class_scores(labels, predicted, len(classes))
    f1 = bootstrap(
        lambda images: class_scores(labels[images], predicted[images], len(classes)).f1, len(labels)
    )
    shares = [
        *(found.precision, *wilson(found.hits, found.predicted)),
        *(found.recall, *wilson(found.hits, found.support)),
        *(found.f1, *f1),
    ]
    cells = [["" if np.isnan(share) else f"{100 * share:.2f}" for share in column] for column in shares]
    return [
        [name, int(support), int(taken), *row]
        for name, support, taken, *row in zip(
            classes, found.support, found.predicted, *cells, strict=True
        )
    ]
