"""Training resumes where it was killed, and ends with the same bytes."""

import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from real_dvc import SMALL, copy, environment, python, repro, start_training

from stages.core.networks.checkpoint import save_whole, write_checkpoint
from stages.core.provenance.lock_diff import read_lock
from stages.core.training.resume import (
    KEPT,
    RunState,
    best_row,
    delete_run,
    forget_old_runs,
    is_recorded,
    run_folder,
)


def test_an_input_a_fact_or_nothing_changed_decides_which_run_goes_on(tmp_path):
    config, weights = tmp_path / "config.py", tmp_path / "weights.pth"
    config.write_text("lr = 0.1"), weights.write_bytes(b"1")
    first = run_folder(tmp_path, [config, weights], "cpu", "AVX2", 1)
    assert run_folder(tmp_path, [config, weights], "cpu", "AVX2", 1) == first
    assert run_folder(tmp_path, [config, weights], "cpu", "AVX2", 2) != first
    assert run_folder(tmp_path, [config, weights], "cpu", "AVX512", 1) != first
    config.write_text("lr = 0.2")
    second = run_folder(tmp_path, [config, weights], "cpu", "AVX2", 1)
    weights.write_bytes(b"2")
    third = run_folder(tmp_path, [config, weights], "cpu", "AVX2", 1)
    assert len({first, second, third}) == 3


def test_bytes_moved_from_one_input_to_the_next_make_another_run(tmp_path):
    one, two = tmp_path / "train.txt", tmp_path / "val.txt"
    one.write_text("ab"), two.write_text("c")
    first = run_folder(tmp_path, [one, two])
    one.write_text("a"), two.write_text("bc")
    assert run_folder(tmp_path, [one, two]) != first


def test_the_latest_interrupted_runs_stay_and_older_ones_go(tmp_path):
    for number in range(6):
        (tmp_path / f"run{number}").mkdir()
        os.utime(tmp_path / f"run{number}", (number, number))
    forget_old_runs(tmp_path / "run0")
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["run0", *(f"run{number}" for number in range(6 - KEPT, 6))]


def test_a_finished_run_takes_no_interrupted_ones_place(tmp_path):
    for number in range(KEPT + 3):
        RunState(tmp_path / f"run{number}").path.parent.mkdir()
    for number in (0, KEPT + 1, KEPT + 2):
        RunState(tmp_path / f"run{number}").published.touch()
    forget_old_runs(tmp_path / "run0")
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == [f"run{number}" for number in range(KEPT + 1)]


def test_a_run_that_was_half_deleted_is_no_run_to_go_on_with(tmp_path):
    state = RunState(tmp_path / "run")
    state.path.parent.mkdir()
    state.path.touch()
    assert not state.exists
    state.best.touch()
    assert state.exists
    delete_run(state.path.parent)
    assert not state.path.parent.exists()
    delete_run(state.path.parent)


@pytest.mark.parametrize(
    ("lock", "recorded"),
    [
        ("stages: {train: {outs: [{path: best.pth, md5: 900150983cd24fb0d6963f7d28e17f72}]}}", True),
        ("stages: {train: {outs: [{path: best.pth, md5: 00000000000000000000000000000000}]}}", False),
        ("stages: {evaluate: {outs: [{path: a, md5: 900150983cd24fb0d6963f7d28e17f72}]}}", False),
        ("stages: [", False),
        ("", False),
    ],
)
def test_a_result_is_recorded_when_dvc_has_its_hash(tmp_path, lock, recorded):
    best = b"abc"  # RFC 1321: its MD5 is 900150983cd24fb0d6963f7d28e17f72
    (tmp_path / "dvc.lock").write_text(lock)
    assert is_recorded(tmp_path / "dvc.lock", best) == recorded
    assert not is_recorded(tmp_path / "none.lock", best)


def test_the_first_of_equally_good_epochs_is_the_best():
    rows = [
        {"epoch": 1, "val_top1": 50.0},
        {"epoch": 2, "val_top1": 75.0},
        {"epoch": 3, "val_top1": 75.0},
    ]
    assert best_row(rows)["epoch"] == 2


WRITE_FOR_EVER = """
import sys, torch
from pathlib import Path
from stages.core.networks.checkpoint import save_whole
print("writing", flush=True)
number = 0
while True:
    save_whole(Path(sys.argv[1]), {"a": torch.full((2_000_000,), float(number)), "number": number})
    number += 1
"""


@pytest.mark.slow
def test_a_checkpoint_is_whole_whenever_its_writer_is_killed(tmp_path):
    path, draw = tmp_path / "state.pth", random.Random(0)
    seen = set()
    for _ in range(4):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITE_FOR_EVER, str(path)],
            env=environment(tmp_path) | {"PYTHONPATH": str(Path(__file__).parent.parent)},
            stdout=subprocess.PIPE,
        )
        writer.stdout.readline()
        time.sleep(draw.uniform(0.02, 0.3))
        writer.kill()
        writer.wait()
        if path.exists():
            state = torch.load(path, weights_only=True)
            assert (state["a"] == state["number"]).all()
            seen.add(state["number"])
    assert len(seen) > 1


def test_a_full_disk_is_an_error_that_keeps_the_checkpoint_before(tmp_path):
    path = tmp_path / "state.pth"
    save_whole(path, {"number": 1})
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limit[1]))  # the disk ends here
        with pytest.raises(
            OSError, match=r"state.pth could not be written .*make room and run `dvc repro`"
        ):
            write_checkpoint(path, {"a": torch.zeros(1_000_000)}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, ignored)
    assert torch.load(path, weights_only=True) == {"number": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["state.pth"]


# --- real training ------------------------------------------------------------------------------------

RUN = SMALL | {
    "train": {"epochs": 4, "batch_size": 8, "warmup_epochs": 1, "threads": 1, "ema": 0.1},
    "augment": {"mixup": 0.2},
}
OUTPUTS = ("data/checkpoints/best.pth", "metrics/training.csv")


@pytest.fixture(scope="module")
def uninterrupted(small_run, tmp_path_factory) -> Path:
    folder = copy(small_run, tmp_path_factory.mktemp("uninterrupted") / "project", **RUN)
    repro(folder, "train")
    return folder


@pytest.fixture(scope="module")
def seconds(uninterrupted) -> float:
    """How long it trains on this machine."""
    process = training(uninterrupted)
    start = time.perf_counter()
    assert process.wait() == 0
    return time.perf_counter() - start


@pytest.fixture
def project(uninterrupted, tmp_path) -> Path:
    """The same project, ready to train."""
    folder = tmp_path / "project"
    shutil.copytree(uninterrupted, folder, symlinks=True)
    for name in OUTPUTS:
        (folder / name).unlink()
    return folder


def training(folder: Path) -> subprocess.Popen:
    """The train stage in a process group of its own, once it has started to train."""
    process = start_training(folder)
    line = process.stdout.readline()
    assert line.startswith("training on cpu"), line + process.stdout.read()
    process.first_line = line
    return process


def outputs(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in OUTPUTS]


@pytest.mark.slow
def test_killed_at_any_moment_it_ends_with_the_same_bytes(uninterrupted, seconds, project):
    draw = random.Random(0)
    went_on = []
    for _ in range(5):
        process = training(project)
        went_on.append(process.first_line)
        try:
            process.wait(timeout=draw.uniform(0.02, 0.7) * seconds)
            break  # it was sooner
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    else:
        went_on.append(python(project, "-m", "stages.train"))
    assert any("resuming after epoch" in line for line in went_on), went_on
    assert outputs(project) == outputs(uninterrupted)
    assert not list((project / ".work/train").iterdir())


@pytest.mark.slow
def test_a_training_whose_result_could_not_be_written_is_not_repeated(uninterrupted, project):
    obstacle = project / "data/checkpoints/best.pth"
    obstacle.mkdir(parents=True)
    assert "epoch 4/4" in python(project, "-m", "stages.train", expect=1)
    obstacle.rmdir()
    output = python(project, "-m", "stages.train")
    assert "resuming after epoch 4" in output and "epoch 4/4" not in output
    assert outputs(project) == outputs(uninterrupted)


@pytest.mark.slow
def test_killed_after_its_end_and_before_dvc_took_the_result_it_is_not_repeated(uninterrupted, project):
    python(project, "-m", "stages.train", DVC_STAGE="train")
    lock = project / "dvc.lock"
    recorded = read_lock(lock)["train"]
    lock.unlink()  # DVC did not come to it
    shutil.rmtree(project / ".dvc/cache/runs")
    output = repro(project, "train")
    assert "resuming after epoch 4" in output and "epoch 4/4" not in output
    assert outputs(project) == outputs(uninterrupted) and read_lock(lock)["train"] == recorded
    output = repro(
        project, "--single-item", "--force", "train"
    )  # DVC has the result, and asks for another
    assert "resuming" not in output and "epoch 4/4" in output
    assert outputs(project) == outputs(uninterrupted)


@pytest.mark.slow
def test_early_stopping_counts_epochs_without_a_better_one_also_over_a_kill(small_run, tmp_path):
    """At rate 1e-9 nothing becomes better than the fitted head."""
    train = {"epochs": 9, "batch_size": 8, "warmup_epochs": 0, "threads": 1, "lr": 1e-9}
    changed = SMALL | {"train": train | {"early_stopping": 3}}
    folder = copy(small_run, tmp_path / "project", **changed)
    repro(folder, "train")
    history = (folder / "metrics/training.csv").read_text()
    assert [line.split(",")[0] for line in history.splitlines()] == ["epoch", "0", "1", "2", "3"]
    (folder / "metrics/training.csv").unlink()
    shutil.rmtree(folder / ".work/train")
    process = training(folder)
    assert process.stdout.readline().startswith("head fitted")
    assert process.stdout.readline().startswith("epoch 1/9")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert "resuming after epoch" in python(folder, "-m", "stages.train")
    assert (folder / "metrics/training.csv").read_text() == history


@pytest.mark.slow
def test_a_changed_parameter_starts_over(project):
    process = training(project)
    assert process.stdout.readline().startswith("head fitted")
    assert process.stdout.readline().startswith("epoch 1/4")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    params = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(params.replace("ema: 0.1", "ema: 0.2"))
    python(project, "-m", "stages.render_config")
    output = python(project, "-m", "stages.train")
    assert "training on cpu\n" in output and "resuming" not in output


@pytest.mark.slow
def test_ctrl_c_ends_it_without_a_traceback_and_says_how_to_go_on(uninterrupted, project):
    process = training(project)
    assert process.stdout.readline().startswith("head fitted")
    line = process.stdout.readline()
    assert re.fullmatch(r"epoch 1/4  .*  val top-1 .* %  \d\d:\d\d, \d\d:\d\d left\n", line), line
    os.killpg(process.pid, signal.SIGINT)
    rest = process.stdout.read()
    assert process.wait() == 130
    assert "interrupted in epoch" in rest and "`dvc repro` resumes" in rest and "Traceback" not in rest
    so_far, whole = (
        (folder / "metrics/training.csv").read_text() for folder in (project, uninterrupted)
    )
    assert whole.startswith(so_far) and so_far.count("\n") >= 2
    assert "resuming after epoch" in training_line(project)


def training_line(folder: Path) -> str:
    process = training(folder)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return process.first_line


@pytest.mark.slow
def test_a_second_training_waits_for_the_one_that_is_still_running(uninterrupted, project):
    with FileLock(project / ".work/train.lock"):
        second = subprocess.Popen(
            [sys.executable, "-m", "stages.train"],
            cwd=project,
            env=environment(project),
            stdout=subprocess.PIPE,
            text=True,
        )
        line = second.stdout.readline()
        assert line == "another process is training in this project; waiting for it to end\n"
        assert second.poll() is None
    assert "training on cpu" in second.stdout.read() and second.wait() == 0
    assert outputs(project) == outputs(uninterrupted)
