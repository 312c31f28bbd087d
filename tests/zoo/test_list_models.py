"""list_models names the models that can be fine-tuned here, and no others."""

import json
import subprocess
import sys

import pytest
from conftest import REPO

from stages.commands import list_models
from stages.core.zoo.index import near_names


def listed(capsys, *patterns: str, **options) -> str:
    list_models.main(list(patterns), **options)
    return capsys.readouterr().out


def test_columns_are_aligned_and_repeat_the_index(capsys):
    assert listed(capsys, "resnet18", "lite0").splitlines() == [
        "name                    source   pixels  params (M)  FLOPs (G)  top-1 %  top-5 %",
        "efficientnet_lite0      package     224        4.65       0.41    75.10        -",
        "resnet18_8xb16_cifar10  mim          32       11.17       0.56        -        -",
        "resnet18_8xb32_in1k     mim         224       11.69       1.82    69.90    89.43",
    ]


def test_json_has_unscaled_numbers(capsys):
    assert json.loads(listed(capsys, "resnet18_8xb32*", as_json=True)) == [
        {
            "name": "resnet18_8xb32_in1k",
            "source": "mim",
            "pixels": 224,
            "parameters": 11690000,
            "flops": 1820000000,
            "top1": 69.9,
            "top5": 89.43,
        }
    ]


def test_a_pattern_is_part_of_a_name_or_a_glob_in_any_case(capsys):
    def names(*patterns):
        return [row["name"] for row in json.loads(listed(capsys, *patterns, as_json=True))]

    assert names("REPVGG-a*") == [f"repvgg-A{n}_8xb32_in1k" for n in range(3)]
    assert names("resnet18*in1k") == names("resnet18_8xb32_in1k", "resnet18_8*k")
    assert "seresnet50_8xb32_in1k" in names("resnet50_8xb32_")


@pytest.mark.parametrize(
    "name",
    [
        "vgg16_8xb32_in1k",  # its class layer belongs to the network
        "vit-small-p14_dinov2-pre_3rdparty",  # it has none
        "mae_vit-base-p16_8xb512-amp-coslr-300e_in1k",  # pretrained without labels
    ],
)
def test_a_model_without_a_class_layer_of_its_own_is_listed(capsys, name):
    assert [row["name"] for row in json.loads(listed(capsys, name, as_json=True))] == [name]


@pytest.mark.parametrize(
    "name",
    [
        "blip-base_3rdparty_caption",  # writes texts
        "hivit-tiny-p16_16xb64_in1k",  # no checkpoint
        "resnet101-csra_1xb16_voc07-448px",  # several labels for an image
        "replknet-31B_3rdparty_in1k",  # MMPretrain cannot read its own config
    ],
)
def test_a_model_that_cannot_be_fine_tuned_is_not_listed(name):
    with pytest.raises(ValueError, match=f"matches only models that cannot be fine-tuned here: {name}"):
        list_models.main([name])


def test_the_error_for_an_unknown_pattern_suggests_similar_names():
    with pytest.raises(ValueError, match="no model matches 'resnt18'. Did you mean resnet18_8xb32_in1k"):
        list_models.main(["resnet18", "resnt18"])
    with pytest.raises(ValueError, match=r"no model matches '\?\?\?'.$"):
        list_models.main(["???"])


def test_names_that_contain_the_text_are_suggested_first():
    names = ["resnet18_8xb32_in1k", "ResNeXt50", "resnext", "swin"]
    assert near_names("resnext", names) == ["ResNeXt50", "resnext"]
    assert near_names("resnet18_8xb23_in1k", names) == ["resnet18_8xb32_in1k"]
    assert near_names("zzz", names) == []


def test_the_command_prints_an_error_line_and_is_quiet_at_a_closed_pipe():
    command = [sys.executable, "-m", "stages", "list_models"]
    unknown = subprocess.run([*command, "resnt18"], cwd=REPO, capture_output=True, text=True)
    assert unknown.returncode == 1 and unknown.stdout == ""
    assert unknown.stderr.startswith("error: no model matches 'resnt18'")

    process = subprocess.Popen(
        [*command, "resnet18"], cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.close()  # as `| head` does when it has enough
    assert process.stderr.read() == ""
    process.stderr.close()
    process.wait()
