"""All near-duplicates are found without comparing every pair."""

import random
from pathlib import Path

from stages.core.dataset.duplicates import components, equal_pairs, grouping_keys, near_duplicates
from stages.core.dataset.sources import DatasetImage


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
        pairs = [(i, j) for i, j, _ in near_duplicates(looks, bits)]
        assert len(set(pairs)) == len(pairs)
        found = {(i, j): d for i, j, d in near_duplicates(looks, bits) if d > 0}
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
    assert list(near_duplicates(looks, 0)) == [(0, 2, 0), (0, 3, 0)]


def test_items_share_a_component_if_pairs_connect_them():
    found = components(7, [(5, 6), (1, 3), (3, 5), (1, 3)])
    assert found[1] == found[3] == found[5] == found[6]
    assert len({found[item] for item in (0, 1, 2, 4)}) == 4
    assert len(set(components(3, []))) == 3 and components(0, []) == []


def test_the_key_of_images_that_belong_together_is_their_smallest_hash_or_group():
    def image(name: str, pixels: str, group: str = "", class_name: str = "a") -> DatasetImage:
        return DatasetImage(Path(name), class_name, None, group, sha256=name, pixels=pixels)

    copies = [
        image("9", "x"),
        image("3", "x"),
        image("5", "y"),
        image("4", "z"),
        image("1", "x", "", ""),
    ]
    assert grouping_keys(copies, []) == ["3", "3", "5", "4", "1"]  # the last is in no class folder
    assert grouping_keys(copies, [(0, 3, 2)]) == ["3", "3", "5", "3", "1"]
    grouped = [image("9", "x", "shelf2"), image("3", "y", "shelf2"), image("5", "y", "shelf1")]
    assert grouping_keys(grouped, []) == ["shelf1"] * 3


def test_empty_values_are_equal_to_no_value():
    assert list(equal_pairs(["", "x", "", "x", "y"])) == [(1, 3)]
