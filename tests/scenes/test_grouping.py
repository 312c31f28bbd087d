"""Images of one scene follow one leader, whatever the order and the CPU."""

import numpy as np
import pytest

from stages.core.scenes.grouping import BLOCK, LENGTH, direction, joined, leaders, scene_pairs


def at_angles(degrees: list[float]) -> np.ndarray:
    """Directions in a plane, as whole numbers."""
    turns = np.deg2rad(degrees)
    return np.rint(np.stack([np.cos(turns), np.sin(turns)], axis=1) * LENGTH).astype(np.int16)


def test_an_image_joins_the_first_leader_that_is_near():
    # cosine 0.9 is 25.8 degrees: 20 is near 0, 40 is near no leader, 30 is near 40 alone
    assert leaders(at_angles([0, 20, 40, 30, 25]), 0.9) == [0, 0, 2, 2, 0]


def test_a_chain_of_neighbours_is_more_than_one_scene():
    assert len(set(leaders(at_angles(list(range(0, 180, 10))), 0.9))) > 4


def test_groups_are_one_where_two_of_their_images_are_nearly_alike():
    # 20 follows 0, and 40 leads 30 and 60; from 20 to 30 are 10 degrees, of cosine 0.985
    degrees = at_angles([0, 20, 40, 30, 60, 90, 200])
    apart = leaders(degrees, 0.9)
    assert apart == [0, 0, 2, 2, 2, 5, 6]
    assert joined(degrees, apart, 0.99) == apart
    assert joined(degrees, apart, 0.98) == [0, 0, 0, 0, 0, 5, 6]


@pytest.mark.parametrize("cosine", [0.3, 0.9, 0.99])
def test_blocks_change_nothing(cosine):
    random = np.random.default_rng(0)
    degrees = random.uniform(0, 360, 2 * BLOCK + 7).tolist()
    expected, found = [], []
    vectors = at_angles(degrees).astype(np.int64)
    for image, vector in enumerate(vectors):
        near = [leader for leader in found if vector @ vectors[leader] >= cosine * LENGTH**2]
        found += [] if near else [image]
        expected.append(near[0] if near else image)
    assert leaders(at_angles(degrees), cosine) == expected


def test_no_image_of_another_scene_is_nearly_alike_in_any_block():
    features = np.random.default_rng(0).normal(size=(2 * BLOCK + 7, 6))
    vectors = np.stack([direction(row, np.zeros(6)) for row in features.astype(np.float16)])
    first = np.array(joined(vectors, leaders(vectors, 0.8), 0.95))
    alike = vectors.astype(np.int64) @ vectors.T.astype(np.int64) >= 0.95 * LENGTH**2
    assert (first[:, None] == first)[alike].all()
    assert (first <= np.arange(len(first))).all() and (first[first] == first).all()
    assert len(set(first)) > 10


def some_features(count: int) -> np.ndarray:
    return np.random.default_rng(1).gamma(0.5, size=(count, 64)).astype(np.float16)


def test_the_order_of_the_images_changes_no_scene():
    features, names = some_features(60), [f"{number:02x}" for number in range(60)]
    classes = ["a", "b"] * 30

    def pairs(order: list[int]) -> set[tuple[str, str]]:
        of = [names[i] for i in order]
        found = scene_pairs([classes[i] for i in order], of, features[order], 0.2)
        return {(of[leader], of[image]) for leader, image in found}

    expected = pairs(list(range(60)))
    assert expected
    assert pairs(np.random.default_rng(2).permutation(60).tolist()) == expected


def test_a_scene_is_within_a_class():
    features = np.repeat(some_features(2), [5, 1], axis=0)
    pairs = list(scene_pairs(["a", "b", "a", "b", "a", "a"], list("012345"), features, 0.5))
    assert pairs == [(0, 2), (0, 4), (1, 3)]


def test_sums_are_exact_in_float32():
    """The largest product of two vectors is a whole number that float32 can tell from its neighbours."""
    features = some_features(50)
    mean = np.zeros(64)
    vectors = np.stack([direction(row, mean) for row in features]).astype(np.int64)
    exact = vectors @ vectors.T
    assert exact.max() < 2**24
    single = vectors.astype(np.float32)
    assert (single @ single.T == exact).all()


def test_images_without_any_features_are_no_error():
    assert list(scene_pairs(["a", "a"], ["0", "1"], np.zeros((2, 4), np.float16), 0.5)) == []
    assert list(scene_pairs([], [], np.zeros((0, 4), np.float16), 0.5)) == []
