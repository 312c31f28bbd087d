"""Which images training draws, in which order and with which randomness, whatever the workers.

mmengine seeds each loader worker, so the number of workers decides an image's augmentation. Without
persistent workers, every epoch repeats the first one's augmentations. Here the randomness of a sample
comes from (seed, epoch, index) and nothing else.
"""

import hashlib
import random
from collections.abc import Iterator, Sized
from contextlib import contextmanager
from itertools import islice
from typing import Any

import numpy as np
import torch
from mmengine.dataset import DefaultSampler, default_collate
from mmengine.registry import FUNCTIONS
from mmpretrain.registry import DATA_SAMPLERS, DATASETS
from mmpretrain.structures import DataSample
from torch.utils.data import DataLoader, get_worker_info


@DATASETS.register_module()
class SeededDataset:
    """Any dataset, each sample drawn with its own randomness.

    EpochSampler numbers the samples over all epochs: index = epoch * len + position.
    """

    def __init__(self, dataset: dict, seed: int):
        self.dataset = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
        self.seed = seed

    @property
    def metainfo(self) -> dict:
        return self.dataset.metainfo

    def full_init(self) -> None:
        self.dataset.full_init()

    def labels(self) -> list[int]:
        """The class of each sample."""
        return [self.dataset.get_cat_ids(position)[0] for position in range(len(self))]

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict:
        epoch, position = divmod(index, len(self))
        with randomness(self.seed, epoch, position):
            return self.dataset[position]


@DATA_SAMPLERS.register_module()
class EpochSampler(DefaultSampler):
    """mmengine's DefaultSampler whose indices also tell SeededDataset the epoch.

    A last batch of a single image also gets the epoch's first image: batch normalisation over one image
    fails or learns from nothing.
    """

    def __init__(self, dataset: Sized, batch_size: int, **options):
        super().__init__(dataset, **options)
        self.alone = batch_size > 1 and self.num_samples % batch_size == 1

    def __len__(self) -> int:
        return self.num_samples + self.alone

    def __iter__(self) -> Iterator[int]:
        first = self.epoch * len(self.dataset)
        positions = list(super().__iter__())
        return iter([first + position for position in positions + positions[:1] * self.alone])


class LockstepLoader:
    """A DataLoader whose workers load at the same time, for a CPU that also trains.

    It takes as many batches at once as there are workers. A layer waits for its slowest thread. When all
    workers load at once they stall the threads once, not one after another.
    """

    def __init__(self, loader: DataLoader):
        self.loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[dict]:
        batches = iter(self.loader)
        while together := list(islice(batches, max(self.loader.num_workers, 1))):
            yield from together


@FUNCTIONS.register_module()
def collate_by_value(batch: list[dict]) -> dict:
    """mmengine's default_collate, but a worker sends the labels as numbers.

    Each label is a tensor, and torch would send each as shared memory, with a connection of its own.
    """
    collated = default_collate(batch)
    collated["data_samples"] = SamplesByValue(collated["data_samples"])
    return collated


class SamplesByValue(list):
    """DataSamples that are pickled without torch's shared memory; unpickled, a list."""

    def __reduce__(self):
        arrays = [{name: tensor.numpy() for name, tensor in sample.items()} for sample in self]
        return restored_samples, (arrays, [sample.metainfo for sample in self])


def restored_samples(arrays: list[dict], metainfos: list[dict]) -> list[DataSample]:
    samples = []
    for fields, metainfo in zip(arrays, metainfos, strict=True):
        sample = DataSample(metainfo=metainfo)
        for name, array in fields.items():
            sample.set_field(torch.from_numpy(array), name, dtype=torch.Tensor)
        samples.append(sample)
    return samples


def derived_seed(*numbers: int) -> int:
    """A 32-bit seed from several numbers, so that neighbouring seeds share no stream."""
    digest = hashlib.sha256("/".join(map(str, numbers)).encode()).digest()
    return int.from_bytes(digest[:4], "big")


def seed_all(seed: int) -> None:
    """The global generators of Python, NumPy and torch, on the CPU and, where CUDA is used, there."""
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():  # for later, torch.manual_seed would keep a stack trace each time
        torch.cuda.manual_seed_all(seed)


@contextmanager
def randomness(*numbers: int) -> Iterator[None]:
    """The global generators of Python, NumPy and torch (CPU) start from `numbers`, and are restored
    afterwards.

    Without restoring, loading in the main process (no workers) would disturb what dropout and mixup
    draw there. In a loader worker there is nothing to restore.
    """
    in_worker = get_worker_info() is not None
    states = None if in_worker else (random.getstate(), np.random.get_state(), torch.get_rng_state())
    seed = derived_seed(*numbers)
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        if states:
            random.setstate(states[0])
            np.random.set_state(states[1])
            torch.set_rng_state(states[2])
