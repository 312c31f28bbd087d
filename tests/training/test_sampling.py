"""A sample's randomness comes from seed, epoch and index: no loader worker changes it."""

import hashlib
import random
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch
from conftest import draw_image
from mmengine.registry import DefaultScope
from mmpretrain.structures import DataSample
from torch.utils.data import DataLoader

import stages.core.images.loading  # noqa: F401 (registers ListedImages)
from stages.core.images.lists import ListedImage, write_list
from stages.core.training.hooks import balanced_weights
from stages.core.training.linear_probe import shown_positions
from stages.core.training.sampling import (
    EpochSampler,
    LockstepLoader,
    SamplesByValue,
    SeededDataset,
    derived_seed,
    randomness,
)


class Drawn:
    """A dataset whose samples are drawn from the three generators."""

    metainfo = {}

    def full_init(self):
        pass

    def __len__(self):
        return 10

    def __getitem__(self, position):
        return position, random.random(), float(np.random.rand()), float(torch.rand(()))


def epochs(workers: int, persistent: bool = False, seed: int = 0) -> list[list]:
    dataset = SeededDataset(Drawn(), seed=seed)
    sampler = EpochSampler(dataset, batch_size=3, shuffle=True, seed=0)
    loader = DataLoader(
        dataset,
        batch_size=3,
        sampler=sampler,
        num_workers=workers,
        persistent_workers=persistent,
        collate_fn=list,
    )
    drawn = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        drawn.append([sample for batch in loader for sample in batch])
    return drawn


@pytest.mark.parametrize(("workers", "persistent"), [(1, False), (2, False), (2, True), (3, True)])
def test_the_number_of_workers_changes_nothing(workers, persistent):
    assert epochs(workers, persistent) == epochs(0)


class Handed:
    """A loader of five batches that records which it has handed out."""

    num_workers, sampler = 2, "its sampler"

    def __init__(self):
        self.out = []

    def __len__(self):
        return 5

    def __iter__(self):
        for batch in range(5):
            self.out.append(batch)
            yield batch


def test_a_batch_is_taken_from_each_worker_before_the_first_is_trained_on():
    loader = LockstepLoader(Handed())
    out = [(batch, list(loader.out)) for batch in loader]
    assert out == [
        (0, [0, 1]),
        (1, [0, 1]),
        (2, [0, 1, 2, 3]),
        (3, [0, 1, 2, 3]),
        (4, [0, 1, 2, 3, 4]),
    ]
    assert len(loader) == 5 and loader.sampler == "its sampler"


def test_without_workers_each_batch_is_loaded_when_it_is_needed():
    loader = LockstepLoader(Handed())
    loader.loader.num_workers = 0
    assert [(batch, list(loader.out)) for batch in loader][1] == (1, [0, 1])


def test_samples_come_from_a_worker_as_they_were_without_shared_memory():
    samples = [
        DataSample(metainfo={"img_path": f"{label}.jpg"}).set_gt_label(label).set_gt_score([0.0, 1.0])
        for label in (3, 0)
    ]
    sent = bytes(ForkingPickler.dumps(SamplesByValue(samples)))
    for _ in range(2):  # shared memory is received once
        received = ForkingPickler.loads(sent)
        assert [sample.gt_label.tolist() for sample in received] == [[3], [0]]
        assert [sample.gt_score.tolist() for sample in received] == [[0.0, 1.0]] * 2
        assert [sample.img_path for sample in received] == ["3.jpg", "0.jpg"]


def test_epochs_images_and_seeds_differ():
    first, second, third = epochs(0)
    drawn = [sample[1:] for epoch in (first, second, third) for sample in epoch]
    assert len(set(drawn)) == 30  # 3 epochs of 10
    assert {s[0] for s in second} == set(range(10)) and first != second
    assert not {s[1] for s in epochs(0, seed=1)[0]} & {s[1] for s in first}


def test_loading_leaves_the_process_own_generators_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    with randomness(1, 2):
        torch.rand(3)
    assert torch.equal(torch.rand(1), expected)


def test_neighbouring_numbers_give_unrelated_seeds():
    seeds = {derived_seed(a, b) for a in range(30) for b in range(30)}
    assert len(seeds) == 900 and derived_seed(1, 23) != derived_seed(12, 3)


def test_rare_classes_are_repeated_with_other_augmentations(tmp_path):
    labels = [0] * 9 + [1]
    images = []
    for number, label in enumerate(labels):
        sha256 = hashlib.sha256(draw_image(tmp_path / f"{number}.png", number).read_bytes()).hexdigest()
        images.append(ListedImage(f"{number}.png", label, sha256))
    write_list(tmp_path / "l.txt", images)
    listed = dict(
        type="ListedImages", data_root=str(tmp_path), ann_file="l.txt", metainfo={"classes": ["a", "b"]}
    )
    listed["pipeline"] = [dict(type="LoadImage"), dict(type="RandomResizedCrop", scale=8)]
    balanced = dict(type="ClassBalancedDataset", dataset=listed, oversample_thr=0.4)
    with DefaultScope.overwrite_default_scope("mmpretrain"):  # as the Runner does
        dataset = SeededDataset(balanced, seed=0)
    # repeat factor sqrt(0.4 / 0.1) = 2
    assert dataset.labels() == [0] * 9 + [1, 1]
    assert shown_positions(dataset) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9]
    assert shown_positions(SeededDataset(dataset.dataset.dataset, seed=0)) == list(range(10))
    assert not np.array_equal(dataset[9]["img"], dataset[10]["img"])


def test_balanced_weights_are_the_inverse_of_the_share():
    # 8 images, 2 classes: 8 / (2 * 6) and 8 / (2 * 2)
    assert balanced_weights([0] * 6 + [1] * 2, 2) == pytest.approx([2 / 3, 2.0])
    assert balanced_weights([0, 0], 2) == [0.5, 1.0]


@pytest.mark.parametrize(
    ("images", "batch_size", "batches"),
    [(9, 4, [4, 4, 2]), (8, 4, [4, 4]), (10, 4, [4, 4, 2]), (3, 1, [1, 1, 1]), (1, 4, [2])],
)
def test_a_last_batch_of_one_image_also_gets_the_first_image(images, batch_size, batches):
    dataset = SeededDataset([(n,) for n in range(images)], seed=0)
    sampler = EpochSampler(dataset, batch_size=batch_size, shuffle=True, seed=0)
    loader = DataLoader(dataset, batch_size=batch_size, sampler=sampler, collate_fn=list)
    seen = [[sample[0] for sample in batch] for batch in loader]
    assert [len(batch) for batch in seen] == batches and len(loader) == len(batches)
    flat = [position for batch in seen for position in batch]
    assert set(flat) == set(range(images))
    if len(flat) > images:
        assert flat[-1] == flat[0]
