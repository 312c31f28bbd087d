"""The model's own config with a head, a loss and an input size for our classes."""

import copy

from mmengine.config import Config, ConfigDict

from stages.core.config.settings import set_values
from stages.core.params import AugmentParams, Params
from stages.core.zoo.limits import Limit, limit_of, own_size, refuse_unsupported


def classifier(
    pretrained: Config, name: str, params: Params, num_classes: int, topk: tuple
) -> ConfigDict:
    """The model's own config with a head, a loss and batch augmentations for our classes.

    Raises ValueError when the model cannot be fine-tuned, or not with these parameters.
    """
    model = copy.deepcopy(pretrained.get("model"))
    size = params.image.size
    refuse_unsupported(model, name, image_size=size, strategy=params.train.strategy)
    backbone, head = model.backbone, model.head

    # a head for our classes
    augments = batch_augments(params.augment)
    head.num_classes = num_classes
    head.loss = loss(params.train.label_smoothing, mixing=bool(augments))
    if "topk" in head:
        head.topk = topk
    head.pop("cal_acc", None)  # mixed labels make training accuracy meaningless
    if limit_of(head) is Limit.DISTILLED:
        head.distillation = False

    # load_from is the only source of weights
    neck = model.get("neck") or []
    for part in (model, backbone, *(neck if isinstance(neck, list) else [neck]), head):
        if isinstance(part.get("init_cfg"), dict) and part.init_cfg.get("type") == "Pretrained":
            part.pop("init_cfg")
    model.pop("pretrained", None)

    # the whole network is trained, also that of a model published as a linear probe
    for key in ("frozen_stages", "norm_eval"):
        backbone.pop(key, None)

    set_input_size(backbone, size)
    model.train_cfg = dict(augments=augments) if augments else None
    return model


def batch_augments(augment: AugmentParams) -> list[dict]:
    alphas = {"Mixup": augment.mixup, "CutMix": augment.cutmix}
    return [dict(type=name, alpha=alpha) for name, alpha in alphas.items() if alpha > 0]


def loss(label_smoothing: float, mixing: bool) -> dict:
    """mixing: whether Mixup or CutMix turn labels into shares of several classes."""
    if label_smoothing > 0:
        return dict(type="LabelSmoothLoss", label_smooth_val=label_smoothing, mode="original")
    return dict(type="CrossEntropyLoss", loss_weight=1.0, use_soft=mixing)


def set_input_size(backbone: ConfigDict, size: int) -> None:
    if limit_of(backbone) is Limit.WINDOWED and size < own_size(backbone):
        backbone.pad_small_map = True
    if "img_size" in backbone:
        two_numbers = isinstance(backbone.img_size, (tuple, list))
        backbone.img_size = (size, size) if two_numbers else size


def set_preprocessor(cfg: Config, pretrained: Config, num_classes: int) -> None:
    """Take mean, std and channel order from the pretrained model: they belong to its weights."""
    own = cfg.model.pop("data_preprocessor", None) or pretrained.get("data_preprocessor") or {}
    ignored = ("type", "to_onehot", "batch_augments")
    values = {key: value for key, value in own.items() if key not in ignored}
    set_values(cfg.data_preprocessor, values | {"num_classes": num_classes})
