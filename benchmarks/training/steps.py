"""Pictures a second of the train stage's steps, loading and hooks included: the median of its epochs but
the first.

    python benchmarks/training/steps.py

Run in a project with a rendered config.
"""

import os
import statistics
import sys
import time

sys.path.insert(0, os.getcwd())

import stages.train  # noqa: E402


class Clock(stages.train.EpochLines):
    epochs: list[float] = []

    def before_train_epoch(self, runner):
        super().before_train_epoch(runner)
        self.start, self.pictures = time.perf_counter(), 0

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        super().after_train_iter(runner, batch_idx, data_batch, outputs)
        self.pictures += len(data_batch["data_samples"])

    def after_train_epoch(self, runner):
        super().after_train_epoch(runner)
        self.epochs.append(self.pictures / (time.perf_counter() - self.start))


if __name__ == "__main__":
    stages.train.EpochLines = Clock
    stages.train.main()
    print("pictures a second:", statistics.median(Clock.epochs[1:]))
