"""Pretrained weights start the network whole, whatever stands around it in their file."""

from collections import OrderedDict
from functools import cache
from pathlib import Path

import mmpretrain
import pytest
import torch
import yaml
from mmengine.config import Config
from torch import nn

from stages.core.networks.checkpoint import write_checkpoint
from stages.core.networks.skeleton import skeleton
from stages.core.training.pretrained import load_pretrained, load_tensors


def network(num_classes: int = 2) -> nn.Module:
    torch.manual_seed(0)
    return nn.ModuleDict(
        {
            "backbone": nn.Conv2d(3, 4, 3, padding=1),
            "head": nn.ModuleDict({"fc": nn.Linear(4, num_classes)}),
        }
    )


def weights(num_classes: int = 1000) -> OrderedDict:
    return OrderedDict((key, value + 1) for key, value in network(num_classes).state_dict().items())


def test_weights_of_a_file_may_have_another_head_but_must_cover_the_backbone(tmp_path):
    write_checkpoint(tmp_path / "w.pth", weights(), {})
    loaded = network()
    assert load_pretrained(loaded, tmp_path / "w.pth") == []
    assert torch.equal(loaded["backbone"].weight, weights()["backbone.weight"])
    assert torch.equal(loaded["head"].fc.weight, network()["head"].fc.weight)

    cut = weights()
    del cut["backbone.bias"]
    with pytest.raises(ValueError, match=r"w does not cover the backbone: 1 missing \(backbone.bias\)"):
        load_tensors(network(), cut, Path("w"))


def test_a_head_of_as_many_classes_is_kept_and_said():
    loaded = network()
    (line,) = load_tensors(loaded, weights(num_classes=2), Path("w"))
    assert line.startswith("the head of the weights is kept, as it has as many classes as the data")
    assert torch.equal(loaded["head"].fc.weight, weights(num_classes=2)["head.fc.weight"])


def test_weights_of_another_shape_are_refused():
    other = weights() | {"backbone.weight": torch.zeros(4, 3, 5, 5)}
    with pytest.raises(ValueError, match="w does not fit the model(.|\n)*size mismatch"):
        load_tensors(network(), other, Path("w"))


def test_names_of_libraries_without_a_prefix_are_those_of_the_backbone():
    plain = OrderedDict((key.replace("backbone.", ""), value) for key, value in weights().items())
    plain["fc.weight"] = plain.pop("head.fc.weight")
    loaded = network()
    assert load_tensors(loaded, plain, Path("w")) == []
    assert torch.equal(loaded["backbone"].weight, weights()["backbone.weight"])

    with pytest.raises(ValueError, match=r"1 unexpected \(backbone.layer4.weight\)"):
        load_tensors(network(), plain | {"layer4.weight": torch.ones(1)}, Path("w"))  # a deeper network


def test_other_parts_of_a_pretraining_are_left_out_with_a_line():
    parts = dict.fromkeys(
        ["neck.fc0.weight", "neck.fc0.bias", "queue", "backbone.mask_token"], torch.ones(1)
    )
    (line,) = load_tensors(network(), weights() | parts, Path("w"))
    assert line == (
        "left out of the weights, as the network has no such part: neck (2), queue (1), "
        "backbone.mask_token (1)"
    )


CONFIGS = Path(mmpretrain.__file__).parent / ".mim"
FROM_OTHER_NETWORKS = {"eva", "milan", "cae"}  # the first two download a teacher when they are built


@cache
def pairs() -> list[tuple[str, str]]:
    """A pretraining of each kind and each classifier that MMPretrain's index says is made from it."""
    models = {}
    for path in sorted(CONFIGS.glob("configs/*/metafile.yml")):
        models |= {model["Name"]: model for model in yaml.safe_load(path.read_text()).get("Models", [])}
    found = {}
    for model in models.values():
        for name in model.get("Downstream") or []:
            kind = model["Config"].split("/")[1]
            config = models.get(name, {}).get("Config", "")
            if "/benchmarks/" in config and kind not in FROM_OTHER_NETWORKS:
                found.setdefault((kind, "linear" in name), (model["Config"], config))
    return sorted(found.values())


def built(config: str) -> nn.Module:
    model = Config.fromfile(CONFIGS / config, import_custom_modules=False).model
    model.backbone.pop("init_cfg", None)
    return skeleton(model)


def test_each_kind_of_pretraining_has_a_pair():
    kinds = {pretraining.split("/")[1] for pretraining, _ in pairs()}
    assert kinds >= {
        "beit",
        "byol",
        "mae",
        "maskfeat",
        "mff",
        "mixmim",
        "mocov3",
        "simclr",
        "spark",
        "swav",
    }


@pytest.mark.parametrize("pair", pairs(), ids=lambda pair: Path(pair[1]).stem)
def test_a_pretrainings_own_checkpoint_starts_the_classifier_made_from_it(pair):
    pretraining, classifier = map(built, pair)
    lines = load_tensors(classifier, pretraining.state_dict(), Path("w"))
    assert all(line.startswith(("left out", "not in the weights")) for line in lines)
