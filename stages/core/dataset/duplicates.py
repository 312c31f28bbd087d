"""Images that belong together: exact duplicates, near-duplicates, and groups."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from stages.core.dataset.sources import DatasetImage

CHAIN = 20
"""So many joined images are mentioned. With 3 bits the largest set has 2 images among 2,640 photos of
fruits, 3 among 1,797 scanned digits, but 1,232 among 6,000 silhouettes of 28 pixels. A comparison of
their pixels would not help: there, edits of one image differ as much as two images do."""


def grouping_keys(
    images: list[DatasetImage],
    near: list[tuple[int, int, int]],
    scenes: Iterable[tuple[int, int]] = (),
) -> list[str]:
    """A key for each image. Images that belong together have the same one, and stay in one split.

    near: what `near_pairs` returns for these images. scenes: pairs that show one scene. The key is the
    smallest group name or content hash among the images that belong together, so it does not depend on
    their order.
    """
    together = [(one, other) for one, other, _ in near]
    together += equal_pairs([image.pixels if image.class_name else "" for image in images])
    together += equal_pairs([image.group for image in images])
    together += scenes
    component_of = components(len(images), together)
    smallest: dict[int, str] = {}
    for component, image in zip(component_of, images, strict=True):
        name = image.group or image.sha256
        smallest[component] = min(smallest.get(component, name), name)
    return [smallest[component] for component in component_of]


def near_pairs(images: list[DatasetImage], bits: int) -> list[tuple[int, int, int]]:
    """(i, j, differing bits) for the near-duplicates among images; bits: 0 is off.

    Exact duplicates are compared once, by the first of them. Files in no class folder are left out.
    """
    if not bits:
        return []
    first: dict[str, int] = {}
    for index, image in enumerate(images):
        if image.pixels and image.class_name:
            first.setdefault(image.pixels, index)
    indices = list(first.values())
    looks = [images[index].look for index in indices]
    return [
        (indices[one], indices[other], differ) for one, other, differ in near_duplicates(looks, bits)
    ]


def near_duplicates(looks: list[str], bits: int) -> Iterator[tuple[int, int, int]]:
    """(i, j, differing bits), i < j, for perceptual hashes that differ in at most `bits` of 64 bits.

    Not all pairs are compared: two such hashes agree in at least one of bits + 1 bands, so comparing
    hashes that share a band misses none (pigeonhole). Of identical hashes each is paired with the first.
    """
    # identical hashes
    first: dict[str, int] = {}
    for index, look in enumerate(looks):
        if look in first:
            yield first[look], index, 0
        else:
            first[look] = index
    if bits == 0:
        return

    # the bands: bits + 1 masks that together cover all 64 bits
    indices = np.array(list(first.values()), dtype=np.int64)  # (N,)
    values = np.array([int(look, 16) for look in first], dtype=np.uint64)  # (N,)
    edges = np.linspace(0, 64, bits + 2).astype(int).tolist()
    masks = [np.uint64(2**high - 2**low) for low, high in zip(edges[:-1], edges[1:], strict=True)]

    # compare the hashes that share a band
    for number, mask in enumerate(masks):
        band = values & mask
        order = np.argsort(band, kind="stable")
        for bucket in np.split(order, np.flatnonzero(np.diff(band[order])) + 1):
            for position, one in enumerate(bucket[:-1]):
                others = bucket[position + 1 :]
                differing = values[others] ^ values[one]
                distances = np.bitwise_count(differing)
                near = distances <= bits
                for earlier in masks[:number]:  # pairs that share an earlier band are found already
                    near &= differing & earlier != 0
                for at in np.flatnonzero(near):
                    yield *sorted((int(indices[one]), int(indices[others[at]]))), int(distances[at])


def chains(count: int, near: list[tuple[int, int, int]]) -> list[list[int]]:
    """The sets of CHAIN images or more, of `count`, that near-duplicates of near-duplicates join."""
    members: dict[int, list[int]] = defaultdict(list)
    for index, component in enumerate(components(count, [(one, other) for one, other, _ in near])):
        members[component].append(index)
    return sorted((some for some in members.values() if len(some) >= CHAIN), key=len, reverse=True)


def components(count: int, pairs: Iterable[tuple[int, int]]) -> list[int]:
    """A number for each of `count` items, the same for items that the pairs connect."""
    edges = np.array(list(pairs), dtype=np.int32).reshape(-1, 2)
    graph = coo_array((np.ones(len(edges), dtype=np.int8), edges.T), shape=(count, count))
    return connected_components(graph, directed=False)[1].tolist()


def equal_pairs(values: list[Hashable]) -> Iterator[tuple[int, int]]:
    """(first, later) for equal values; empty values are equal to none."""
    first: dict[Hashable, int] = {}
    for index, value in enumerate(values):
        if value:
            if value in first:
                yield first[value], index
            else:
                first[value] = index
