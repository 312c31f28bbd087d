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
    assert limit_of({"type": "mmpretrain.TNT"}) is limit_of({"type": "TNT"}) is Limit.FIXED_SIZE
    assert limit_of({"type": "ResNet"}) is None and limit_of({}) is None


def test_an_ordinary_classifier_is_accepted_with_any_parameters():
    refuse_unsupported(model(), "x", image_size=17, strategy="linear_probe")
    refuse_unsupported(model("SwinTransformer", img_size=224), "x", image_size=64, strategy="lp_ft")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (None, "weights.model x is a None, not an ImageClassifier"),
        (model() | {"type": "mmpretrain.MAE"}, "weights.model x is a MAE, not an ImageClassifier"),
        (model() | {"head": None}, r"head of weights.model x \(None\) cannot be resized"),
        (model() | {"head": {"type": "ClsHead"}}, r"\(ClsHead\) cannot be resized .* with num_classes"),
        (model(head="MultiTaskHead"), r"\(MultiTaskHead\) cannot be resized"),
    ],
    ids=["no model", "another task", "no head", "no num_classes", "several tasks"],
)
def test_what_is_no_classifier_is_refused_whatever_the_parameters_are(config, message):
    with pytest.raises(ValueError, match=f"{message}.*python -m stages list_models"):
        refuse_unsupported(config, "x")


def test_a_head_with_two_last_layers_is_only_trained_whole():
    two_layers = model(head="DeiTClsHead")
    refuse_unsupported(two_layers, "x")
    refuse_unsupported(two_layers, "x", strategy="finetune")
    for strategy in ("lp_ft", "linear_probe"):
        with pytest.raises(ValueError, match=rf"{strategy}, but the head of x \(DeiTClsHead\) has two"):
            refuse_unsupported(two_layers, "x", strategy=strategy)


@pytest.mark.parametrize(("img_size", "own"), [({}, 224), ({"img_size": (256, 256)}, 256)])
def test_a_network_for_one_image_size_accepts_that_size_only(img_size, own):
    fixed = model("LeViT", **img_size)
    refuse_unsupported(fixed, "x")
    refuse_unsupported(fixed, "x", image_size=own)
    with pytest.raises(ValueError, match=f"x .LeViT. accepts only images of {own} pixels"):
        refuse_unsupported(fixed, "x", image_size=160)


def test_asking_takes_no_torch_and_no_mmpretrain():
    code = "import sys, stages.core.zoo.limits; print({'torch', 'mmpretrain'} & set(sys.modules))"
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, cwd=REPO, capture_output=True, text=True).stdout == "set()\n"
