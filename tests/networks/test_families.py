"""What holds for each of MMPretrain's networks: one of each class is rendered and looked at whole."""

from functools import cache

import pytest
import torch
from conftest import PARAMS, REPO
from mmengine.config import Config

from stages.core.config.finetune_config import finetune_config
from stages.core.config.layers import BLOCK, layer_depths
from stages.core.networks.corrections import LayerWithBothNorms
from stages.core.networks.skeleton import frozen, skeleton
from stages.core.params import load_params
from stages.core.zoo.index import classifier_config, mmpretrain_models
from stages.core.zoo.limits import class_name, refuse_unsupported
from stages.core.zoo.own_view import own_view

pytestmark = pytest.mark.slow


@cache
def families() -> dict[str, str]:
    """The first model with each class of network, by the class."""
    found: dict[str, str] = {}
    for name, model in mmpretrain_models().items():
        try:
            config = classifier_config(model)
            refuse_unsupported(config.get("model"), name)
        except ValueError:
            continue
        found.setdefault(class_name(config.model.backbone), name)
    return found


@cache
def network(family: str):
    """The skeleton of a family's rendered config at its own image size, and that size."""
    own = classifier_config(mmpretrain_models()[families()[family]])
    params = load_params(PARAMS)
    params = params.replace(
        image=params.image.replace(size=0, reduce=0), train=params.train.replace(strategy="finetune")
    )
    base = Config.fromfile(REPO / "configs/finetune.py", import_custom_modules=False)
    source = {"source": "mim", "model": families()[family]}
    cfg = finetune_config(base, own, source, params, ["a", "b", "c"])
    return skeleton(cfg.model), own_view(own).size


FAMILIES = sorted(families())
UNNUMBERED = {"DenseNet", "InceptionV3", "VGG"}


@pytest.mark.parametrize("family", FAMILIES)
def test_only_fixed_position_tables_are_frozen(family):
    assert frozen(network(family)[0]) == []


@pytest.mark.parametrize("family", FAMILIES)
def test_in_evaluation_no_part_trains(family):
    assert [name for name, module in network(family)[0].named_modules() if module.training] == []


@pytest.mark.parametrize("family", FAMILIES)
def test_the_scores_depend_on_every_trained_tensor(family):
    model, size = network(family)
    model.train()  # LeViT and its like keep their position biases as constants otherwise
    with torch.device("meta"):
        scores = model(torch.empty(2, 3, size, size))
        sum(
            part.sum() for part in (scores if isinstance(scores, (tuple, list)) else [scores])
        ).backward()
    model.eval()
    unused = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert unused == []


@pytest.mark.parametrize("family", FAMILIES)
def test_each_numbered_block_is_a_layer_below_the_head(family):
    model, size = network(family)
    try:
        depths = layer_depths(model, size)
    except ValueError:
        assert family in UNNUMBERED
        return
    head = max(depths.values())
    assert {depth for name, depth in depths.items() if name.startswith("head.")} <= {head}
    assert all(0 < depth < head for name, depth in depths.items() if BLOCK.match(name))


def test_deit3_normalises_before_attention_and_before_its_second_part():
    torch.manual_seed(0)
    layer = LayerWithBothNorms(8, 2, 16).eval()
    torch.nn.init.normal_(layer.ln2.weight)
    x = torch.rand(1, 5, 8)
    y = x + layer.attn(layer.ln1(x))
    assert torch.equal(layer(x), layer.ffn(layer.ln2(y), identity=y))
