"""Print the classes and scores of images, or of a folder.

    python -m stages predict photo.jpg
    python -m stages predict photos/ --format csv --output predictions.csv

Each batch is printed once it is scored; a file of --output is there once all are. Exit code 1 when an
image could not be read; the others are still predicted.
"""

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from tqdm import tqdm

from stages.core.dataset.folders import walk
from stages.core.files import csv_row, whole_file
from stages.core.inference.classifier import load_classifier
from stages.core.inference.inputs import ImageReader
from stages.core.inference.predictions import Prediction, ranked_cells, ranked_columns
from stages.core.layout import Layout
from stages.core.machine.device import use_device
from stages.core.machine.placement import open_config
from stages.core.names import json_text, shown
from stages.core.params import load_params

MAX_BATCH = 1024


def main(
    paths: list[str],
    problems: list[str],
    top: int = 5,
    kind: str = "table",
    batch_size: int = 32,
    root: Path = Path(),
) -> Iterator[str]:
    """The formatted predictions, piece by piece, in the order of the paths.

    problems: takes what could not be read. kind: table, csv or json. Raises FileNotFoundError for a path
    that does not exist.
    """
    files = find_files(paths)
    layout = Layout(root)
    runtime = load_params(layout.params).runtime
    device = use_device(runtime.device)
    cfg = open_config(
        layout.rendered_config, root, runtime.replace(store_gb=0.0), device, training=False
    )
    model, classes = load_classifier(cfg, layout.checkpoint, device)
    top = min(top, len(classes))
    width = max(len(shown(str(file))) for file in files)

    reader = ImageReader(cfg, model)
    predictions = predict(reader, classes, files, batch_size, top, problems)
    yield from FORMATS[kind](predictions, top, width)


def find_files(paths: list[str]) -> list[Path]:
    files = []
    for name in paths:
        path = Path(name)
        if not name:  # which Path takes for the current folder
            raise FileNotFoundError("a path is empty; expected an image or a folder of them.")
        if path.is_dir():
            files += walk(path)[0].all_files()
        elif path.exists():
            files.append(path)
        else:
            found = "is a broken link" if path.is_symlink() else "does not exist"
            raise FileNotFoundError(f"{path} {found}; expected an image or a folder of them.")
    if not files:
        raise FileNotFoundError(f"{', '.join(paths)} holds no file; expected images.")
    return files


def predict(
    reader: ImageReader,
    classes: list[str],
    files: list[Path],
    batch_size: int,
    top: int,
    problems: list[str],
) -> Iterator[Prediction]:
    bar = tqdm(total=len(files), desc="predicting", unit="image", disable=not sys.stderr.isatty())
    for start in range(0, len(files), batch_size):
        # read
        samples, read = [], []
        for file in files[start : start + batch_size]:
            try:
                samples.append(reader.read(file))
                read.append(file)
            except ValueError as error:
                problems.append(str(error))
            except (OSError, MemoryError) as error:
                reason = getattr(error, "strerror", None) or "it does not fit into memory"
                problems.append(f"{file} cannot be read: {reason}.")
        # score
        if samples:
            with torch.no_grad():
                scored = reader.model.predict(reader.batch(samples)[1])
            for file, sample in zip(read, scored, strict=True):
                yield Prediction.from_scores(str(file), classes, sample.pred_score.tolist(), top=top)
        bar.update(min(batch_size, len(files) - start))
    bar.close()


def as_table(predictions: Iterable[Prediction], top: int, width: int) -> Iterator[str]:
    for row in predictions:
        ranked = zip(row.classes, row.scores, strict=True)
        scores = [f"{shown(name)} {score:.3f}" for name, score in ranked]
        yield "  ".join([f"{shown(row.path):<{width}}", *scores]) + "\n"


def as_csv(predictions: Iterable[Prediction], top: int, width: int) -> Iterator[str]:
    yield csv_row(["path", *ranked_columns(top)])
    for row in predictions:
        yield csv_row([row.path, *ranked_cells(row)])


def as_json(predictions: Iterable[Prediction], top: int, width: int) -> Iterator[str]:
    start = "["
    for row in predictions:
        scores = zip(row.classes, row.scores, strict=True)
        ranked = [{"name": name, "score": round(score, 6)} for name, score in scores]
        item = json_text([{"path": row.path, "classes": ranked}])
        yield start + item.removeprefix("[").removesuffix("\n]\n")
        start = ","
    yield "[]\n" if start == "[" else "\n]\n"


FORMATS = {"table": as_table, "csv": as_csv, "json": as_json}


@contextmanager
def opened(output: Path | None) -> Iterator[Callable[[str], None]]:
    """A function that writes a piece of text to the file, or to the terminal for None or `-`."""
    if output is None or str(output) == "-":
        sys.stdout.reconfigure(encoding="utf-8")  # names in any script, whatever the locale says
        yield lambda text: print(text, end="", flush=True)
        return
    with whole_file(output) as file:
        yield lambda text: file.write(text.encode("utf-8"))


def whole_number(most: int) -> Callable[[str], int]:
    """A type for argparse, which prints the message."""

    def checked(text: str) -> int:
        if not (re.fullmatch("[0-9]{1,9}", text) and 0 < int(text) <= most):
            raise argparse.ArgumentTypeError(f"{text!r}; expected a whole number from 1 to {most:,}")
        return int(text)

    return checked


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="+", metavar="PATH", help="an image, or a folder of them")
    parser.add_argument("--top", type=whole_number(10**6), default=5, help="classes an image")
    parser.add_argument("--format", choices=FORMATS, default="table")
    parser.add_argument("--output", type=Path, help="a file to write instead of the terminal")
    parser.add_argument("--batch-size", type=whole_number(MAX_BATCH), default=32)
    arguments = parser.parse_args()
    unreadable: list[str] = []
    with opened(arguments.output) as write:
        for piece in main(
            arguments.paths, unreadable, arguments.top, arguments.format, arguments.batch_size
        ):
            write(piece)
    if unreadable:
        sys.exit("\n".join(f"error: {shown(problem)}" for problem in unreadable))
