"""Images a second of the train stage against the network's bare steps, in one process.

    python benchmarks/training/steps.py

Run in a project with a rendered config. Between two epochs of the stage (loading, augmentation and hooks
included, validation not) as many bare steps are taken, with the same threads, kernels and memory format.
An epoch is compared with the mean of those before and after it, so that a machine that becomes slower
meanwhile changes little. The first epoch, which decodes the images, does not count.
"""

import os
import statistics
import sys
import time
from itertools import pairwise

sys.path.insert(0, os.getcwd())

from bare import bare_step  # noqa: E402

import stages.train  # noqa: E402


class Clock(stages.train.ProgressHook):
    loaded: list[float] = []
    bare: list[float] = []

    def before_train(self, runner):
        self.step = bare_step(runner.cfg)
        self.steps, self.batch = len(runner.train_dataloader), runner.cfg.train_dataloader.batch_size

    def before_train_epoch(self, runner):
        super().before_train_epoch(runner)
        self.start, self.images = time.perf_counter(), 0

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        super().after_train_iter(runner, batch_idx, data_batch, outputs)
        self.images += len(data_batch["data_samples"])

    def after_train_epoch(self, runner):
        super().after_train_epoch(runner)
        self.loaded.append(self.images / (time.perf_counter() - self.start))
        start = time.perf_counter()
        for _ in range(self.steps):
            self.step()
        self.bare.append(self.steps * self.batch / (time.perf_counter() - start))


def main() -> None:
    stages.train.ProgressHook = Clock
    stages.train.main()
    ratios = [
        loaded * (1 / before + 1 / after) / 2
        for loaded, (before, after) in zip(Clock.loaded[1:], pairwise(Clock.bare), strict=True)
    ]
    low, middle, high = statistics.quantiles(ratios)
    rates = f"{statistics.median(Clock.loaded[1:]):.1f} | {statistics.median(Clock.bare):.1f}"
    print(f"{len(ratios)} epochs | {rates} | {middle:.2f} ({low:.2f} to {high:.2f}) |")


if __name__ == "__main__":
    main()
