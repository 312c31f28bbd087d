"""Pictures that belong together: exact duplicates, look-alikes, and groups."""

from collections.abc import Hashable, Iterable, Iterator

import numpy as np


def look_alikes(looks: list[str], bits: int) -> Iterator[tuple[int, int, int]]:
    """(i, j, differing bits), i < j, for perceptual hashes that differ in at most `bits` of 64 bits.

    Not all pairs are compared: two such hashes agree in at least one of bits + 1 bands, so comparing
    hashes that share a band misses none (pigeonhole). Of identical hashes each is paired with the first.
    """
    first: dict[str, int] = {}
    for index, look in enumerate(looks):
        if look in first:
            yield first[look], index, 0
        else:
            first[look] = index
    if bits == 0:
        return
    indices = np.array(list(first.values()), dtype=np.int64)  # (N,)
    values = np.array([int(look, 16) for look in first], dtype=np.uint64)  # (N,)
    edges = np.linspace(0, 64, bits + 2).astype(int).tolist()
    masks = [np.uint64(2**high - 2**low) for low, high in zip(edges[:-1], edges[1:], strict=True)]
    for number, mask in enumerate(masks):
        band = values & mask
        order = np.argsort(band, kind="stable")
        for bucket in np.split(order, np.flatnonzero(np.diff(band[order])) + 1):
            for position, one in enumerate(bucket[:-1]):
                others = bucket[position + 1 :]
                differing = values[others] ^ values[one]
                distances = np.bitwise_count(differing)
                near = distances <= bits
                for earlier in masks[:number]:  # pairs that share one of these are found already
                    near &= differing & earlier != 0
                for at in np.flatnonzero(near):
                    yield *sorted((int(indices[one]), int(indices[others[at]]))), int(distances[at])


def components(count: int, pairs: Iterable[tuple[int, int]]) -> list[int]:
    """For each of `count` items the smallest item that it is connected with."""
    parent = list(range(count))

    def root(item: int) -> int:
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    for one, other in pairs:
        low, high = sorted((root(one), root(other)))
        parent[high] = low
    return [root(item) for item in range(count)]


def equal_pairs(values: list[Hashable]) -> Iterator[tuple[int, int]]:
    """(first, later) for equal values; empty ones are equal to none."""
    first: dict[Hashable, int] = {}
    for index, value in enumerate(values):
        if value:
            if value in first:
                yield first[value], index
            else:
                first[value] = index
