"""Fine-tune the network and keep the epoch with the best val top-1.

Reads   configs/rendered.py, data/weights/pretrained.pth, data/dataset/{train, val}.txt, the pictures
Writes  data/checkpoints/best.pth     weights and class names only
        metrics/training.csv          a row an epoch

Killed or interrupted, it goes on after the last complete epoch when it is started again.

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

from stages.core.files import write_csv, write_whole
from stages.core.images.archives import ensure_images
from stages.core.images.lists import read_list
from stages.core.layout import Layout
from stages.core.machine.device import keep_freed_memory, machine_facts, use_device
from stages.core.machine.gpus import claim_gpus
from stages.core.machine.placement import place, read_config, use_kernels, use_precision, use_processes
from stages.core.networks.checkpoint import to_memory_format, unwrapped
from stages.core.params import RuntimeParams, load_params
from stages.core.training.history import ProgressHook
from stages.core.training.hooks import PretrainedWeights
from stages.core.training.processes import rank, start_processes, starts_processes
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
from stages.core.training.schedules import check_layer_depths


def main(root: Path = Path()) -> None:
    layout = Layout(root)
    params = load_params(layout.params)
    claim_gpus(params.runtime, params.runtime.processes)
    lock = layout.work / "train.lock"
    if starts_processes(params.runtime):
        with only_training(lock):
            pass  # here, as the processes would give up waiting for one another
        start_processes(params.runtime, "stages.train", root)
        return
    device = use_device(params.runtime.device)
    images = read_list(layout.train_list) + read_list(layout.val_list)
    ensure_images(root, [image.path for image in images])

    cfg = place(read_config(layout.rendered_config), root, params.runtime, device)
    use_kernels(cfg, device)
    keep_freed_memory()
    use_precision(cfg, device)
    inputs = [layout.rendered_config, layout.pretrained, layout.train_list, layout.val_list]
    facts = machine_facts(device, params.runtime.processes)
    folder = run_folder(Path(cfg.work_dir), [*inputs, Path(__file__)], *facts)
    cfg.work_dir = str(folder)
    if rank() > 0:
        train(cfg, RunState(folder), params.runtime, device)
        return
    with only_training(lock):
        forget_old_runs(folder)
        state = RunState(folder)
        by_dvc = "DVC_STAGE" in os.environ
        if state.published.exists() and (not by_dvc or is_recorded(root / "dvc.lock", state.best)):
            delete_run(folder)  # it was finished: this is to be another
        folder.mkdir(parents=True, exist_ok=True)
        history = train(cfg, state, params.runtime, device)
        best = best_row(history)
        write_whole(layout.checkpoint, state.best.read_bytes())
        columns = list(history[0])
        write_csv(layout.history, columns, [[row[name] for name in columns] for row in history])
        if by_dvc:
            state.published.touch()  # and stays, as DVC can be killed before it records the result
        else:
            delete_run(folder)
    print(
        f"best epoch {best['epoch']} of {history[-1]['epoch']}: val top-1 {best['val_top1']:.2f} % "
        f"-> {layout.relative(layout.checkpoint)}"
    )


def train(cfg: Config, state: RunState, runtime: RuntimeParams, device: str) -> list[dict]:
    """Train from the start or go on; returns the history, a row an epoch."""
    use_processes(cfg, runtime, device)  # from here on, all processes see the same state
    pretrained, cfg.load_from = cfg.load_from, None
    runner = Runner.from_cfg(cfg)
    check_layer_depths(unwrapped(runner.model), cfg)
    to_memory_format(runner.model, cfg)
    if device == "cpu":
        runner.train_loop.dataloader = LockstepLoader(runner.train_loop.dataloader)
    if state.exists:
        runner.register_hook(ResumeHook(state))
    elif pretrained:
        runner.register_hook(PretrainedWeights(Path(pretrained)))
    runner.register_hook(SaveHook(state))
    runner.register_hook(ProgressHook())
    going_on = f", going on after epoch {state.read()['epoch']}" if state.exists else ""
    if runner.rank == 0:
        processes = f" in {runner.world_size} processes" if runner.world_size > 1 else ""
        print(f"training on {device}{processes}{going_on}", flush=True)
    try:
        runner.train()
    except KeyboardInterrupt:
        if runner.rank == 0:
            print(f"\ninterrupted in epoch {runner.epoch + 1}: `dvc repro` goes on from its start")
        sys.exit(130)
    return runner.message_hub.get_info("training_history")


@contextmanager
def only_training(lock_path: Path) -> Iterator[None]:
    """Held while training: one that DVC was killed over may still be running."""
    lock_path.parent.mkdir(exist_ok=True)
    lock = FileLock(lock_path)
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
