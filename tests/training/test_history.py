"""The history's numbers are known ones, and a run stops early by them."""

import math

import pytest
import torch
from toy_runner import InterruptIn, number_runner, toy_project, toy_training

from stages.core.training.history import history_of
from stages.core.training.resume import ResumeHook, RunState, SaveHook

HISTORY = dict(type="TrainingHistory")
STOPPING = dict(type="EarlyStopping", monitor="accuracy/top1", patience=2, min_delta=5e-5)
SCORES = [50.0, 60.0, 60.0, 55.0, 99.0]
"""No epoch is better than the second before the fifth: patience 2 ends the run after the fourth."""


def history(runner) -> list[dict]:
    runner.train()
    return history_of(runner)


def test_the_loss_of_an_epoch_is_the_mean_over_images_and_not_over_batches(tmp_path):
    # batches of 2, 2 and 1: the mean over images is 16.5 / 5, that over batches 11.5 / 3
    (row,) = history(number_runner(tmp_path, [HISTORY], [50.0], [1.0, 2.0, 3.0, 4.0, 6.5]))
    assert row["loss"] == 3.3


def test_a_row_has_the_epoch_the_rate_and_the_scores(tmp_path):
    rows = history(number_runner(tmp_path, [HISTORY], [50.0, 66.66666]))
    assert rows == [
        {"epoch": 1, "lr": 0.1, "loss": 3.3, "val_loss": 1.25, "val_top1": 50.0},
        {"epoch": 2, "lr": 0.1, "loss": 3.3, "val_loss": 1.25, "val_top1": 66.6667},
    ]


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_the_run_and_names_its_step(tmp_path, loss):
    runner = number_runner(tmp_path, [HISTORY], [50.0], [1.0, 2.0, 3.0, loss])
    message = (
        f"loss is {loss} at step 2 of epoch 1, at lr 0.1: the weights have diverged. Lower train.lr"
    )
    with pytest.raises(FloatingPointError, match=message):
        runner.train()


def test_weights_that_diverge_in_the_last_step_are_not_saved_and_the_epoch_before_is(tmp_path):
    state = RunState(tmp_path)
    runner = number_runner(tmp_path, [HISTORY, SaveHook(state)], [50.0, math.nan])
    message = f"val loss is nan after epoch 2, at lr 0.1: .* Epoch 1 is kept in {tmp_path}. Lower"
    with pytest.raises(FloatingPointError, match=message):
        runner.train()
    best = torch.load(state.best, weights_only=True)
    assert state.read()["epoch"] == best["meta"]["epoch"] == 1


def test_a_run_stops_after_so_many_epochs_without_a_better_one(tmp_path):
    assert [
        row["val_top1"] for row in history(number_runner(tmp_path, [HISTORY, STOPPING], SCORES))
    ] == [*SCORES[:4]]


def test_every_better_epoch_starts_the_count_again(tmp_path):
    scores = [50.0, 40.0, 51.0, 50.0, 52.0, 51.0, 51.0, 99.0]
    assert len(history(number_runner(tmp_path, [HISTORY, STOPPING], scores))) == 7


@pytest.mark.parametrize("interrupted", [2, 3, 4])
def test_a_resumed_run_stops_after_the_same_epoch(tmp_path, interrupted):
    state = RunState(tmp_path)
    hooks = [HISTORY, STOPPING, SaveHook(state), InterruptIn(interrupted)]
    with pytest.raises(KeyboardInterrupt):
        number_runner(tmp_path, hooks, SCORES).train()
    hooks = [HISTORY, STOPPING, SaveHook(state), ResumeHook(state)]
    rows = history(number_runner(tmp_path, hooks, SCORES[interrupted - 1 :], epochs=len(SCORES)))
    assert [row["val_top1"] for row in rows] == SCORES[:4]


def test_a_fitted_head_counts_once_also_when_the_run_is_resumed(tmp_path):
    """At rate 1e-9 nothing becomes better than the head: three epochs follow it."""
    toy_project(tmp_path, lr=1e-9, early_stopping=3, epochs=9)
    rows = toy_training(tmp_path, tmp_path / "whole")
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3]
    with pytest.raises(SystemExit, match="130"):
        toy_training(tmp_path, tmp_path / "resumed", dict(type="InterruptIn", epoch=2))
    assert toy_training(tmp_path, tmp_path / "resumed") == rows
