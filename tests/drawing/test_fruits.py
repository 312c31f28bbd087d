"""The drawn set: the same bytes everywhere, and images worth learning from."""

import ast
import hashlib

import numpy as np
import pytest
from conftest import REPO, write_params
from PIL import Image

from stages import make_sample
from stages.core.drawing.fruits import KINDS
from stages.core.drawing.scene import draw


def digest(kind: str, index: int, seed: int) -> str:
    image, mask = draw(kind, index, seed)
    return hashlib.sha256(image.tobytes() + mask.tobytes()).hexdigest()[:16]


def test_images_are_the_same_on_every_machine():
    """Known bytes: a change here changes the default dataset, and with it every number."""
    known = {"apple": "359fac5228941132", "kiwi": "a8c00bcd3210cebb", "watermelon": "65633cca6fcbad2b"}
    assert {kind: digest(kind, 7, 0) for kind in known} == known


def test_only_exactly_rounded_operations_are_used():
    """A CPU's vector unit may compute these another way."""
    files = sorted((REPO / "stages/core/drawing").glob("*.py"))
    nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text()))]
    called = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    inexact = {
        "sin",
        "cos",
        "tan",
        "exp",
        "log",
        "power",
        "hypot",
        "arctan2",
        "dot",
        "sum",
        "mean",
        "einsum",
    }
    assert not called & inexact
    assert not any(isinstance(node, (ast.Pow, ast.MatMult)) for node in nodes)


def test_there_are_enough_kinds_for_top_5_to_say_something():
    assert len(KINDS) >= 10 and list(KINDS) == sorted(KINDS)


def test_another_index_or_seed_is_another_image():
    assert len({digest("pear", index, seed) for index in range(4) for seed in range(3)}) == 12


@pytest.mark.parametrize("kind", KINDS)
def test_every_image_shows_fruit_and_more_than_fruit(kind):
    for index in range(12):
        image, mask = draw(kind, index, 0)
        assert image.dtype == np.uint8 and image.shape == (*mask.shape, 3)
        assert min(mask.shape) > 130 and max(mask.shape) < 180
        assert 0.02 < mask.mean() < 0.85
        assert image.std() > 10


def test_an_unknown_kind_is_named():
    with pytest.raises(ValueError, match="no fruit is called 'durian'; expected one of apple, banana"):
        draw("durian", 0, 0)


def test_the_stage_writes_images_and_masks_and_more_of_them_change_none(project):
    write_params(project, sample={"images_per_class": 2})
    make_sample.main(project)
    images = {p.relative_to(project): p.read_bytes() for p in (project / "data/sample").rglob("*.jpg")}
    assert len(images) == 2 * len(KINDS)
    mask = Image.open(project / "data/sample_masks/kiwi/kiwi-001.png")
    assert np.array_equal(np.asarray(mask), draw("kiwi", 1, 0)[1])

    write_params(project, sample={"images_per_class": 3}, runtime={"workers": 0})
    make_sample.main(project)
    again = {p.relative_to(project): p.read_bytes() for p in (project / "data/sample").rglob("*.jpg")}
    assert len(again) == 3 * len(KINDS) and again.items() >= images.items()


def test_no_images_are_drawn_for_those_who_bring_their_own(project):
    write_params(project, sample={"images_per_class": 0})
    make_sample.main(project)
    assert list((project / "data/sample").iterdir()) == []
    assert list((project / "data/sample_masks").iterdir()) == []
