"""The history of a run: a row an epoch, what it decides, and how it is shown."""

import math
import statistics
import sys
import time
from pathlib import Path

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import EarlyStoppingHook, Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from tqdm import tqdm

from stages.core.files import write_csv

HISTORY, PROBE_LOSS = "training_history", "probe_loss"
"""Keys of mmengine's message hub, which its own checkpoints carry; no other file uses them."""


def history_of(runner: Runner) -> list[dict]:
    """The rows so far, one an epoch; empty before the first."""
    return runner.message_hub.runtime_info.get(HISTORY, [])


def set_history(runner: Runner, rows: list[dict]) -> None:
    runner.message_hub.update_info(HISTORY, rows)


def report_probe_loss(runner: Runner, loss: float) -> None:
    """The training loss of a fitted head, for the row of epoch 0."""
    runner.message_hub.update_info(PROBE_LOSS, loss)


@HOOKS.register_module()
class TrainingHistory(Hook):
    """Adds one row an epoch to the history.

    A row: epoch (from 1; 0 is a fitted head before any training), lr (of the backbone, at the epoch's
    end), loss (mean over the epoch's training images), val_loss, val_top1 (percent) and, with five
    classes or more, val_top5.
    """

    priority = "LOW"

    def before_train(self, runner: Runner) -> None:
        self.rows = list(history_of(runner))
        self.row = {"epoch": 0, "lr": 0.0}

    def before_train_epoch(self, runner: Runner) -> None:
        self.loss_sum, self.num_images = 0.0, 0

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None):
        num_images = len(data_batch["data_samples"])
        loss = outputs["loss"].item()
        if not math.isfinite(loss):
            self.diverged(
                runner, f"the loss is {loss} at step {batch_idx + 1} of epoch {runner.epoch + 1}"
            )
        self.loss_sum += loss * num_images
        self.num_images += num_images

    def after_train_epoch(self, runner: Runner) -> None:
        # mean over all processes
        totals = torch.tensor([self.loss_sum, self.num_images], dtype=torch.float64)
        all_reduce(totals)
        self.row = {
            "epoch": runner.epoch + 1,
            "lr": round(learning_rate(runner), 9),
            "loss": round(float(totals[0] / totals[1]), 6),
        }

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        if not self.row["epoch"]:
            self.row["loss"] = runner.message_hub.get_info(PROBE_LOSS)
        if not math.isfinite(metrics["loss"]):
            self.diverged(runner, f"the val loss is {metrics['loss']} after epoch {self.row['epoch']}")
        row = dict(self.row, val_loss=round(metrics["loss"], 6))
        for k in (1, 5):
            if f"accuracy/top{k}" in metrics:
                row[f"val_top{k}"] = round(metrics[f"accuracy/top{k}"], 4)
        self.rows.append(row)
        set_history(runner, self.rows)

    def diverged(self, runner: Runner, what: str) -> None:
        """Ends the run before this epoch is saved, so that what was saved before stays."""
        kept = f"Epoch {self.rows[-1]['epoch']} is kept in {runner.work_dir}. " if self.rows else ""
        raise FloatingPointError(
            f"{what}, at lr {learning_rate(runner):g}: the weights have diverged. {kept}Lower train.lr "
            "in params.yaml, or lengthen train.warmup_epochs, then run `dvc repro`."
        )


def learning_rate(runner: Runner) -> float:
    """Of the backbone: without the head's factor, nor that of several processes."""
    rates = runner.optim_wrapper.get_lr()
    # base_lr: with mmengine's auto_scale_lr
    return rates["base_lr"][0] * runner.world_size if "base_lr" in rates else rates["lr"][0]


@HOOKS.register_module()
class EarlyStopping(EarlyStoppingHook):
    """mmengine's, deciding by the history, so that a resumed run stops where another one does."""

    def before_run(self, runner: Runner) -> None:
        """mmengine's would build the training data for a test run, too."""

    def before_train(self, runner: Runner) -> None:
        self.wait_count, self.best_score = 0, -math.inf  # a fitted head may have been counted
        for row in history_of(runner):
            super().after_val_epoch(runner, {self.monitor: row["val_top1"]})

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        row = history_of(runner)[-1]
        super().after_val_epoch(runner, {self.monitor: row["val_top1"]})


def write_history(path: Path, rows: list[dict]) -> None:
    columns = list(rows[0])
    write_csv(path, columns, [[row[name] for name in columns] for row in rows])


class LiveHistory(Hook):
    """Writes the history after each epoch, for `dvc plots` and editors that watch the file."""

    priority = "VERY_LOW"

    def __init__(self, path: Path):
        self.path = path

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        if runner.rank == 0:
            write_history(self.path, history_of(runner))


class ProgressHook(Hook):
    """A line an epoch, with its time and what is left; on a terminal a bar over the steps, too."""

    priority = "VERY_LOW"

    def before_run(self, runner: Runner) -> None:  # a head is fitted and scored before training
        self.seconds: list[float] = []
        self.start = time.perf_counter()

    def before_train_epoch(self, runner: Runner) -> None:
        self.start = time.perf_counter()
        self.bar = tqdm(
            total=len(runner.train_dataloader),
            desc=f"epoch {runner.epoch + 1}/{runner.max_epochs}",
            unit="step",
            leave=False,
            disable=not sys.stderr.isatty() or runner.rank != 0,
        )

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None):
        self.bar.set_postfix(loss=f"{outputs['loss'].item():.3f}", refresh=False)
        self.bar.update()

    def after_train_epoch(self, runner: Runner) -> None:
        self.bar.close()

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        if runner.rank != 0:
            return
        row, seconds = history_of(runner)[-1], time.perf_counter() - self.start
        name, left = "head fitted", ""
        if row["epoch"]:
            self.seconds.append(seconds)
            name = f"epoch {row['epoch']}/{runner.max_epochs}"
            rest = statistics.mean(self.seconds) * (runner.max_epochs - row["epoch"])
            left = f", {tqdm.format_interval(rest)} left" if rest else ""
        print(
            f"{name}  loss {row['loss']:.3f}  val loss {row['val_loss']:.3f}  "
            f"val top-1 {row['val_top1']:.2f} %  {tqdm.format_interval(seconds)}{left}",
            flush=True,
        )
