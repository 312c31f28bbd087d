"""A model that cannot be fine-tuned is refused by name, from its config alone."""

import subprocess
import sys

import pytest
from conftest import REPO
from mmpretrain.registry import MODELS

from stages.core.zoo.limits import LIMITS, Limit, limit_of, refuse_unsupported


def model(backbone: str = "ResNet", head: str = "LinearClsHead", **backbone_options) -> dict:
    return {
        "type": "ImageClassifier",
        "backbone": {"type": backbone, **backbone_options},
        "head": {"type": head, "num_classes": 1000},
    }


@pytest.mark.parametrize("name", LIMITS)
def test_each_row_is_a_class_of_mmpretrain(name):
    assert MODELS.get(name).__name__ == name


def test_a_class_is_found_with_its_scope_too_and_others_have_no_limit():
    assert limit_of({"type": "mmpretrain.VGG"}) is limit_of({"type": "VGG"}) is Limit.CLASS_LAYER_INSIDE
    assert limit_of({"type": "ResNet"}) is None and limit_of({}) is None


@pytest.mark.parametrize("config", [model(), model() | {"head": None}, model("VGG", "ClsHead")])
def test_a_classifier_is_accepted_and_gets_a_head_if_it_has_none(config):
    refuse_unsupported(config, "x")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (None, "weights.model x is a None, not an ImageClassifier"),
        (model() | {"type": "mmpretrain.MAE"}, "weights.model x is a MAE, not an ImageClassifier"),
        (model() | {"head": {"type": "ClsHead"}}, r"\(ClsHead\) cannot be resized .* with num_classes"),
        (model(head="MultiTaskHead"), r"\(MultiTaskHead\) cannot be resized"),
    ],
    ids=["no model", "another task", "no num_classes", "several tasks"],
)
def test_what_is_no_classifier_is_refused_whatever_the_parameters_are(config, message):
    with pytest.raises(ValueError, match=f"{message}.*python -m stages list_models"):
        refuse_unsupported(config, "x")


def test_asking_takes_no_torch_and_no_mmpretrain():
    code = "import sys, stages.core.zoo.own_view; print({'torch', 'mmpretrain'} & set(sys.modules))"
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, cwd=REPO, capture_output=True, text=True).stdout == "set()\n"
