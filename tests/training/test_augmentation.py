"""Augmentations are those of MMPretrain and mmcv, and the same on any CPU."""

import numpy as np
import pytest
from conftest import REPO
from mmcv.transforms import RandomFlip
from mmpretrain.datasets.transforms import ColorJitter
from real_dvc import python

from stages.core.training.augmentation import ColorMatrixJitter, ContiguousFlip


def shades() -> np.ndarray:
    """(64, 64, 3) uint8 of colours that stay within 0 to 255 under a jitter of a fifth."""
    ramp = np.linspace(60, 150, 64)
    channels = [ramp[:, None] + 0 * ramp, ramp + 0 * ramp[:, None], (ramp[:, None] + ramp) / 2]
    return np.stack(channels, axis=2).astype(np.uint8)


@pytest.mark.parametrize("seed", range(8))
def test_colours_change_as_by_mmpretrains_jitter(seed):
    """Up to rounding: Pillow rounds down three times."""
    strengths = {"brightness": 0.2, "contrast": 0.2, "saturation": 0.2}
    drawn = []
    for jitter in (ColorJitter(**strengths), ColorMatrixJitter(**strengths)):
        np.random.seed(seed)
        drawn.append(jitter({"img": shades()})["img"].astype(int))
    assert -1 <= (drawn[1] - drawn[0]).min() <= (drawn[1] - drawn[0]).max() <= 3
    assert np.abs(drawn[1] - shades()).max() > 3


def test_an_image_is_mirrored_as_by_mmcv_and_is_contiguous():
    for transform in (RandomFlip, ContiguousFlip):
        for probability in (0.0, 1.0):
            flipped = transform(prob=probability)({"img": shades()})["img"]
            assert np.array_equal(flipped, shades()[:, ::-1] if probability else shades())
    assert flipped.flags.c_contiguous


def test_no_strength_leaves_the_colours_alone():
    assert np.array_equal(ColorMatrixJitter()({"img": shades()})["img"], shades())


JITTER = """
import hashlib, numpy as np
from stages.core.training.augmentation import ColorMatrixJitter
np.random.seed(0)
digest = hashlib.sha256()
for side in range(20, 120):
    image = np.random.randint(0, 256, (side, side + 7, 3), dtype=np.uint8)
    digest.update(ColorMatrixJitter(0.4, 0.4, 0.4)({"img": image})["img"].tobytes())
print(digest.hexdigest())
"""


@pytest.mark.slow
def test_a_cpu_without_vector_instructions_computes_the_same_colours():
    def digest(disabled: str) -> str:
        printed = python(REPO, "-c", JITTER, OPENCV_CPU_DISABLE=disabled)
        assert "unknown" not in printed
        return printed.split()[-1]

    assert digest("AVX512-SKX,AVX2,FMA3,FP16,AVX,SSE4.2,SSE4.1") == digest("")
