"""Experiments: one in the workspace, a queue with two workers, their comparison, and the way back."""

import functools
import json
import time
from pathlib import Path

import pytest
from real_dvc import SMALL, copy, executed, python, repro, run
from ruamel.yaml import YAML

from stages.commands.compare_experiments import scale

pytestmark = pytest.mark.slow


def dvc(folder: Path, *arguments: str) -> str:
    return python(folder, "-m", "dvc", *arguments)


def shown(folder: Path) -> dict[str, dict]:
    """The experiments that `dvc exp show` lists, by name."""
    (_, baseline) = json.loads(dvc(folder, "exp", "show", "--json"))
    return {experiment["name"]: experiment for experiment in baseline["experiments"]}


def comments(folder: Path) -> list[str]:
    lines = (folder / "params.yaml").read_text().splitlines()
    return [comment for line in lines if (comment := line.partition("#")[2].strip())]


def params(folder: Path) -> dict:
    return YAML(typ="safe").load(folder / "params.yaml")


@pytest.fixture(scope="module")
def swept(small_run, tmp_path_factory) -> Path:
    """A project in which two workers have run a queue of two."""
    folder = copy(small_run, tmp_path_factory.mktemp("experiments") / "project", **SMALL)
    run(folder, "git", "config", "user.name", "test")
    run(folder, "git", "config", "user.email", "test@example.org")
    dvc(folder, "exp", "run", "--queue", "-S", "train.lr=0.003,0.03")
    dvc(folder, "queue", "start", "--jobs", "2")
    deadline = time.monotonic() + 500
    while any(e["executor"]["state"] in ("queued", "running") for e in shown(folder).values()):
        assert time.monotonic() < deadline, dvc(folder, "queue", "status")
        time.sleep(2)
    return folder


def test_two_workers_run_a_queue_and_the_workspace_stays_as_it_was(swept, small_run):
    states = {name: e["executor"]["state"] for name, e in shown(swept).items()}
    assert list(states.values()) == ["success"] * 2, dvc(swept, "queue", "logs", next(iter(states)))
    assert run(swept, "git", "status", "--porcelain") == ""
    checkpoint = "data/checkpoints/best.pth"
    assert (swept / checkpoint).read_bytes() == (small_run / checkpoint).read_bytes()


def test_a_sweep_is_compared_by_val_in_a_table_and_a_plot(swept):
    output = python(swept, "-m", "stages", "compare_experiments")
    header, *rows = output.splitlines()[:-1]
    assert header.split("  ")[-3:] == ["train.lr", "val top-1", "test top-1"]
    values = [float(row.split()[2]) for row in rows]
    assert values == sorted(values, reverse=True)
    (committed,) = [row for row in rows if row.split()[1] == "0.040"]
    rows.remove(committed)
    assert {row.split()[1] for row in rows} == {"0.003", "0.030"}
    approx = functools.partial(pytest.approx, abs=0.0051)  # two decimals
    for row in rows:
        name, lr, val, test = row.split()
        data = shown(swept)[name]["revs"][0]["data"]
        assert data["params"]["params.yaml"]["data"]["train"]["lr"] == float(lr)
        assert data["metrics"]["metrics/evaluation.json"]["data"]["top1"] == approx(float(test))
        assert data["metrics"]["metrics/training.json"]["data"]["val_top1"] == approx(float(val))
    assert (swept / "dvc_plots/experiments.png").read_bytes().startswith(b"\x89PNG")
    assert run(swept, "git", "status", "--porcelain") == ""


def test_an_experiment_that_trained_nothing_has_no_score_of_another(swept):
    name = "only-rendered"
    dvc(swept, "exp", "run", "--temp", "--name", name, "-S", "train.lr=0.5", "render-config")
    assert name in shown(swept)
    assert name not in python(swept, "-m", "stages", "compare_experiments")
    dvc(swept, "exp", "remove", name)


def test_an_applied_experiment_is_the_workspace_and_nothing_runs_again(swept):
    before = comments(swept)
    for name, experiment in shown(swept).items():
        dvc(swept, "exp", "apply", name)
        lr = experiment["revs"][0]["data"]["params"]["params.yaml"]["data"]["train"]["lr"]
        assert params(swept)["train"]["lr"] == lr
        assert executed(repro(swept)) == []
        assert (swept / "data/checkpoints/best.pth").is_file()
    assert comments(swept) == before


def test_an_experiment_in_the_workspace_runs_what_its_parameter_affects(swept):
    """After the others: it starts from one that was applied."""
    output = dvc(swept, "exp", "run", "--name", "flipped", "-S", "evaluate.tta=flip", "evaluate")
    assert executed(output) == ["evaluate"]
    assert params(swept)["evaluate"]["tta"] == "flip" and "flipped" in shown(swept)


@pytest.mark.parametrize(
    ("values", "positions", "labels"),
    [
        ([0.001, 0.01, 0.1], [0, 0.5, 1], ["0.001", "0.01", "0.1"]),
        ([64, 96, 128, 96], [0, 0.5, 1, 0.5], ["64", "96", "128"]),
        (["none", "trivial", "none", "rand"], [0, 1, 0, 0.5], ["none", "rand", "trivial"]),
        ([True, False], [1, 0], ["False", "True"]),
        ([90.0, 90.0], [0.5, 0.5], ["90"]),
        ([80, 80.1, 88], [0, 0.0125, 1], ["80", "82", "84", "86", "88"]),
    ],
)
def test_each_axis_of_the_plot_has_its_own_scale(values, positions, labels):
    places, ticks = scale(values)
    assert places == pytest.approx(positions)
    assert list(ticks.values()) == labels
