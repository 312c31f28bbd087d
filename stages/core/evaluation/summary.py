"""The numbers of a split, with their intervals: what `dvc metrics` shows and compares."""

import numpy as np

from stages.core.evaluation.calibration import brier, ece
from stages.core.evaluation.classes import class_scores
from stages.core.evaluation.collector import Scored
from stages.core.evaluation.intervals import bootstrap, wilson


def summary(split: str, scored: Scored, accuracies: dict[str, float], loss: float) -> dict:
    """Accuracies, macro F1, ECE and their 95 % intervals (_low, _high) in percent; loss in nats; Brier.

    accuracies: of MMPretrain's test loop, such as {"top1": 95.27}, in percent. largest_class is the
    top-1 of an answer that is always the class with the most images.
    """
    num_images, num_classes = scored.scores.shape
    results = {"split": split, "num_images": num_images}
    for name, accuracy in accuracies.items():
        bounds = wilson(round(accuracy * num_images / 100), num_images)
        results |= with_bounds(name, accuracy, 100 * np.array(bounds))

    def macro_f1(images: np.ndarray | slice) -> float:
        found = class_scores(scored.labels[images], scored.predicted[images], num_classes)
        return 100 * found.macro_f1

    def error(images: np.ndarray | slice) -> float:
        return 100 * ece(scored.confidence[images], scored.correct[images])

    largest = np.bincount(scored.labels).max() / num_images
    return (
        results
        | with_bounds("macro_f1", macro_f1(slice(None)), bootstrap(macro_f1, num_images))
        | {"loss": round(loss, 6), "brier": round(brier(scored.scores, scored.labels), 6)}
        | with_bounds("ece", error(slice(None)), bootstrap(error, num_images))
        | {"largest_class": round(100 * float(largest), 4)}
    )


def with_bounds(name: str, value: float, bounds: np.ndarray) -> dict[str, float]:
    low, high = map(float, bounds)
    return {name: round(value, 4), f"{name}_low": round(low, 2), f"{name}_high": round(high, 2)}
