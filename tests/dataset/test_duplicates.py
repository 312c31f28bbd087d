"""Look-alikes are all found, without comparing all with all."""

import random

from stages.core.dataset.duplicates import components, equal_pairs, look_alikes


def test_every_pair_within_the_limit_is_found_as_by_comparing_all():
    draw = random.Random(0)
    values = [draw.getrandbits(64) for _ in range(60)]
    for value in values[:30]:
        for _ in range(3):
            changed = value
            for bit in draw.sample(range(64), draw.randint(0, 6)):
                changed ^= 1 << bit
            values.append(changed)
    looks = [f"{value:016x}" for value in values]
    for bits in (1, 3, 5, 8):
        pairs = [(i, j) for i, j, _ in look_alikes(looks, bits)]
        assert len(set(pairs)) == len(pairs)
        found = {(i, j): d for i, j, d in look_alikes(looks, bits) if d > 0}
        expected = {}
        for j, other in enumerate(values):
            for i, one in enumerate(values[:j]):
                distance = (one ^ other).bit_count()
                first = values.index(one) == i and values.index(other) == j
                if 0 < distance <= bits and first:
                    expected[i, j] = distance
        assert found == expected and expected


def test_equal_looks_are_paired_with_the_first():
    looks = ["00" * 8, "ff" * 8, "00" * 8, "00" * 8]
    assert list(look_alikes(looks, 0)) == [(0, 2, 0), (0, 3, 0)]


def test_components_are_named_by_their_smallest_member():
    assert components(7, [(5, 6), (1, 3), (3, 5)]) == [0, 1, 2, 1, 4, 1, 1]


def test_empty_values_are_equal_to_none():
    assert list(equal_pairs(["", "x", "", "x", "y"])) == [(1, 3)]
