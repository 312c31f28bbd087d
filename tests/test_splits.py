"""Splits by content: stable, together, and never empty."""

import hashlib
import random

import pytest

from stages.core.splits import split_by_content


def keys(count: int, salt: str = "") -> list[str]:
    return [hashlib.sha256(f"{salt}{n}".encode()).hexdigest() for n in range(count)]


def test_adding_pictures_moves_none_between_splits():
    old, new = keys(1000), keys(100, "new")
    before = dict(zip(old, split_by_content(old, 0.2, 0.2), strict=True))
    mixed = old + new
    random.Random(0).shuffle(mixed)
    after = dict(zip(mixed, split_by_content(mixed, 0.2, 0.2), strict=True))
    assert {key: after[key] for key in old} == before


def test_the_fractions_hold_within_chance():
    splits = split_by_content(keys(10_000), 0.2, 0.1)
    assert abs(splits.count("val") - 2000) < 160  # 4 standard deviations
    assert abs(splits.count("test") - 1000) < 120


def test_known_pictures_go_where_they_always_went():
    """A change here would move pictures of every user's data set."""
    second_letters = "".join(split[1] for split in split_by_content(keys(20), 0.2, 0.2))
    assert second_letters == "arraerrerererrraearr"  # vAl, tRain, tEst


@pytest.mark.parametrize("count", range(3, 12))
@pytest.mark.parametrize("salt", "abcdef")
def test_every_wanted_split_gets_a_picture(count, salt):
    assert set(split_by_content(keys(count, salt), 0.2, 0.2)) == {"train", "val", "test"}


@pytest.mark.parametrize("fractions", [(0.05, 0.05), (0.45, 0.5), (0.9, 0.05), (0.05, 0.9)])
def test_every_wanted_split_gets_a_picture_whatever_the_fractions(fractions):
    for salt in range(50):
        assert len(set(split_by_content(keys(3, str(salt)), *fractions))) == 3


def test_a_fraction_of_zero_leaves_its_split_out():
    assert set(split_by_content(keys(50), 0.0, 0.2)) == {"train", "test"}
    assert set(split_by_content(keys(50), 0.2, 0.0)) == {"train", "val"}
    assert set(split_by_content(keys(50), 0.0, 0.0)) == {"train"}


def test_duplicates_stay_together():
    some = keys(30)
    splits = split_by_content(some + some, 0.3, 0.3)
    assert splits[:30] == splits[30:]


def test_two_pictures_are_too_few_for_three_splits():
    with pytest.raises(ValueError, match="2 different pictures; 3 splits need at least 3"):
        split_by_content(keys(2) * 3, 0.2, 0.2)
