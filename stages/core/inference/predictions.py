"""The model's answer for an image, and the CSV with one row per image."""

import csv
import io
import math
from dataclasses import dataclass
from pathlib import Path

from stages.core.files import csv_text, write_text
from stages.core.names import unescape

UNREADABLE = (ValueError, KeyError, TypeError, IndexError, csv.Error)
"""What a text raises that is no such CSV."""
TOP = 5
"""How many classes a row keeps, best first."""


@dataclass(frozen=True)
class Prediction:
    path: str
    label: str
    """Name of the true class; empty when it is not known."""
    classes: list[str]
    """The most likely classes, best first, TOP at most."""
    scores: list[float]
    """Their softmax scores, in [0, 1]."""

    @property
    def prediction(self) -> str:
        return self.classes[0]

    @property
    def score(self) -> float:
        return self.scores[0]

    @property
    def correct(self) -> bool:
        return self.prediction == self.label

    @classmethod
    def from_scores(
        cls,
        path: str,
        classes: list[str],
        scores: list[float],
        label: int | None = None,
        top: int = TOP,
    ) -> "Prediction":
        """scores: one per class, in the order of `classes`. Equal scores keep that order.

        Raises FloatingPointError for scores that are no numbers.
        """
        if not all(map(math.isfinite, scores)):
            raise FloatingPointError(
                f"{path}: the network computes NaN instead of scores, as its weights have diverged. "
                "Lower train.lr in params.yaml, then run `dvc repro`."
            )
        best = sorted(range(len(scores)), key=lambda index: -scores[index])[:top]
        return cls(
            path=path,
            label="" if label is None else classes[label],
            classes=[classes[index] for index in best],
            scores=[scores[index] for index in best],
        )


def write_predictions(path: Path, predictions: list[Prediction]) -> None:
    write_text(path, predictions_text(predictions))


def predictions_text(predictions: list[Prediction]) -> str:
    """Columns: path, label, prediction, correct, then class_k and score_k from 1 on, best first."""
    top = max((len(prediction.classes) for prediction in predictions), default=0)
    header = ["path", "label", "prediction", "correct", *ranked_columns(top)]
    rows = [
        [row.path, row.label, row.prediction, int(row.correct), *ranked_cells(row)]
        for row in predictions
    ]
    return csv_text(header, rows)


def ranked_columns(top: int) -> list[str]:
    return [f"{column}_{k}" for k in range(1, top + 1) for column in ("class", "score")]


def ranked_cells(row: Prediction) -> list[str]:
    pairs = zip(row.classes, row.scores, strict=True)
    return [cell for name, score in pairs for cell in (name, f"{score:.6f}")]


def read_predictions(path: Path) -> list[Prediction]:
    """Raises FileNotFoundError, or ValueError for a file that `write_predictions` has not written."""
    try:
        text = path.read_bytes().decode("utf-8")
        predictions = predictions_of(text)
        finite = all(math.isfinite(score) for row in predictions for score in row.scores)
        as_written = finite and predictions_text(predictions) == text
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} does not exist. Run `dvc repro evaluate`.") from None
    except (*UNREADABLE, IsADirectoryError):
        as_written = False
    if not as_written:
        raise ValueError(f"{path} was cut or edited after evaluate wrote it. Run `dvc repro evaluate`.")
    return predictions


def predictions_of(text: str) -> list[Prediction]:
    """Of the text of such a file. Raises UNREADABLE for another text."""
    rows = csv.DictReader(io.StringIO(text, newline=""))
    top = sum(column.startswith("class_") for column in rows.fieldnames or [])
    return [
        Prediction(
            path=unescape(row["path"]),
            label=unescape(row["label"]),
            classes=[unescape(row[f"class_{k}"]) for k in range(1, top + 1)],
            scores=[float(row[f"score_{k}"]) for k in range(1, top + 1)],
        )
        for row in rows
    ]
