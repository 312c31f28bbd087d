"""Wrong labels, odd images and like classes are found among features of which the answer is known."""

import numpy as np
import pytest

from stages.core.scenes.labels import FOLDS, Judged, assign_folds, judge, judge_folds, nearest


def clusters(
    classes: int, images: int, spread: float = 1.0, size: int = 32
) -> tuple[list[int], np.ndarray]:
    """Images around a centre for each class, far apart: (labels, features)."""
    random = np.random.default_rng(0)
    centres = random.normal(0, 4, (classes, size))
    labels = [label for label in range(classes) for _ in range(images)]
    return labels, (centres[labels] + random.normal(0, spread, (len(labels), size))).astype(np.float16)


def judged(labels: list[int], features: np.ndarray, keys: list[str] | None = None) -> Judged:
    keys = keys or [str(number) for number in range(len(labels))]
    return judge_folds(np.array(labels), assign_folds(labels, keys), features)


def test_labels_that_are_right_are_not_doubted():
    labels, features = clusters(5, 30)
    found = judged(labels, features)
    assert found.doubtful() == [] and found.odd() == [] and found.alike() == []
    assert found.confidence.min() > 0.5
    assert (found.taken_for == 30 * np.eye(5)).all()


def test_wrong_labels_are_found_with_the_class_they_should_have():
    right, features = clusters(5, 30)
    labels = list(right)
    for at in (0, 40, 149):
        labels[at] = (labels[at] + 2) % 5
    found = judged(labels, features)
    assert set(found.doubtful()) == {0, 40, 149}
    assert [found.other[at] for at in (0, 40, 149)] == [right[at] for at in (0, 40, 149)]
    doubts = found.confidence[found.doubtful()]
    assert (np.diff(doubts) >= -1e-8).all()


def test_images_of_one_scene_do_not_vouch_for_each_others_wrong_label():
    right, features = clusters(4, 40, spread=0.3)
    labels, keys = list(right), [str(number) for number in range(len(right))]
    # ten frames of one film, all with the label of another class
    features[:10] = features[0] + np.random.default_rng(1).normal(0, 0.01, (10, 32))
    for at in range(10):
        labels[at], keys[at] = 3, "film"
    assert set(judged(labels, features, keys).doubtful()) == set(range(10))


def test_an_image_unlike_all_classes_is_odd_and_one_of_another_class_is_not():
    labels, features = clusters(3, 40)
    features[7] = 8 * np.random.default_rng(5).normal(0, 1, 32)
    labels[50] = 2
    found = judged(labels, features)
    assert found.odd() == [7]
    assert 50 in found.doubtful()


def test_classes_that_are_taken_for_each_other_are_named_with_the_share():
    labels, features = clusters(4, 40)
    features[40:80] = features[:40]  # class 1 is class 0
    random = np.random.default_rng(2)
    features[40:80] += random.normal(0, 1, (40, 32)).astype(np.float16)
    ((one, other, taken, number),) = judged(labels, features).alike()
    assert (one, other, number) == (0, 1, 80)
    assert 20 <= taken <= 60


def test_a_class_of_one_scene_cannot_be_judged_and_is_not_doubted():
    labels, features = clusters(3, 10)
    keys = ["film" if label == 2 else str(number) for number, label in enumerate(labels)]
    found = judged(labels, features, keys)
    assert np.isnan(found.confidence[20:]).all() and np.isnan(found.similarity[20:]).all()
    assert found.doubtful() == [] and found.odd() == []
    assert found.unjudged(labels) == [2]


@pytest.mark.parametrize(("classes", "images"), [(2, 1), (2, 2), (1, 3), (3, 1)])
def test_the_fewest_images_are_judged_without_an_error(classes, images):
    labels, features = clusters(classes, images)
    found = judged(labels, features)
    assert len(found.confidence) == len(labels)
    assert found.doubtful() == []


def test_features_that_do_not_vary_doubt_nothing():
    labels, features = clusters(2, 20)
    assert judged(labels, np.zeros_like(features)).doubtful() == []


def test_folds_are_even_in_each_class_and_split_no_key():
    random = np.random.default_rng(0)
    keys = [
        f"{label}-{scene}" for label in range(3) for scene in range(20) for _ in range(scene % 3 + 1)
    ]
    labels = [int(key[0]) for key in keys]
    order = random.permutation(len(keys))
    keys, labels = [keys[at] for at in order], [labels[at] for at in order]
    folds = assign_folds(labels, keys)
    assert len({(key, fold) for key, fold in zip(keys, folds.tolist(), strict=True)}) == len(set(keys))
    counts = np.array(
        [[((np.array(labels) == c) & (folds == f)).sum() for f in range(FOLDS)] for c in range(3)]
    )
    assert (counts.max(1) - counts.min(1) <= 3).all()


def test_the_nearest_images_are_those_of_the_same_direction():
    _, features = clusters(2, 3, spread=0.1)
    assert [set(near) for near in nearest(features, [0, 4], 2)] == [{1, 2}, {3, 5}]


@pytest.mark.slow
def test_the_same_bytes_are_found_whatever_kernels_the_environment_asks_for(monkeypatch):
    labels, features = clusters(4, 60, spread=4.0)
    keys = [str(number) for number in range(len(labels))]
    here = judge(labels, keys, features)
    for name, value in {"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "AVX2"}.items():
        monkeypatch.setenv(name, value)
    there = judge(labels, keys, features)
    for name, values in vars(here).items():
        assert values.tobytes() == getattr(there, name).tobytes(), name
