"""MMPretrain's networks that are not what their weights were trained as, or hold their class layer.

CORRECTED names the one that takes a network's place; the pretrained tensors keep their names.
"""

from mmpretrain.models.backbones import VGG, DeiT3, InceptionV3, PyramidVig, Vig
from mmpretrain.models.backbones.deit3 import DeiT3TransformerEncoderLayer
from mmpretrain.registry import MODELS
from torch import Tensor, nn

CORRECTED = {
    "DeiT3": "DeiT3WithBothNorms",
    "InceptionV3": "InceptionV3Features",
    "PyramidVig": "PyramidVigWithModes",
    "VGG": "VGGFeatures",
    "Vig": "VigWithModes",
}


class LayerWithBothNorms(DeiT3TransformerEncoderLayer):
    """MMPretrain's layer normalises by `ln1` twice, and never by `ln2`, which the weights contain.

    https://github.com/facebookresearch/deit/blob/main/models_v2.py, Layer_scale_init_Block
    """

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln1(x))
        return self.ffn(self.ln2(x), identity=x)


@MODELS.register_module()
class DeiT3WithBothNorms(DeiT3):
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        for layer in self.layers:
            layer.__class__ = LayerWithBothNorms  # DeiT3 takes no class for its layers


class WithModes:
    """MMPretrain's ViG never changes to evaluation, so its scores would depend on the other images of
    the batch, and the norms of its stem are never trained."""

    def train(self, mode: bool = True) -> nn.Module:
        return nn.Module.train(self, mode)


@MODELS.register_module()
class VigWithModes(WithModes, Vig):
    pass


@MODELS.register_module()
class PyramidVigWithModes(WithModes, PyramidVig):
    pass


@MODELS.register_module()
class VGGFeatures(VGG):
    """VGG without its last layer, which is the head's: (N, 3, 224, 224) -> ((N, 4096),)."""

    def __init__(self, *args, num_classes: int = 1000, **options):
        super().__init__(*args, num_classes=num_classes, **options)
        self.classifier = self.classifier[:-1]
        leave_out(self, "classifier.6.")


@MODELS.register_module()
class InceptionV3Features(InceptionV3):
    """Inception-v3 without its last layer, which is the head's: (N, 3, H, W) -> (None, (N, 2048))."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.fc = nn.Identity()
        leave_out(self, "fc.", *([] if self.aux_logits else ["AuxLogits."]))


def leave_out(network: nn.Module, *names: str) -> None:
    """Ignore tensors of weights whose names start so."""

    def remove(module, state_dict: dict, prefix: str, *_) -> None:
        for key in [key for key in state_dict if key.startswith(tuple(prefix + name for name in names))]:
            del state_dict[key]

    network.register_load_state_dict_pre_hook(remove)
