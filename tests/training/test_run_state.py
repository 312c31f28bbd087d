"""What is saved after an epoch is all that the run needs to end with the same bits."""

import shutil
from pathlib import Path

import pytest
import torch
from damage import DAMAGES, exchanged
from mmengine.runner import Runner
from toy_runner import number_runner, toy_config, toy_project, toy_training

from stages.core.training.resume import RunState, SaveHook


def on(device: str) -> str:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")
    return device


DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
VARIANTS = [{}, {"ema": 0.1, "batch_norm": "batch", "strategy": "finetune"}, {"optimizer": "adamw"}]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("train", VARIANTS)
def test_a_run_interrupted_in_an_epoch_ends_with_the_same_bits(tmp_path, device, train):
    toy_project(tmp_path, on(device), **train)
    rows = toy_training(tmp_path, tmp_path / "whole")
    assert rows[-1]["epoch"] == 3 and len({row["loss"] for row in rows}) == len(rows)
    with pytest.raises(SystemExit, match="130"):
        toy_training(tmp_path, tmp_path / "resumed", dict(type="InterruptIn", epoch=3))
    assert RunState(tmp_path / "resumed").read()["epoch"] == 2
    assert toy_training(tmp_path, tmp_path / "resumed") == rows
    whole, resumed = RunState(tmp_path / "whole"), RunState(tmp_path / "resumed")
    assert resumed.read_best() == whole.read_best()
    assert_same(resumed.read(), whole.read())


@pytest.mark.parametrize("train", VARIANTS)
def test_what_is_restored_is_what_was_saved(tmp_path, train):
    """Weights, optimizer, schedules, epoch, step and history."""
    toy_project(tmp_path, **train)
    rows = toy_training(tmp_path, tmp_path / "run")
    saved = RunState(tmp_path / "run")
    assert saved.read()["history"] == rows
    assert (saved.read()["epoch"], saved.read()["iter"]) == (3, 9)  # 10 images in batches of 4

    cfg = toy_config(tmp_path)
    cfg.load_from = None
    runner = Runner.from_cfg(cfg)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.param_schedulers = runner.build_param_scheduler(runner.param_schedulers)
    runner.call_hook("before_run")
    saved.restore(runner)
    again = RunState(tmp_path / "again")
    again.save(runner)
    assert_same(again.read(), saved.read())


def test_the_best_weights_are_those_of_the_first_best_epoch(tmp_path):
    state = RunState(tmp_path)
    hooks = [dict(type="TrainingHistory"), SaveHook(state)]
    number_runner(tmp_path, hooks, [50.0, 75.0, 75.0, 60.0]).train()
    best = torch.load(state.best, weights_only=True)
    assert best["meta"] == {"dataset_meta": {"classes": ["a", "b"]}, "epoch": 2}
    # 3 steps an epoch at rate 0.1
    assert best["state_dict"]["weight"].item() == pytest.approx(-0.6)
    assert state.read()["state_dict"]["weight"].item() == pytest.approx(-1.2)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A project with a run of three epochs in `run`."""
    folder = tmp_path_factory.mktemp("finished")
    toy_project(folder)
    toy_training(folder, folder / "run")
    return folder


@pytest.mark.parametrize("name", ["state.pth", "best.pth"])
@pytest.mark.parametrize("damage", ["middle byte flipped", "folder"])
def test_a_damaged_run_is_made_again_and_ends_with_the_same_bytes(
    finished, tmp_path, capfd, name, damage
):
    shutil.copytree(finished / "run", tmp_path / "run")
    state = RunState(tmp_path / "run")
    best = bytes(state.read_best())
    DAMAGES[damage](tmp_path / "run" / name)
    state.delete_damaged()
    error = capfd.readouterr().err
    assert error == f"{tmp_path / 'run' / name} is damaged: training starts from the beginning\n"
    assert not state.exists
    toy_training(finished, tmp_path / "run")
    assert "training on cpu\n" in capfd.readouterr().out and state.read_best() == best


def test_another_runs_files_are_not_taken(finished, tmp_path):
    (tmp_path / "other").mkdir()
    for name in ("state.pth", "best.pth"):
        exchanged(tmp_path / "other" / name, finished / "run" / name)
    state = RunState(tmp_path / "other")
    state.delete_damaged()
    assert not state.path.exists() and not state.best.exists()


def test_a_link_to_another_run_is_removed_and_the_other_run_stays(finished, tmp_path):
    shutil.copytree(finished / "run", tmp_path / "other")
    (tmp_path / "run").symlink_to("other")
    RunState(tmp_path / "run").delete_damaged()
    assert not (tmp_path / "run").exists() and (tmp_path / "other/state.pth").exists()


def test_damaged_features_are_computed_again(finished, tmp_path, capfd):
    (kept,) = (finished / ".work/features").glob("*.pth")
    whole = kept.read_bytes()
    DAMAGES["middle byte flipped"](kept)
    toy_training(finished, tmp_path / "again")
    assert f"{kept} is damaged: the features are computed again\n" in capfd.readouterr().err
    assert kept.read_bytes() == whole
    assert RunState(tmp_path / "again").read_best() == RunState(finished / "run").read_best()


def assert_same(one, other) -> None:
    """Nested values that are equal, tensors bit by bit."""
    assert type(one) is type(other)
    if isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype and torch.equal(one, other)
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for first, second in zip(one, other, strict=True):
            assert_same(first, second)
    else:
        assert one == other
