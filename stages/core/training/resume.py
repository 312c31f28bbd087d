"""Training that resumes where it was killed: a folder per run, keyed by all that decides its result.

mmengine writes its last checkpoint before the epoch is scored, in place, and with objects that
torch.load refuses to read back since 2.6. Ours is written once the epoch is scored, renamed into place,
and holds tensors and plain values only, so that reading it back unpickles nothing else.
"""

import hashlib
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import mmengine
import mmpretrain
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages.core.files import delete, write_whole
from stages.core.networks.checkpoint import load_kept, save_whole, unwrapped, write_checkpoint
from stages.core.seals import read_kept
from stages.core.training.history import history_of, set_history

STATE, PUBLISHED = "state.pth", "published"
KEPT = 3
"""Folders of other, interrupted runs that stay, so that setting a parameter back finds its own."""


def run_folder(parent: Path, inputs: Iterable[Path], *facts: object) -> Path:
    """A folder named by what decides the result: input files, our own code, versions and `facts`."""
    digest = hashlib.sha256()
    code = sorted(
        module.__file__ for name, module in sys.modules.items() if name.split(".")[0] == "stages"
    )
    for path in (*inputs, *map(Path, code)):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    versions = torch.__version__, mmengine.__version__, mmpretrain.__version__, sys.version
    digest.update(repr((*versions, *facts)).encode())
    return parent / digest.hexdigest()[:16]


def forget_old_runs(folder: Path) -> None:
    """Delete what other runs left beside `folder`, but the latest few that were interrupted."""
    others = [other for other in folder.parent.glob("*") if other != folder]
    finished = [other for other in others if (other / PUBLISHED).exists()]
    interrupted = [other for other in others if other not in finished]
    interrupted.sort(key=lambda other: other.lstat().st_mtime_ns)
    for other in finished + interrupted[:-KEPT]:
        delete_run(other)


def delete_run(folder: Path) -> None:
    with suppress(OSError):
        if not folder.is_symlink():
            delete(folder / STATE)  # first: without it, nothing resumes from the rest
        delete(folder)


def is_recorded(dvc_lock: Path, best: bytes | memoryview) -> bool:
    """Whether DVC has taken these bytes as the train stage's result."""
    try:
        stages = YAML(typ="safe").load(dvc_lock.read_text(encoding="utf-8"))["stages"]
        recorded = {out["md5"] for out in stages["train"]["outs"]}
        return hashlib.md5(best, usedforsecurity=False).hexdigest() in recorded
    except (OSError, UnicodeError, YAMLError, KeyError, TypeError):
        return False


class RunState:
    """What a run in `folder` has completed.

    state.pth: weights, optimizer, schedules, epoch, step and history. best.pth: as the stage publishes
    it, of the first epoch with the best val top-1. Both are sealed with the folder's name. published: is
    there once the stage has.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.path = folder / STATE
        self.best = folder / "best.pth"
        self.published = folder / PUBLISHED

    @property
    def exists(self) -> bool:
        return self.path.exists() and self.best.exists()

    def delete_damaged(self) -> None:
        """Afterwards the run exists only if it can be resumed."""
        if self.folder.is_symlink() or not self.folder.is_dir():
            delete(self.folder)
        for path in (self.path, self.best):
            self.read_sealed(path)

    def read(self) -> dict:
        return load_kept(self.read_sealed(self.path))

    def read_best(self) -> memoryview:
        return self.read_sealed(self.best)

    def read_sealed(self, path: Path) -> memoryview | None:
        return read_kept(path, self.seal_name(path), "training starts from the beginning")

    def seal_name(self, path: Path) -> str:
        return f"{self.folder.name}/{path.name}"

    def publish(self, checkpoint: Path) -> None:
        write_whole(checkpoint, self.read_best())

    def save(self, runner: Runner) -> None:
        history = history_of(runner)
        state = {
            "epoch": runner.epoch,
            "iter": runner.iter,
            "history": history,
            "state_dict": unwrapped(runner.model).state_dict(),
            "optimizer": runner.optim_wrapper.state_dict(),
            "param_schedulers": [scheduler.state_dict() for scheduler in runner.param_schedulers],
        }
        runner.call_hook("before_save_checkpoint", checkpoint=state)  # EMA: the averaged weights first
        # EMA has the statistics of this process alone; those that were scored are all processes' mean
        state["state_dict"].update(
            (name, value)
            for name, value in unwrapped(runner.model).named_buffers()
            if name in state["state_dict"]
        )
        if best_row(history) is history[-1]:
            classes = list(runner.train_dataloader.dataset.metainfo["classes"])
            meta = {"dataset_meta": {"classes": classes}, "epoch": history[-1]["epoch"]}
            write_checkpoint(self.best, state["state_dict"], meta, self.seal_name(self.best))
        # after best.pth: killed in between, the epoch is trained again and produces the same best.pth
        save_whole(self.path, state, self.seal_name(self.path))

    def restore(self, runner: Runner) -> None:
        state = self.read()
        runner._resume = True  # tells mmengine's EMAHook to take its own weights from the state, too
        runner.call_hook("after_load_checkpoint", checkpoint=state)
        unwrapped(runner.model).load_state_dict(state["state_dict"], strict=False)  # as load_exactly
        runner.optim_wrapper.load_state_dict(state["optimizer"])
        for scheduler, saved in zip(runner.param_schedulers, state["param_schedulers"], strict=True):
            scheduler.load_state_dict(saved)
        runner.train_loop._epoch, runner.train_loop._iter = state["epoch"], state["iter"]
        set_history(runner, state["history"])


class ResumeHook(Hook):
    """Takes up the run that is in its folder."""

    priority = "VERY_HIGH"

    def __init__(self, state: RunState):
        self.state = state

    def before_train(self, runner: Runner) -> None:
        self.state.restore(runner)


class SaveHook(Hook):
    """Saves the run after each epoch, once it is scored and in the history."""

    priority = "VERY_LOW"

    def __init__(self, state: RunState):
        self.state = state

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        if runner.rank == 0:
            self.state.save(runner)


def best_row(history: list[dict]) -> dict:
    """The first epoch with the best val top-1."""
    return max(history, key=lambda row: row["val_top1"])
