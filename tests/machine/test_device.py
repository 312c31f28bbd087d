"""What a stage does to its process does what it says."""

import sys

import pytest
from conftest import REPO
from real_dvc import python

FAULTS = """
import resource, sys, torch
from stages.core.machine.device import keep_freed_memory
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
