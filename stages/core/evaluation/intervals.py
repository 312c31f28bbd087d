"""95 % intervals: by a formula for a share, by resampling the images for everything else."""

from collections.abc import Callable

import numpy as np

QUANTILE = 1.959963984540054
"""Of the normal distribution, for 95 %."""
RESAMPLES = 1000
SEED = 0


def wilson(hits: np.ndarray | int, of: np.ndarray | int) -> tuple[np.ndarray, np.ndarray]:
    """The bounds of a share of which `hits` in `of` were seen, in [0, 1]; NaN where `of` is 0.

    It holds for few images, and near 0 and 1. Wilson 1927,
    https://doi.org/10.1080/01621459.1927.10502953.
    """
    of = np.where(np.asarray(of) > 0, of, np.nan)
    share, z2 = hits / of, QUANTILE**2 / of
    centre = (share + z2 / 2) / (1 + z2)
    half = np.sqrt(z2 * (share * (1 - share) + z2 / 4)) / (1 + z2)
    return np.maximum(centre - half, 0), np.minimum(centre + half, 1)


def bootstrap(statistic: Callable[[np.ndarray], np.ndarray | float], num_images: int) -> np.ndarray:
    """The bounds of a statistic, (2, ...); NaN where every resample gives NaN.

    statistic: of the positions of `num_images` images, some of them several times. The resamples are the
    same in every run. Efron 1979, https://doi.org/10.1214/aos/1176344552, percentiles.
    """
    random = np.random.default_rng(SEED)
    drawn = (random.integers(num_images, size=num_images) for _ in range(RESAMPLES))
    values = np.array([statistic(images) for images in drawn])
    known = ~np.isnan(values).all(axis=0)
    bounds = np.full((2, *values.shape[1:]), np.nan)
    bounds[:, known] = np.nanquantile(values[:, known], (0.025, 0.975), axis=0)
    return bounds
