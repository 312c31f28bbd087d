"""Images that show one scene: of one class, with features like those of a leader.

Images come in the order of their content hash. One joins the first leader that is as near as asked, by
the cosine of the centred features, or becomes one. Then groups with images that are nearly alike are
joined, as neighbours are parted where one group ends and the next begins. benchmarks/scenes/results.md
compares this with linkage. Everything is computed in whole numbers, whose sums are exact in any order:
the scenes are the same on any CPU.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

STEPS = 1 << 12
"""Steps of a feature that is rounded before it is centred."""
LENGTH = 4000
"""Of the centred vectors. A sum of their products stays below 2^24, where float32 is exact."""
BLOCK = 512
"""Images that are compared with all leaders, or with another block, at once."""


def scene_pairs(
    classes: Sequence[str], hashes: Sequence[str], features: np.ndarray, cosine: float
) -> Iterator[tuple[int, int]]:
    """(first image of the scene, image) for each image that is not the first itself.

    classes, hashes: of each image. features: (N, D) float16. cosine: at least that of a leader and its
    images. Two images of a class whose cosine is at least half-way from there to 1 are in one scene.
    """
    total = np.zeros(features.shape[1], np.int64)
    for row in features:
        total += rounded(row)
    mean = total / max(len(features), 1)

    members: dict[str, list[int]] = defaultdict(list)
    for index in sorted(range(len(hashes)), key=hashes.__getitem__):
        members[classes[index]].append(index)
    for indices in members.values():
        directions = np.stack([direction(features[index], mean) for index in indices])
        for image, first in enumerate(joined(directions, leaders(directions, cosine), (1 + cosine) / 2)):
            if first != image:
                yield indices[first], indices[image]


def rounded(features: np.ndarray) -> np.ndarray:
    """As whole numbers, (D,) int64."""
    return np.rint(features.astype(np.float64) * STEPS).astype(np.int64)


def direction(features: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """The centred features with the length LENGTH, as whole numbers: (D,) int16."""
    centred = np.rint(rounded(features) - mean).astype(np.int64)
    length = np.sqrt(np.float64(np.sum(centred * centred))) or 1.0
    return np.rint(centred / length * LENGTH).astype(np.int16)


def leaders(directions: np.ndarray, cosine: float) -> list[int]:
    """The leader of each of (N, D) directions: an image before it, or itself."""
    nearest = cosine * LENGTH**2
    found: list[int] = []
    leader_of: list[int] = []
    for start in range(0, len(directions), BLOCK):
        block = directions[start : start + BLOCK].astype(np.float32)
        # the leaders of earlier blocks, then those that this block adds
        near = block @ directions[found].astype(np.float32).T >= nearest
        within = block @ block.T >= nearest
        added: list[int] = []
        for at in range(len(block)):
            if near[at].any():
                leader_of.append(found[int(near[at].argmax())])
                continue
            first = next((other for other in added if within[at, other]), at)
            if first == at:
                added.append(at)
            leader_of.append(start + first)
        found += [start + at for at in added]
    return leader_of


def joined(directions: np.ndarray, leader_of: list[int], cosine: float) -> list[int]:
    """The first leader of each image, once groups with a pair of images at least that alike are one.

    directions: (N, D). leader_of: what `leaders` returns for them.
    """
    count = len(directions)
    leader = np.array(leader_of)
    pairs = {(image, first) for image, first in enumerate(leader_of)}
    for start in range(0, count, BLOCK):
        rows = directions[start : start + BLOCK].astype(np.float32)
        for other in range(0, start + 1, BLOCK):
            columns = directions[other : other + BLOCK].astype(np.float32)
            one, two = np.nonzero(rows @ columns.T >= cosine * LENGTH**2)
            both = leader[start + one] * count + leader[other + two]
            pairs |= {divmod(pair, count) for pair in np.unique(both).tolist()}
    one, two = np.array(sorted(pairs)).reshape(-1, 2).T
    graph = coo_array((np.ones(len(one), np.int8), (one, two)), shape=(count, count))
    component_of = connected_components(graph, directed=False)[1]
    _, first = np.unique(component_of, return_index=True)
    return first[component_of].tolist()
