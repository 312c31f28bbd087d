"""As many threads compute as the config says, or the run is refused: fewer would wait for ever."""

import os
import subprocess
import sys

import pytest
from conftest import REPO

COMPUTE = """
import torch
from stages.core.machine.threads import use_threads
use_threads(2)
layers = torch.nn.Sequential(torch.nn.Conv2d(3, 32, 3), torch.nn.Conv2d(32, 32, 3, groups=32))
layers(torch.ones(8, 3, 64, 64)).sum().backward()
print(torch.get_num_threads(), "threads")
"""


def computed(**variables: str) -> str:
    """What a process prints that computes with two threads in this environment."""
    return subprocess.run(
        [sys.executable, "-c", COMPUTE],
        cwd=REPO,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_fewer_threads_on_a_busy_machine_or_in_no_level_are_not_taken():
    done = computed(OMP_DYNAMIC="TRUE", OMP_MAX_ACTIVE_LEVELS="0", OMP_THREAD_LIMIT="2")
    assert done.stdout == "2 threads\n", done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("count", ["abc", "1000"])
def test_the_number_of_threads_in_the_environment_decides_nothing(count):
    done = computed(OMP_NUM_THREADS=count, MKL_NUM_THREADS=count)
    assert done.stdout == "2 threads\n", done.stderr


def test_a_limit_below_the_number_of_threads_is_refused():
    done = computed(OMP_THREAD_LIMIT="1")
    assert done.returncode and "OMP_THREAD_LIMIT allows 1 threads" in done.stderr, done.stderr
