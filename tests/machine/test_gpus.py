"""No two runs on this machine compute on one GPU: real processes, real locks, GPUs that are only names."""

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from conftest import REPO, write_params

from stages.core.machine import gpus
from stages.core.params import load_params

CLAIM = """
import sys, time
from pathlib import Path
from stages.core.machine.gpus import claim
folder, count, seconds, *names = sys.argv[1:]
held = claim(names, int(count), Path(folder))
for name in held:
    (Path(folder) / f"{name}.busy").touch(exist_ok=False)
print("holds", *held, flush=True)
time.sleep(float(seconds))
for name in held:
    (Path(folder) / f"{name}.busy").unlink()
"""
"""A run: it marks the GPUs it holds, and fails if one is marked already."""


def start(folder: Path, count: int, seconds: float, *names: str) -> subprocess.Popen:
    command = [sys.executable, "-c", CLAIM, str(folder), str(count), str(seconds), *names]
    return subprocess.Popen(command, cwd=REPO, stdout=subprocess.PIPE, text=True)


def first_line(process: subprocess.Popen) -> str:
    return process.stdout.readline().strip()


@pytest.fixture
def holder(tmp_path):
    """A process that holds GPU 0."""
    process = start(tmp_path, 1, 600, "0")
    assert first_line(process) == "holds 0"
    yield process
    process.kill()
    process.wait()


def test_no_two_runs_hold_one_gpu_and_all_get_theirs(tmp_path):
    """Some want one, some want both, in any order: no run fails, none waits forever."""
    runs = [start(tmp_path, count, 0.2, "0", "1") for count in (2, 1, 1, 2, 1)]
    try:
        outputs = [run.communicate(timeout=60)[0] for run in runs]
    finally:
        for run in runs:
            run.kill()
    assert [run.returncode for run in runs] == [0] * 5, outputs
    assert outputs[0].strip().splitlines()[-1] == "holds 0 1"


def test_the_second_run_takes_the_second_gpu(tmp_path, holder):
    assert list(gpus.claim(["0", "1"], 1, tmp_path)) == ["1"]


def test_a_run_that_is_killed_frees_its_gpu_and_until_then_another_says_that_it_waits(tmp_path, holder):
    waiting = start(tmp_path, 1, 0, "0")
    assert first_line(waiting) == "GPU 0: 1 of 1 taken by other runs; waiting until 1 is free"
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    (tmp_path / "0.busy").unlink()
    assert waiting.communicate(timeout=30)[0] == "holds 0\n"


def test_a_run_that_waits_for_two_keeps_neither(tmp_path, holder):
    waiting = start(tmp_path, 2, 0, "0", "1")
    assert "1 of 2 taken by other runs; waiting until 2 are free" in first_line(waiting)
    try:
        assert list(gpus.claim(["0", "1"], 1, tmp_path)) == ["1"]
    finally:
        waiting.kill()
        waiting.wait()


def test_a_loader_worker_that_ends_frees_nothing(tmp_path):
    held = gpus.claim(["0"], 1, tmp_path)
    worker = multiprocessing.get_context("fork").Process(target=time.sleep, args=(0,))
    worker.start()
    worker.join()
    other = start(tmp_path, 1, 0, "0")
    try:
        assert "taken by other runs" in first_line(other)
    finally:
        other.kill()
        other.wait()
    held["0"].release()


@pytest.fixture
def two_gpus(tmp_path, monkeypatch):
    """torch as it is where NVML counts two GPUs; returns params.yaml's runtime."""
    import torch

    monkeypatch.setattr(torch.cuda, "_raw_device_count_nvml", lambda: 2)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    yield lambda **values: runtime(tmp_path, **values)
    for lock in gpus.HELD.values():
        lock.release()
    gpus.HELD.clear()


def runtime(folder: Path, **values):
    write_params(folder, runtime=values)
    return load_params(folder / "params.yaml").runtime


@pytest.mark.parametrize(
    ("visible", "values", "count", "held"),
    [
        (None, {}, 1, ["0"]),
        ("1", {}, 1, ["1"]),
        ("1,0", {}, 1, ["1"]),
        (None, {"launcher": "pytorch", "processes": 2}, 2, ["0", "1"]),
        ("", {}, 1, []),
        (None, {"device": "cpu"}, 1, []),
        ("0,1", {"launcher": "slurm"}, 1, []),
    ],
)
def test_cuda_is_shown_the_gpus_that_were_claimed(two_gpus, monkeypatch, visible, values, count, held):
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    gpus.claim_gpus(two_gpus(**values), count)
    assert list(gpus.HELD) == held
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == (",".join(held) if held else visible)


def test_a_process_of_torchrun_keeps_the_gpu_it_was_given(two_gpus, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    gpus.claim_gpus(two_gpus(launcher="pytorch", processes=2), 2)
    assert gpus.HELD == {} and "CUDA_VISIBLE_DEVICES" not in os.environ


def test_more_processes_than_gpus_are_refused_at_once(two_gpus):
    with pytest.raises(RuntimeError, match="runtime.processes is 3, but torch sees 2 GPUs"):
        gpus.claim_gpus(two_gpus(launcher="pytorch", processes=3), 3)


def test_a_lock_folder_that_is_not_ones_own_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"finetune-gpus-{os.getuid()}").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RuntimeError, match="expected a folder of your own"):
        gpus.lock_folder()


ASKED = """
import os, sys, tempfile
from pathlib import Path
import stages, torch
tempfile.tempdir = sys.argv[1]
torch.cuda._raw_device_count_nvml = lambda: 2
torch._C._cuda_getDeviceCount = lambda: print("CUDA asked, shown", os.environ.get("CUDA_VISIBLE_DEVICES")) or 0
from stages import cam_report, evaluate, train
from stages.core.machine.gpus import HELD
for stage in (train, evaluate, cam_report):
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    print(stage.__name__)
    try:
        stage.main(Path(sys.argv[1]))
    except FileNotFoundError:  # nothing was prepared in this project
        HELD.popitem()[1].release()
"""


@pytest.mark.slow
def test_each_stage_that_computes_claims_a_gpu_before_cuda_is_asked_for_one(project):
    """CUDA reads CUDA_VISIBLE_DEVICES when it is asked first, which mmengine's import would do."""
    printed = subprocess.run(
        [sys.executable, "-c", ASKED, str(project)], cwd=REPO, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert printed == [
        *("stages.train", "CUDA asked, shown 0"),
        *("stages.evaluate", "CUDA asked, shown 0"),
        *("stages.cam_report", "CUDA asked, shown 0"),
    ]
