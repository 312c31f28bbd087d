"""Several processes train one model: each image once an epoch, counted once, at the rate of their batch."""

import csv
import os
import re
import signal

import pytest
import torch
from conftest import write_params
from real_dvc import SMALL, copy, python, repro, start_training

from stages.core.params import load_params
from stages.core.training.processes import STARTED, start_processes, starts_processes


def runtime(tmp_path, **values):
    write_params(tmp_path, runtime=values)
    return load_params(tmp_path / "params.yaml").runtime


def test_a_launcher_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match="launcher is slurm, but there is no srun here"):
        start_processes(runtime(tmp_path, launcher="slurm", processes=2), "stages.train", tmp_path)


def test_slurm_starts_the_stage_once_a_task(tmp_path, monkeypatch, capfd):
    """With a program of that name that prints what it was asked."""
    fake = tmp_path / "srun"
    fake.write_text('#!/bin/sh\necho "$@"\necho "started: $FINETUNE_PROCESSES_STARTED"\nexit 0\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    params = runtime(tmp_path, launcher="slurm", processes=3)
    assert starts_processes(params)
    start_processes(params, "stages.train", tmp_path)
    printed = capfd.readouterr().out
    assert re.search(r"--ntasks=3 --kill-on-bad-exit=1 \S*python\S* -m stages.train", printed)
    assert "started: 1" in printed
    fake.write_text("#!/bin/sh\nexit 7\n")
    with pytest.raises(SystemExit, match="7"):
        start_processes(params, "stages.train", tmp_path)


@pytest.mark.parametrize("mark", [STARTED, "TORCHELASTIC_RUN_ID"])
def test_one_of_several_processes_starts_no_others(tmp_path, monkeypatch, mark):
    params = runtime(tmp_path, launcher="pytorch", processes=2)
    assert starts_processes(params) and not starts_processes(runtime(tmp_path))
    monkeypatch.setenv(mark, "1")
    assert not starts_processes(params)


def rows(folder) -> list[dict]:
    with (folder / "metrics/training.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_two_processes_train_on_the_same_images_and_score_each_once(small_run, tmp_path):
    """At rate 1e-6 the weights stand still: the loss is that of the same images, however split."""
    rate = {"lr": 1e-6, "schedule": "step", "batch_size": 8}
    still = {"train": SMALL["train"] | rate, "augment": {"color_jitter": 0.0}}
    folders = []
    for launcher, processes in (("none", 1), ("pytorch", 2)):
        own = {"launcher": launcher, "processes": processes, "workers": 0}
        folders.append(copy(small_run, tmp_path / launcher, **(SMALL | still), runtime=own))
        output = repro(folders[-1], "train")
    assert "training on cpu in 2 processes" in output
    alone, together = (rows(folder)[1] for folder in folders)
    assert float(together["val_loss"]) == pytest.approx(float(alone["val_loss"]), rel=0.05)
    assert float(together["loss"]) == pytest.approx(float(alone["loss"]), rel=0.1)
    assert float(alone["lr"]) > 0 and float(together["lr"]) == pytest.approx(2 * float(alone["lr"]))
    weights = torch.load(folders[1] / "data/checkpoints/best.pth", weights_only=True)["state_dict"]
    assert not any(key.startswith("module.") for key in weights)
    output = python(folders[1], "-m", "stages.evaluate")
    assert "test images" in output


@pytest.mark.slow
def test_ctrl_c_ends_all_processes_without_a_traceback(small_run, tmp_path):
    train = SMALL["train"] | {"epochs": 50}
    own = {"launcher": "pytorch", "processes": 2, "workers": 1}
    folder = copy(small_run, tmp_path / "project", **(SMALL | {"train": train}), runtime=own)
    repro(folder, "render-config")
    process = start_training(folder)
    for line in process.stdout:
        if line.startswith("epoch 1/50"):
            break
    os.killpg(process.pid, signal.SIGINT)
    rest = process.stdout.read()  # to its end: none of the processes is left to write to it
    assert process.wait() == 130
    assert "interrupted: `dvc repro` resumes" in rest and "Traceback" not in rest, rest
    assert (next((folder / ".work/train").iterdir()) / "state.pth").exists()
