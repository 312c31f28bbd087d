"""Rank the experiments since the last commit by val top-1.

Reads   what `dvc exp show` knows, and metrics/training.csv of each experiment
Writes  dvc_plots/experiments.png     parallel coordinates: the parameters that differ, and val top-1

    python -m stages compare_experiments

Val decides: a test score by which a parameter was chosen is flattered.
"""

import argparse
import csv
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure
from ruamel.yaml import YAML

from stages.core.layout import Layout
from stages.core.provenance.lock_diff import hashes

VAL, TEST = "val top-1", "test top-1"


def main(root: Path = Path()) -> pd.DataFrame:
    """A row an experiment, the best on val first: the parameters that differ, val and test top-1."""
    shown = subprocess.run(
        [sys.executable, "-m", "dvc", "exp", "show", "--json"],
        cwd=root,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    layout = Layout(root)
    rows = [row for revision in revisions(json.loads(shown)) if (row := scored(root, *revision))]
    if not rows:
        raise ValueError(
            "no experiment since the last commit has a result. Run one, e.g. "
            "`dvc exp run -S train.lr=0.03`; `dvc queue status` shows those that wait or failed."
        )
    table = pd.DataFrame(rows).set_index("experiment")
    scores = [name for name in (VAL, TEST) if name in table]
    params = [name for name in table if name not in scores and table[name].map(repr).nunique() > 1]
    table = (
        table[params + scores].round({VAL: 2, TEST: 2}).sort_values(VAL, ascending=False, kind="stable")
    )
    layout.experiments.parent.mkdir(parents=True, exist_ok=True)
    parallel_coordinates(table[[*params, VAL]]).savefig(layout.experiments, dpi=150)
    return table


def revisions(shown: list[dict]) -> list[tuple[str, dict]]:
    """Names and data of what `dvc exp show --json` tells, without the workspace and the queue."""
    found = []
    for baseline in shown:
        if baseline["rev"] == "workspace":
            continue
        found.append((baseline["name"] or baseline["rev"][:7], baseline["data"]))
        for experiment in baseline["experiments"] or []:
            if (experiment["executor"] or {"state": "success"})["state"] == "success":
                last = experiment["revs"][-1]
                found.append((experiment["name"] or last["rev"][:7], last["data"]))
    return [(name, data) for name, data in found if data]  # none where a commit cannot be read


def scored(root: Path, name: str, data: dict) -> dict | None:
    """A row of the table; None for what was not trained.

    An experiment of earlier stages only has its baseline's scores in Git: they are not its own.
    """
    layout = Layout()
    lock, rendered, history = (
        committed(root, data["rev"], path)
        for path in ("dvc.lock", layout.rendered_config, layout.history)
    )
    stages = YAML(typ="safe").load(lock or "stages: {}")["stages"]
    read, made, scored_of = (
        hashes(stages, *entries)
        for entries in (("train", "deps"), ("train", "outs"), ("evaluate", "deps"))
    )
    if not rendered or not history:
        return None
    if read.get(layout.rendered_config.as_posix()) != hashlib.md5(rendered).hexdigest():
        return None
    epochs = csv.DictReader(history.decode().splitlines())
    row = {"experiment": name} | flat(data["params"]["params.yaml"]["data"])
    row[VAL] = max(float(epoch["val_top1"]) for epoch in epochs)
    checkpoint = layout.checkpoint.as_posix()
    if scored_of.get(checkpoint) == made.get(checkpoint):
        row[TEST] = data["metrics"][layout.evaluation.as_posix()]["data"]["top1"]
    return row


def committed(root: Path, revision: str, path: Path | str) -> bytes | None:
    """A file as it is in Git at a revision."""
    command = ["git", "show", f"{revision}:{Path(path).as_posix()}"]
    done = subprocess.run(command, cwd=root, capture_output=True)
    return None if done.returncode else done.stdout


def flat(values: dict, prefix: str = "") -> dict:
    """{"train": {"lr": 0.1}} as {"train.lr": 0.1}."""
    found = {}
    for key, value in values.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = value
    return found


def parallel_coordinates(table: pd.DataFrame) -> Figure:
    """An upright axis a column, each on its own scale; a line a row, coloured by the last column."""
    figure = Figure(figsize=(1.5 + 1.7 * len(table.columns), 4.5), layout="constrained")
    plot = figure.subplots()
    axes = [scale(list(table[name])) for name in table]
    heights = np.array([positions for positions, _ in axes])  # (columns, rows)
    colours = colormaps["viridis_r"](0.2 + 0.8 * heights[-1])
    for line, colour in zip(heights.T[::-1], colours[::-1], strict=True):  # the best last, on top
        plot.plot(line, color=colour, linewidth=2, marker="o", markersize=4)
    for x, (name, (_, ticks)) in enumerate(zip(table, axes, strict=True)):
        plot.vlines(x, 0, 1, color="0.6", linewidth=1, zorder=0)
        plot.text(x, 1.07, name, ha="center", va="bottom", weight="bold", parse_math=False)
        for height, label in ticks.items():
            plot.text(x + 0.03, height, label, va="bottom", fontsize=8, parse_math=False)
    plot.set(xlim=(-0.15, len(axes) - 0.6), ylim=(-0.05, 1.15))
    plot.set_axis_off()
    return figure


def scale(values: list) -> tuple[list[float], dict[float, str]]:
    """Where values stand on an axis from 0 to 1, and its labels by place.

    Numbers that span a factor of ten stand logarithmically; what is no number has even steps.
    """
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        names = sorted({str(value) for value in values})
        step = {name: index / max(len(names) - 1, 1) for index, name in enumerate(names)}
        return [step[str(value)] for value in values], {place: name for name, place in step.items()}
    numbers = np.array(values, dtype=float)
    low, high = numbers.min(), numbers.max()
    if low == high:
        return [0.5] * len(values), {0.5: f"{low:.4g}"}
    logarithmic = low > 0 and high / low >= 10
    transform = np.log10 if logarithmic else np.asarray
    bottom, height = transform(low), transform(high) - transform(low)
    marks = np.unique(numbers)
    if (np.diff(transform(marks)) / height).min() < 0.04:  # labels would lie on each other
        marks = np.geomspace(low, high, 5) if logarithmic else np.linspace(low, high, 5)
    places = (transform(marks) - bottom) / height
    labels = {float(place): f"{mark:.4g}" for place, mark in zip(places, marks, strict=True)}
    return ((transform(numbers) - bottom) / height).tolist(), labels


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    experiments = main()
    print(experiments.to_string(index_names=False))
    print(f"-> {Layout().experiments}")
