"""What loading costs training, by the priority of the loader's workers, in one process.

    python benchmarks/training/loading.py
    python benchmarks/training/loading.py --pairs 14 --priorities same "nice 10" idle

Half an epoch with loading stands between two on one batch in memory, again and again, so that a machine
that becomes slower meanwhile changes little; the workers of the other loaders are stopped. Prints the
median and the quartiles of the ratios of pictures a second. Needs what `dvc repro` makes.
"""

import argparse
import os
import signal
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice, repeat
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO))

import torch  # noqa: E402
from bare import network  # noqa: E402
from mmengine.config import Config  # noqa: E402
from mmengine.optim import build_optim_wrapper  # noqa: E402
from mmengine.runner import Runner  # noqa: E402
from mmpretrain.utils import register_all_modules  # noqa: E402

from stages.core.layout import Layout  # noqa: E402
from stages.core.params import load_params  # noqa: E402
from stages.core.runtime import keep_freed_memory, place, read_config, use_kernels  # noqa: E402


def policy(number: int) -> Callable[[int], None]:
    return lambda worker: os.sched_setscheduler(0, number, os.sched_param(0))


def behind(nice: int) -> Callable[[int], None]:
    return lambda worker: os.nice(nice)


PRIORITIES = {
    "same": behind(0),
    "nice 5": behind(5),
    "nice 10": behind(10),
    "nice 19": behind(19),
    "batch": policy(os.SCHED_BATCH),
    "idle": policy(os.SCHED_IDLE),
}
"""What a worker does to its own priority when it starts; `nice 10` is what the stages take."""


class Batches:
    """The training batches without end, and a way to stop the workers that load them."""

    def __init__(self, cfg: Config, priority: Callable[[int], None]):
        cfg.train_dataloader.worker_init_fn = dict(type=priority)
        self.loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
        self.batches = self.endless()
        self.first = next(self.batches)  # starts the workers
        self.send(signal.SIGSTOP)

    def endless(self) -> Iterator[dict]:
        epoch = 0
        while True:
            self.loader.sampler.set_epoch(epoch)
            yield from self.loader
            epoch += 1

    def send(self, number: int) -> None:
        for worker in self.loader._iterator._workers:
            os.kill(worker.pid, number)


def main(pairs: int, names: list[str]) -> None:
    layout = Layout(REPO)
    cfg = place(read_config(layout.rendered_config), REPO, load_params(layout.params).runtime, "cpu")
    use_kernels(cfg, "cpu")
    keep_freed_memory()
    torch.use_deterministic_algorithms(True)

    register_all_modules()
    model = network(cfg)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    loaders = {name: Batches(cfg, PRIORITIES[name]) for name in names}
    some = loaders[names[0]]
    batch, half = some.first, len(some.loader) // 2

    def rate(batches: Iterator[dict]) -> float:
        pictures, start = 0, time.perf_counter()
        for data in islice(batches, half):
            model.train_step(data, wrapper)
            pictures += len(data["inputs"])
        return pictures / (time.perf_counter() - start)

    def rate_of(source: Batches) -> float:
        source.send(signal.SIGCONT)
        loaded = rate(source.batches)
        source.send(signal.SIGSTOP)
        return loaded

    for source in loaders.values():  # keeps the decoded pictures, and fills the queues
        rate_of(source)
    ratios = {name: [] for name in names}
    before = rate(repeat(batch))
    for _ in range(pairs):
        for name, source in loaders.items():
            loaded, after = rate_of(source), rate(repeat(batch))
            ratios[name].append(loaded * (1 / before + 1 / after) / 2)
            before = after
    for name, values in ratios.items():
        low, middle, high = statistics.quantiles(values)
        print(f"| {name} | {middle:.2f} ({low:.2f} to {high:.2f}) |")
    for source in loaders.values():
        source.send(signal.SIGCONT)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=14)
    parser.add_argument("--priorities", nargs="+", choices=list(PRIORITIES), default=["nice 10"])
    arguments = parser.parse_args()
    main(arguments.pairs, arguments.priorities)
