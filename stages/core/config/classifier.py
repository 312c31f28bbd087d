"""The model's own config with a head, a loss and an input size for our classes."""

import copy

from mmengine.config import Config, ConfigDict

from stages.core.config.settings import set_values
from stages.core.params import Params


def classifier(
    pretrained: Config, name: str, params: Params, num_classes: int, topk: tuple
) -> ConfigDict:
    """The model's own config with a head, loss and batch augmentations for our classes."""
    model = copy.deepcopy(pretrained.get("model"))
    kind = model.get("type") if model else None
    if not isinstance(kind, str) or kind.rpartition(".")[2] != "ImageClassifier":
        raise ValueError(
            f"weights.model: {name} is a {kind}, not an ImageClassifier, and cannot be fine-tuned as a "
            "classifier. `python -m stages list_models` lists the models that can."
        )
    head = model.get("head") or ConfigDict()
    head_type = str(head.get("type"))
    if "num_classes" not in head or any(word in head_type for word in ("Multi", "CSRA")):
        raise ValueError(
            f"weights.model: the head of {name} ({head_type}) cannot be resized to {num_classes} "
            "classes: a single-label head with num_classes is expected. "
            "`python -m stages list_models` lists the models that can be fine-tuned."
        )
    mixing = params.augment.mixup > 0 or params.augment.cutmix > 0
    head.num_classes = num_classes
    head.loss = loss(params.train.label_smoothing, mixing)
    if "topk" in head:
        head.topk = topk
    head.pop("cal_acc", None)  # training accuracy is of no use with mixed labels
    set_distillation(head, params.train.strategy, name)
    necks = model.get("neck") or []
    for part in (model, model.backbone, *(necks if isinstance(necks, list) else [necks]), head):
        if isinstance(part.get("init_cfg"), dict) and part.init_cfg.get("type") == "Pretrained":
            part.pop("init_cfg")  # load_from is the only source of weights
    model.pop("pretrained", None)
    for key in ("frozen_stages", "norm_eval"):  # of models that were published as linear probes
        model.backbone.pop(key, None)
    set_input_size(model.backbone, params.image.size, name)
    augments = [
        dict(type=kind, alpha=alpha)
        for kind, alpha in (("Mixup", params.augment.mixup), ("CutMix", params.augment.cutmix))
        if alpha > 0
    ]
    model.train_cfg = dict(augments=augments) if augments else None
    return model


DISTILLED = ("LeViTClsHead", "EfficientFormerClsHead")
"""Heads with a second layer for a teacher's answers, which MMPretrain trains only without it."""
TWO_LAYERS = ("DeiTClsHead", "ConformerHead")
"""Heads with two last layers, which are trained together and cannot be fitted."""


def set_distillation(head: ConfigDict, strategy: str, name: str) -> None:
    kind = str(head.type).rpartition(".")[2]
    if kind in DISTILLED:
        head.distillation = False
    if kind in TWO_LAYERS and strategy != "finetune":
        raise ValueError(
            f"params.yaml: train.strategy is {strategy}, but the head of {name} ({kind}) has two last "
            "layers, and one can be fitted. Set train.strategy to finetune."
        )


FIXED_SIZE = (
    "BEiTViT",  # its weights are adapted by a function that SciPy no longer has
    "EfficientFormer",
    "HiViT",
    "LeViT",
    "MixMIMTransformer",
    "MlpMixer",
    "PyramidVig",
    "RepMLPNet",
    "TNT",
    "Vig",
)
"""Networks whose weights, or code, are for the grid of one picture size."""
WINDOWED = ("SwinTransformer", "SwinTransformerV2", "DaViT")
"""Networks whose last grid can be smaller than an attention window, and is padded then."""


def set_input_size(backbone: ConfigDict, size: int, name: str) -> None:
    """Raises ValueError when the network sees pictures of another size only."""
    kind = str(backbone.type).rpartition(".")[2]
    given = backbone.get("img_size", 224)
    square = isinstance(given, (tuple, list))
    own = given[0] if square else given
    if kind in FIXED_SIZE and size != own:
        raise ValueError(
            f"params.yaml: image.size is {size}, but {name} ({kind}) sees pictures of {own} pixels "
            f"only. Set image.size to {own} and image.resize to {round(own * 8 / 7)}, or choose "
            "another model."
        )
    if kind in WINDOWED and size < own:
        backbone.pad_small_map = True
    if "img_size" in backbone:
        backbone.img_size = (size, size) if square else size


def loss(label_smoothing: float, mixing: bool) -> dict:
    if label_smoothing > 0:
        return dict(type="LabelSmoothLoss", label_smooth_val=label_smoothing, mode="original")
    return dict(type="CrossEntropyLoss", loss_weight=1.0, use_soft=mixing)


def set_preprocessor(cfg: Config, pretrained: Config, num_classes: int) -> None:
    """mean, std and channel order are the pretrained model's: its weights were trained with them."""
    own = cfg.model.pop("data_preprocessor", None) or pretrained.get("data_preprocessor") or {}
    values = {key: value for key, value in own.items() if key not in ("type", "to_onehot")}
    values.pop("batch_augments", None)
    set_values(cfg.data_preprocessor, values | {"num_classes": num_classes})
