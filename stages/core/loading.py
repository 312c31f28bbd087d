"""How the rendered config reads pictures: our list files, and randomness that no worker can change.

mmengine seeds each loader worker, so the number of workers decides which augmentation a picture gets,
and without persistent workers every epoch repeats the first one's. Here the randomness of a sample
comes from (seed, epoch, index) and nothing else.
"""

import hashlib
import os.path as osp
import random
from collections.abc import Iterator, Sized
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform, RandomFlip
from mmengine.dataset import DefaultSampler, default_collate
from mmengine.registry import FUNCTIONS
from mmpretrain.datasets import CustomDataset
from mmpretrain.datasets.transforms import ColorJitter
from mmpretrain.registry import DATA_SAMPLERS, DATASETS, TRANSFORMS
from mmpretrain.structures import DataSample
from torch.utils.data import DataLoader, get_worker_info

from stages.core.decoding import decode
from stages.core.lists import read_list
from stages.core.picture_store import PictureStore


@TRANSFORMS.register_module()
class LoadPicture(BaseTransform):
    """A file as (H, W, 3) uint8 BGR, which MMPretrain's transforms expect, by decoding.py's rule.

    reduce: the short side that a larger picture is first reduced to, in pixels; 0 is off. What is then
    seen is kept in the folder `store`, where one is given, up to `store_gb`: what comes from there
    is what decoding gives, only sooner. writers: processes that fill the store at the same time.
    """

    def __init__(self, reduce: int = 0, store: str = "", store_gb: float = 0.0, writers: int = 1):
        self.reduce = reduce
        kept = store and reduce and store_gb
        self.store = PictureStore(Path(store), reduce, store_gb, writers) if kept else None

    def transform(self, results: dict) -> dict:
        if "img" in results:  # MMPretrain's own inferencer has read it
            return results
        sha256 = results.get("sha256")
        picture = self.store.get(sha256) if self.store and sha256 else None
        if picture is None:
            path = results["img_path"]
            content = Path(path).read_bytes()
            if sha256 and hashlib.sha256(content).hexdigest() != sha256:
                raise ValueError(f"{path} is another picture than the one listed: run `dvc repro`.")
            try:
                rgb = decode(content, self.reduce)
            except ValueError as error:
                raise ValueError(f"{path} {error}.") from error
            picture = np.asarray(rgb)[:, :, ::-1].copy()
            if self.store and sha256:
                self.store.put(sha256, picture)
        results["img"] = picture
        results["img_shape"] = results["ori_shape"] = picture.shape[:2]
        return results


@TRANSFORMS.register_module()
class ContiguousFlip(RandomFlip):
    """MMPretrain's RandomFlip, with its pixels in memory in the order of the mirrored picture.

    A view in reverse is read pixel by pixel by all that follows: six times as long for the colours.
    """

    def transform(self, results: dict) -> dict:
        results = super().transform(results)
        if results["flip"]:
            results["img"] = cv2.flip(results["img"][:, ::-1], 1)
        return results


GREY = np.array([0.114, 0.587, 0.299])
"""What blue, green and red weigh in a picture's grey (ITU-R BT.601, as in Pillow)."""


@TRANSFORMS.register_module()
class ColorMatrixJitter(ColorJitter):
    """MMPretrain's ColorJitter, with the same draws, as one matrix: a tenth of its time.

    Each change is affine in a pixel's colour, so their product is, too: one rounding in place of three.
    OpenCV computes it in integers, so that every CPU gives the same pixels.
    """

    def __init__(self, brightness: float = 0.0, contrast: float = 0.0, saturation: float = 0.0):
        super().__init__(brightness, contrast, saturation)

    def transform(self, results: dict) -> dict:
        picture = results["img"]
        order, brightness, contrast, saturation, _ = self._rand_params()
        if brightness is contrast is saturation is None:
            return results
        mean = np.array([*cv2.mean(picture)[:3], 1.0])
        total = np.eye(3, 4)  # linear part and offset
        for change in order:
            if change == 0 and brightness is not None:
                total *= brightness
            elif change == 1 and contrast is not None:
                grey = GREY @ total @ mean
                total *= contrast
                total[:, 3] += (1 - contrast) * grey
            elif change == 2 and saturation is not None:
                total = saturation * total + (1 - saturation) * (GREY @ total)
        results["img"] = cv2.transform(picture, total)
        return results


@DATASETS.register_module()
class ListedImages(CustomDataset):
    """MMPretrain's CustomDataset over a list file that carries content hashes (stages/core/lists.py)."""

    def load_data_list(self) -> list[dict]:
        return [
            {
                "img_path": osp.join(self.data_root, image.path),
                "gt_label": image.label,
                "listed_path": image.path,
                "sha256": image.sha256,
            }
            for image in read_list(Path(self.ann_file))
        ]


@DATASETS.register_module()
class SeededDataset:
    """Any dataset, each sample drawn with its own randomness.

    An index counts on over the epochs, as EpochSampler gives it: epoch * len + position.
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

    A last batch of one picture gets the epoch's first one beside it: batch normalisation over a single
    picture fails, or, where it does not, learns from nothing.
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


class LoadedTogether:
    """A DataLoader of which as many batches are taken at once as it has workers, for a CPU that trains.

    Each worker then loads its next one at the same time as the others. The threads that compute a layer
    wait for the one that a worker interrupts, so interruptions cost less where they coincide.
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
    """mmengine's default_collate, of which a worker sends the labels as numbers.

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
    """The global generators of Python, NumPy and torch (CPU) start from `numbers`; restored after.

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
