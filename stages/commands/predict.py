"""Print the classes and scores of images, or of a folder.

    python -m stages predict photo.jpg
    python -m stages predict photos/ --format csv --output predictions.csv

Exit code 1 when a file could not be read; the others are still predicted.
"""

import argparse
import signal
import sys
from pathlib import Path

import torch
from tqdm import tqdm

from stages.core.dataset.folders import walk
from stages.core.files import csv_text, write_text
from stages.core.inference.classifier import load_classifier
from stages.core.inference.inputs import ImageReader
from stages.core.layout import Layout
from stages.core.machine.device import use_device
from stages.core.machine.placement import open_config
from stages.core.names import json_text, shown
from stages.core.params import load_params
from stages.core.scoring.predictions import Prediction, ranked_cells, ranked_columns


def main(
    paths: list[str], top: int = 5, kind: str = "table", batch_size: int = 32, root: Path = Path()
) -> tuple[str, list[str]]:
    """The formatted predictions, in the order of the paths, and what could not be read.

    kind: table, csv or json. Raises FileNotFoundError for a path that does not exist.
    """
    layout = Layout(root)
    runtime = load_params(layout.params).runtime
    device = use_device(runtime.device)
    files = find_files(paths)
    cfg = open_config(
        layout.rendered_config, root, runtime.replace(store_gb=0.0), device, training=False
    )
    model, classes = load_classifier(cfg, layout.checkpoint, device)

    reader = ImageReader(cfg, model)
    predictions, problems = [], []
    bar = tqdm(total=len(files), desc="predicting", unit="image", disable=not sys.stderr.isatty())
    for start in range(0, len(files), batch_size):
        batch = files[start : start + batch_size]
        scored, unread = predict(reader, classes, batch, top)
        predictions += scored
        problems += unread
        bar.update(len(batch))
    bar.close()
    return FORMATS[kind](predictions), problems


def find_files(paths: list[str]) -> list[Path]:
    files = []
    for path in map(Path, paths):
        if path.is_dir():
            files += walk(path)[0].all_files()
        elif path.exists():
            files.append(path)
        else:
            raise FileNotFoundError(f"{path} does not exist; expected an image or a folder of them.")
    if not files:
        raise FileNotFoundError(f"{', '.join(paths)} holds no file; expected images.")
    return files


def predict(
    reader: ImageReader, classes: list[str], files: list[Path], top: int
) -> tuple[list[Prediction], list[str]]:
    samples, read, problems = [], [], []
    for file in files:
        try:
            samples.append(reader.read(file))
            read.append(file)
        except (ValueError, OSError) as error:
            problems.append(shown(str(error)))
    if not samples:
        return [], problems
    with torch.no_grad():
        scored = reader.model.predict(reader.batch(samples)[1])
    return [
        Prediction.from_scores(str(file), classes, sample.pred_score.tolist(), top=top)
        for file, sample in zip(read, scored, strict=True)
    ], problems


def as_table(predictions: list[Prediction]) -> str:
    width = max((len(shown(row.path)) for row in predictions), default=0)
    return "".join(
        f"{shown(row.path):<{width}}  "
        + "  ".join(
            f"{shown(name)} {score:.3f}" for name, score in zip(row.classes, row.scores, strict=True)
        )
        + "\n"
        for row in predictions
    )


def as_csv(predictions: list[Prediction]) -> str:
    top = len(predictions[0].classes) if predictions else 0
    rows = [[row.path, *ranked_cells(row)] for row in predictions]
    return csv_text(["path", *ranked_columns(top)], rows)


def as_json(predictions: list[Prediction]) -> str:
    rows = [
        {
            "path": row.path,
            "classes": [
                {"name": name, "score": round(score, 6)}
                for name, score in zip(row.classes, row.scores, strict=True)
            ],
        }
        for row in predictions
    ]
    return json_text(rows)


FORMATS = {"table": as_table, "csv": as_csv, "json": as_json}

if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends it without a traceback
    sys.stdout.reconfigure(encoding="utf-8")  # names in any script, whatever the locale says
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="+", metavar="PATH", help="an image, or a folder of them")
    parser.add_argument("--top", type=int, default=5, help="classes an image")
    parser.add_argument("--format", choices=FORMATS, default="table")
    parser.add_argument("--output", type=Path, help="a file to write instead of the terminal")
    parser.add_argument("--batch-size", type=int, default=32)
    arguments = parser.parse_args()
    text, unreadable = main(arguments.paths, arguments.top, arguments.format, arguments.batch_size)
    if arguments.output:
        write_text(arguments.output, text)
    else:
        sys.stdout.write(text)
    if unreadable:
        sys.exit("\n".join(f"error: {problem}" for problem in unreadable))
