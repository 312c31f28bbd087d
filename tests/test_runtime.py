"""What a stage does to its process does what it says."""

import os
import sys

import pytest
from conftest import REPO
from mmengine.config import Config
from mmengine.runner import Runner
from real_dvc import python

from stages.core.params import load_params
from stages.core.runtime import place

FAULTS = """
import resource, sys, torch
from stages.core.runtime import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
def fill():
    torch.ones(1 << 24)  # 64 MB
fill()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    fill()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc")
def test_the_memory_of_a_freed_tensor_serves_the_next_one():
    def faults(word: str) -> int:
        return int(python(REPO, "-c", FAULTS, word))

    assert 2 * faults("keep") < faults("leave")


SAMPLER = {"type": "DefaultSampler", "shuffle": False}


class Priorities:
    """A data set of the nice values of the processes that read it."""

    def __len__(self):
        return 3

    def __getitem__(self, position):
        return os.nice(0)


@pytest.mark.parametrize(("device", "behind"), [("cpu", 10), ("cuda", 0)])
def test_loader_workers_give_way_to_training_on_the_same_cpu(tmp_path, device, behind):
    cfg = Config.fromfile(REPO / "configs/finetune.py")
    runtime = load_params(REPO / "params.yaml").runtime
    loader = place(cfg, tmp_path, runtime, device).train_dataloader
    loader.dataset, loader.sampler, loader.batch_size = Priorities(), SAMPLER, 1
    values = [int(batch) for batch in Runner.build_dataloader(loader, seed=0)]
    assert values == [os.nice(0) + behind] * 3
