"""Fine-tune the network and keep the epoch with the best val top-1.

Reads   configs/rendered.py, data/weights/pretrained.pth, data/dataset/{train, val}.txt, the images
Writes  data/checkpoints/best.pth     weights and class names only
        metrics/training.csv          one row per epoch, written after each
        metrics/training.json         val top-1 and loss of the best epoch, val top-1 of the linear probe

Killed or interrupted, it resumes after the last complete epoch when it is started again.

    python -m stages.train
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from mmengine.config import Config
from mmengine.runner import Runner

from stages.core.files import delete, together, write_json, write_whole
from stages.core.images.archives import ensure_images
from stages.core.images.lists import read_list
from stages.core.layout import Layout
from stages.core.machine.device import keep_freed_memory, machine_facts, use_device
from stages.core.machine.gpus import claim_gpus
from stages.core.machine.placement import open_config
from stages.core.networks.checkpoint import to_memory_format, unwrapped
from stages.core.params import RuntimeParams, load_params
from stages.core.training.history import LiveHistory, ProgressHook, history_of, write_history
from stages.core.training.hooks import PretrainedWeights, check_batch_size
from stages.core.training.processes import join_processes, rank, start_processes, starts_processes
from stages.core.training.resume import (
    ResumeHook,
    RunState,
    SaveHook,
    best_row,
    delete_run,
    forget_old_runs,
    is_recorded,
    run_folder,
)
from stages.core.training.sampling import LockstepLoader


def main(root: Path = Path()) -> None:
    runtime = load_params(Layout(root).params).runtime
    claim_gpus(runtime, runtime.processes)
    if starts_processes(runtime):
        launch(root, runtime)
    else:
        train_here(root, runtime)


def launch(root: Path, runtime: RuntimeParams) -> None:
    """Start the processes that train, and wait for them."""
    with only_training(root):
        pass  # waits here, as the processes would give up waiting for one another
    start_processes(runtime, "stages.train", root)


def train_here(root: Path, runtime: RuntimeParams) -> None:
    """Train in this process, alone or as one of several; the one of rank 0 writes."""
    layout = Layout(root)
    # images, config and machine
    device = use_device(runtime.device)
    images = read_list(layout.train_list) + read_list(layout.val_list)
    ensure_images(root, [image.path for image in images])
    cfg = open_config(layout.rendered_config, root, runtime, device, training=True)
    keep_freed_memory()

    # a folder of its own for what decides the result
    inputs = [layout.rendered_config, layout.pretrained, layout.train_list, layout.val_list]
    facts = machine_facts(device, runtime.processes)
    folder = run_folder(Path(cfg.work_dir), [*inputs, Path(__file__)], *facts)
    cfg.work_dir = str(folder)
    state = RunState(folder)
    if rank() > 0:
        train(cfg, state, runtime, device, layout.history)
        return

    # train, or take up the run that is in the folder
    with only_training(root):
        forget_old_runs(folder)
        state.delete_damaged()
        by_dvc = "DVC_STAGE" in os.environ
        finished = state.published.exists() and state.exists
        if finished and (not by_dvc or is_recorded(root / "dvc.lock", state.read_best())):
            delete_run(folder)  # so this is another run
        delete(state.published)
        folder.mkdir(parents=True, exist_ok=True)
        history = train(cfg, state, runtime, device, layout.history)

        # publish the best epoch
        best = best_row(history)
        summary = {"best_epoch": best["epoch"]} | {key: best[key] for key in ("val_loss", "val_top1")}
        if history[0]["epoch"] == 0:  # the fitted head on frozen features: a baseline for the rest
            summary["probe_val_top1"] = history[0]["val_top1"]
        with together():
            state.publish(layout.checkpoint)
            write_json(layout.training_metrics, summary)
            write_history(layout.history, history)
        if by_dvc:
            # stays, as DVC can be killed before it records the result
            write_whole(state.published, b"")
        else:
            delete_run(folder)
    print(
        f"best epoch {best['epoch']} of {history[-1]['epoch']}: val top-1 {best['val_top1']:.2f} % "
        f"-> {layout.relative(layout.checkpoint)}"
    )


def train(cfg: Config, state: RunState, runtime: RuntimeParams, device: str, live: Path) -> list[dict]:
    """Train from the start, or resume; returns the history, a row an epoch.

    live: the file that has the history so far after each epoch.
    """
    join_processes(runtime, device)  # from here on, all processes see the same state
    pretrained, cfg.load_from = cfg.load_from, None

    # mmengine's Runner, its model and its loader
    runner = Runner.from_cfg(cfg)
    check_batch_size(unwrapped(runner.model), cfg)
    to_memory_format(runner.model, cfg)
    if device == "cpu":
        runner.train_loop.dataloader = LockstepLoader(runner.train_loop.dataloader)

    # hooks of this stage; those that change results are in the config, so that `mim train` has them too
    if state.exists:
        runner.register_hook(ResumeHook(state))
    elif pretrained:
        runner.register_hook(PretrainedWeights(Path(pretrained)))
    runner.register_hook(SaveHook(state))
    runner.register_hook(ProgressHook())
    runner.register_hook(LiveHistory(live))

    if runner.rank == 0:
        processes = f" in {runner.world_size} processes" if runner.world_size > 1 else ""
        resuming = f", resuming after epoch {state.read()['epoch']}" if state.exists else ""
        print(f"training on {device}{processes}{resuming}", flush=True)
    try:
        runner.train()
    except KeyboardInterrupt:
        if runner.rank == 0:
            print(f"\ninterrupted in epoch {runner.epoch + 1}: `dvc repro` resumes at its start")
        sys.exit(130)
    return history_of(runner)


@contextmanager
def only_training(root: Path) -> Iterator[None]:
    """Held while training: a run whose DVC was killed may still be running."""
    lock = FileLock(Layout(root).work / "train.lock")
    Path(lock.lock_file).parent.mkdir(exist_ok=True)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print("another process is training in this project; waiting for it to end", flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


if __name__ == "__main__":
    main()
