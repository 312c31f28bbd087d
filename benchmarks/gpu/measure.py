"""How fast training is on a GPU: against bare steps, and against loading the images alone.

    python benchmarks/gpu/measure.py
    python benchmarks/gpu/measure.py --model resnet50_8xb32_in1k --size 224 --batch 128 --precision bf16

Prints a row of results.md, in images a second: the epochs of the train stage (loading, augmentation and
hooks included, validation not), the network's bare steps on a batch in the GPU's memory, and the loader
without a network. In one process, an epoch of each in turn; the first of each does not count.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "training")]

from projects import copy_project, pixels, run, set_params  # noqa: E402

IN_PROJECT = "IN_PROJECT"


def main(arguments: argparse.Namespace) -> None:
    """Make a project to measure in, and measure there, so that the stage's code is that project's."""
    with tempfile.TemporaryDirectory() as scratch:
        project = Path(scratch) / "project"
        copy_project(project)
        train = {"epochs": arguments.epochs, "batch_size": arguments.batch, "strategy": "finetune"}
        changes = {
            "sample": {"images_per_class": arguments.images},
            "image": pixels(arguments.size),
            "train": train | {"precision_cuda": arguments.precision},
            "runtime": {"device": "cuda", "workers": arguments.workers},
        }
        if arguments.model:
            changes["weights"] = {"source": "none", "model": arguments.model}
        set_params(project, changes)
        run(project, "make_sample", "fetch_weights", "prepare_dataset", "render_config")
        environment = os.environ | {IN_PROJECT: "1", "PYTHONWARNINGS": "ignore"}
        command = [sys.executable, __file__, *sys.argv[1:]]
        subprocess.run(command, cwd=project, env=environment, check=True)


def measure(arguments: argparse.Namespace) -> None:
    sys.path.insert(0, os.getcwd())
    import torch
    from bare import bare_step

    import stages.train

    class Clock(stages.train.ProgressHook):
        stage: list[float] = []
        bare: list[float] = []
        loading: list[float] = []

        def before_train(self, runner):
            self.step = bare_step(runner.cfg, "cuda", arguments.precision)

        def before_train_epoch(self, runner):
            super().before_train_epoch(runner)
            torch.cuda.synchronize()
            self.start, self.images = time.perf_counter(), 0

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            super().after_train_iter(runner, batch_idx, data_batch, outputs)
            self.images += len(data_batch["data_samples"])

        def after_train_epoch(self, runner):
            super().after_train_epoch(runner)
            torch.cuda.synchronize()
            self.stage.append(self.images / (time.perf_counter() - self.start))
            start = time.perf_counter()
            for _ in runner.train_dataloader:
                pass
            self.loading.append(self.images / (time.perf_counter() - start))
            start, steps = time.perf_counter(), 50
            for _ in range(steps):
                self.step()
            torch.cuda.synchronize()
            self.bare.append(steps * arguments.batch / (time.perf_counter() - start))

    stages.train.ProgressHook = Clock
    stages.train.main()
    rates = [statistics.median(rates[1:]) for rates in (Clock.stage, Clock.bare, Clock.loading)]
    name = arguments.model or "efficientnet_lite0"
    row = [f"{name}, {arguments.size} px, batch {arguments.batch}, {arguments.precision}"]
    row += [f"{arguments.workers}", *(f"{rate:.0f}" for rate in rates)]
    row += [f"{rates[0] / min(rates[1:]):.2f}", f"{torch.cuda.max_memory_allocated() / 1e9:.1f}"]
    print(f"({torch.cuda.get_device_name()}, torch {torch.__version__})")
    print("|", " | ".join(row), "|", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="", help="one of MMPretrain's, from random weights")
    parser.add_argument("--size", type=int, default=128, help="pixels")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--images", type=int, default=200, help="of each of 12 classes")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--precision", choices=["fp32", "bf16", "fp16"], default="fp32")
    (measure if IN_PROJECT in os.environ else main)(parser.parse_args())
