"""Rank the experiments since the last commit by val top-1.

Reads   what `dvc exp show` lists, and dvc.lock of each experiment
Writes  dvc_plots/experiments.png     parallel coordinates: the parameters that differ, and val top-1

    python -m stages compare_experiments

Rows are sorted by val top-1. Choosing by test would make the test score optimistic.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure
from ruamel.yaml import YAML

from stages.core.files import whole_file
from stages.core.layout import PATHS, Layout
from stages.core.provenance.lock_diff import hashes
from stages.core.yaml_files import check_project

VAL, TEST = "val top-1", "test top-1"


def main(root: Path = Path()) -> pd.DataFrame:
    """One row per experiment, the best on val first: the parameters that differ, val and test top-1."""
    check_project(root)
    command = [sys.executable, "-m", "dvc", "exp", "show", "--json"]
    shown = subprocess.run(command, cwd=root, check=True, stdout=subprocess.PIPE, text=True).stdout
    rows = [row for name, data in finished(json.loads(shown)) if (row := scored(root, name, data))]
    if not rows:
        raise ValueError(
            "no experiment since the last commit has a result. Run one, e.g. "
            "`dvc exp run -S train.lr=0.03`; `dvc queue status` shows those that wait or failed."
        )
    table = pd.json_normalize(rows).set_index("experiment")  # {"train": {"lr": 1}} as train.lr
    scores = [name for name in (VAL, TEST) if name in table]
    params = [name for name in table if name not in scores and table[name].map(repr).nunique() > 1]
    table = table[params + scores].round({VAL: 2, TEST: 2})
    table = table.sort_values(VAL, ascending=False, kind="stable")
    plot = Layout(root).experiments
    with whole_file(plot) as file:
        parallel_coordinates(table[[*params, VAL]]).savefig(file, dpi=150)
    return table


def finished(shown: list[dict]) -> Iterator[tuple[str, dict]]:
    """Names and data of the commit and of its experiments, without those that wait, run or failed."""
    for commit in shown[1:]:  # the first entry is the workspace
        yield commit["name"] or commit["rev"][:7], commit["data"]
        for experiment in commit["experiments"] or []:
            if (experiment["executor"] or {"state": "success"})["state"] == "success":
                last = experiment["revs"][-1]
                yield experiment["name"] or last["rev"][:7], last["data"]


def scored(root: Path, name: str, data: dict | None) -> dict | None:
    """A row of the table; None for a revision that trained nothing, or that DVC cannot read.

    An experiment that ran only earlier stages still has its baseline's scores in Git. Its dvc.lock shows
    that train read another config than render-config wrote, or evaluate another checkpoint than train's.
    """
    metrics = {file: entry.get("data") for file, entry in (data or {}).get("metrics", {}).items()}
    if not metrics.get(PATHS["training_metrics"]):
        return None
    command = ["git", "show", f"{data['rev']}:./dvc.lock"]
    lock = subprocess.run(command, cwd=root, capture_output=True, text=True).stdout
    stages = YAML(typ="safe").load(lock or "stages: {}")["stages"]

    def up_to_date(path: str, writer: str, reader: str) -> bool:
        written, read = hashes(stages, writer, "outs"), hashes(stages, reader, "deps")
        return path in written and written[path] == read.get(path)

    if not up_to_date(PATHS["rendered_config"], "render-config", "train"):
        return None
    row = {"experiment": name} | data["params"][PATHS["params"]]["data"]
    row[VAL] = metrics[PATHS["training_metrics"]]["val_top1"]
    if metrics.get(PATHS["evaluation"]) and up_to_date(PATHS["checkpoint"], "train", "evaluate"):
        row[TEST] = metrics[PATHS["evaluation"]]["top1"]
    return row


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
    """The positions of values on an axis from 0 to 1, and the axis's labels by position.

    Numbers that span a factor of ten get a logarithmic axis. Values that are no numbers get even steps.
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
    if (np.diff(transform(marks)) / height).min() < 0.04:  # labels would overlap
        marks = np.geomspace(low, high, 5) if logarithmic else np.linspace(low, high, 5)
    places = (transform(marks) - bottom) / height
    labels = {float(place): f"{mark:.4g}" for place, mark in zip(places, marks, strict=True)}
    return ((transform(numbers) - bottom) / height).tolist(), labels


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    experiments = main()
    print(experiments.to_string(index_names=False))
    print(f"-> {Layout().experiments}")
