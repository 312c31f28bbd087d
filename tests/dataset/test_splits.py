"""Splits by content: stable, together, and never empty."""

import hashlib
import random
from collections import Counter

import pytest
from conftest import PARAMS

from stages.core.dataset.splits import even_out, split_by_content, splitting
from stages.core.params import load_params

DATASET = load_params(PARAMS).dataset
ALL = {"train", "val", "test"}


def keys(count: int, salt: str = "") -> list[str]:
    return [hashlib.sha256(f"{salt}{n}".encode()).hexdigest() for n in range(count)]


def split(some: list[str], val: float = 0.2, test: float = 0.2, fold: str = "") -> list[str]:
    """The splits of the images of one class."""
    wanted = {"train"} | ({"val"} if val else set()) | ({"test"} if test else set())
    dataset = DATASET.replace(val_fraction=val or 0.1, test_fraction=test or 0.1, fold=fold)
    split_of = split_by_content({"a": set(some)}, wanted, splitting(dataset, wanted))
    return [split_of[key] for key in some]


def test_adding_images_moves_none_between_splits():
    old, new = keys(1000), keys(100, "new")
    before = dict(zip(old, split(old), strict=True))
    mixed = old + new
    random.Random(0).shuffle(mixed)
    after = dict(zip(mixed, split(mixed), strict=True))
    assert {key: after[key] for key in old} == before


def test_the_fractions_hold_within_chance():
    splits = split(keys(10_000), 0.2, 0.1)
    assert abs(splits.count("val") - 2000) < 160  # 4 standard deviations
    assert abs(splits.count("test") - 1000) < 120


def test_known_images_go_where_they_always_went():
    """A change here would move images between the splits of every user's dataset."""
    second_letters = "".join(name[1] for name in split(keys(20)))
    assert second_letters == "arraerrerererrraearr"  # vAl, tRain, tEst


@pytest.mark.parametrize("count", range(3, 12))
@pytest.mark.parametrize("salt", "abcdef")
def test_every_wanted_split_gets_an_image(count, salt):
    assert set(split(keys(count, salt))) == ALL


@pytest.mark.parametrize("fractions", [(0.05, 0.05), (0.45, 0.5), (0.9, 0.05), (0.05, 0.9)])
def test_every_wanted_split_gets_an_image_whatever_the_fractions(fractions):
    for salt in range(50):
        assert set(split(keys(3, str(salt)), *fractions)) == ALL


def test_a_split_that_is_not_wanted_stays_empty():
    assert set(split(keys(50), 0.0, 0.2)) == {"train", "test"}
    assert set(split(keys(50), 0.2, 0.0)) == {"train", "val"}
    assert set(split(keys(50), 0.0, 0.0)) == {"train"}


def test_two_images_are_too_few_for_three_splits():
    with pytest.raises(ValueError, match="1 classes are too small: 'a'. Each of test, train, val needs"):
        split(keys(2))


def test_folds_test_every_image_once():
    images = keys(500)
    folds = [split(images, fold=f"{fold}/5") for fold in range(1, 6)]
    assert all(column.count("test") == 1 for column in zip(*folds, strict=True))
    assert all(abs(fold.count("test") - 100) < 40 and fold.count("val") > 40 for fold in folds)


def test_a_key_that_several_classes_share_has_one_split():
    """A patient with images of two diseases."""
    shared = keys(30, "shared")
    classes = {"a": {*keys(3, "a"), *shared}, "b": {*keys(3, "b"), *shared}, "c": set(shared)}
    split_of = split_by_content(classes, ALL, splitting(DATASET, ALL))
    for members in classes.values():
        assert {split_of[key] for key in members} == ALL


def test_a_class_that_only_shared_keys_could_fill_is_named():
    one, two = keys(2)
    with pytest.raises(ValueError, match="2 classes are too small: 'a', 'b'"):
        split_by_content({"a": {one, two}, "b": {one, two}}, ALL, splitting(DATASET, ALL))


# --- scenes: keys of many images ----------------------------------------------------------------------

ASKED = {"test": 0.2, "val": 0.2}


def shares(sizes: dict[str, int], split_of: dict[str, str]) -> dict[str, float]:
    held = Counter()
    for key, size in sizes.items():
        held[split_of[key]] += size
    return {split: held[split] / sum(sizes.values()) for split in ALL}


@pytest.mark.parametrize("salt", range(20))
def test_large_keys_leave_each_split_near_what_was_asked(salt):
    sizes = dict(
        zip(keys(20, f"scene{salt}"), random.Random(salt).choices(range(1, 9), k=20), strict=True)
    )
    split_of = dict(zip(sizes, split(list(sizes)), strict=True))
    even_out(split_of, {"a": Counter(sizes)}, ASKED)
    assert all(0.15 <= shares(sizes, split_of)[name] <= 0.3 for name in ASKED)


@pytest.mark.parametrize("salt", range(20))
def test_a_key_larger_than_a_split_is_trained_on(salt):
    large, *small = keys(9, f"large{salt}")
    sizes = {large: 30} | dict.fromkeys(small, 1)
    split_of = dict(zip(sizes, split(list(sizes)), strict=True))
    even_out(split_of, {"a": Counter(sizes)}, ASKED)
    assert split_of[large] == "train"
    assert all(shares(sizes, split_of)[name] > 0 for name in ASKED)


def test_even_splits_are_left_alone():
    some = keys(1000)
    before = dict(zip(some, split(some), strict=True))
    after = dict(before)
    even_out(after, {"a": Counter(some)}, ASKED)
    assert after == before


def test_a_key_of_several_classes_stays():
    shared, *own = keys(12)
    split_of = dict.fromkeys([shared], "val") | dict.fromkeys(own, "train")
    even_out(
        split_of, {"a": Counter({shared: 90, **dict.fromkeys(own, 1)}), "b": Counter([shared])}, ASKED
    )
    assert split_of[shared] == "val"
