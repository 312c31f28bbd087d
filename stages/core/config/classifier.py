"""The model's own config with a head, a loss and an input size for our classes."""

import copy
import inspect

from mmengine.config import Config, ConfigDict
from mmpretrain.registry import MODELS
from torch import nn

from stages.core.config.settings import set_values
from stages.core.config.trial import accepting
from stages.core.networks.corrections import CORRECTED
from stages.core.networks.skeleton import frozen, run, skeleton
from stages.core.params import AugmentParams, Params
from stages.core.zoo.limits import Limit, class_name, limit_of, needs_head, refuse_unsupported
from stages.core.zoo.own_view import own_view


def classifier(
    pretrained: Config, name: str, params: Params, size: int, num_classes: int, topk: tuple
) -> tuple[ConfigDict, nn.Module]:
    """The model's own config with a head, a loss and batch augmentations for our classes; its skeleton.

    size: of the images, in pixels. Raises ValueError when the model cannot be fine-tuned, or not with
    these parameters.
    """
    refuse_unsupported(pretrained.get("model"), name)
    model = copy.deepcopy(pretrained.model)
    headless = needs_head(model)

    # load_from is the only source of weights
    neck = model.get("neck") or []
    for part in (
        model,
        model.backbone,
        *(neck if isinstance(neck, list) else [neck]),
        model.get("head"),
    ):
        if part and isinstance(part.get("init_cfg"), dict) and part.init_cfg.get("type") == "Pretrained":
            part.pop("init_cfg")
    model.pop("pretrained", None)

    # the network as its weights were trained
    model.backbone.type = CORRECTED.get(class_name(model.backbone), model.backbone.type)
    set_drop_path(model.backbone, params.train.drop_path, name)

    # a head for our classes
    augments = batch_augments(params.augment)
    head = dict(num_classes=num_classes, topk=topk)
    head["loss"] = loss(params.train.label_smoothing, mixing=bool(augments))
    if headless:
        model.head = None
    else:
        set_head(model.head, head)
    model.train_cfg = dict(augments=augments) if augments else None

    train_everything(model)

    # the image size
    model, network = accepting(model, size, own_view(pretrained).size, name)
    if headless:
        features = run(network, size)
        if features.dim() == 4:
            model.neck = dict(type="GlobalAveragePooling")
        model.head = dict(type="LinearClsHead", in_channels=features.shape[1], **head)
        network = skeleton(model)
    return model, network


def set_head(own: ConfigDict, ours: dict) -> None:
    for key, value in ours.items():
        if key != "topk" or key in own:
            own[key] = value
    own.pop("cal_acc", None)  # mixed labels make training accuracy meaningless
    if limit_of(own) is Limit.DISTILLED:
        own.distillation = False


def train_everything(model: ConfigDict) -> None:
    """Freeze nothing, neither by the model's config (a linear probe's) nor by its network's defaults."""
    backbone = model.backbone
    for key in ("frozen_stages", "norm_eval", "stop_grad_conv1"):
        backbone.pop(key, None)
    if options(backbone).get("norm_eval"):
        backbone.norm_eval = False
    if frozen(skeleton(model)):
        backbone.frozen_stages = -1  # PoolFormer's 0 is its first layer, where others mean none


def set_drop_path(backbone: ConfigDict, rate: float, name: str) -> None:
    """rate: train.drop_path, the share of the blocks left out at random; -1: the network's own."""
    if rate < 0:
        return
    keys = [key for key in ("drop_path_rate", "drop_path") if key in options(backbone)]
    if not keys:
        raise ValueError(
            f"params.yaml: train.drop_path is {rate:g}, but {name} ({class_name(backbone)}) cannot "
            "leave out blocks. Set it to -1."
        )
    backbone[keys[0]] = rate


def options(backbone: ConfigDict) -> dict:
    """The arguments that a network's class takes, with their defaults."""
    found: dict = {}
    for kind in MODELS.get(backbone.type).__mro__:
        parameters = inspect.signature(kind.__init__).parameters.values()
        found = {parameter.name: parameter.default for parameter in parameters} | found
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            break
    return found


def batch_augments(augment: AugmentParams) -> list[dict]:
    alphas = {"Mixup": augment.mixup, "CutMix": augment.cutmix}
    return [dict(type=name, alpha=alpha) for name, alpha in alphas.items() if alpha > 0]


def loss(label_smoothing: float, mixing: bool) -> dict:
    """mixing: whether Mixup or CutMix turn labels into shares of several classes."""
    if label_smoothing > 0:
        return dict(type="LabelSmoothLoss", label_smooth_val=label_smoothing, mode="original")
    return dict(type="CrossEntropyLoss", loss_weight=1.0, use_soft=mixing)


def set_preprocessor(cfg: Config, pretrained: Config, num_classes: int) -> None:
    """Take mean, std and channel order from the pretrained model: they belong to its weights."""
    own = cfg.model.pop("data_preprocessor", None) or pretrained.get("data_preprocessor") or {}
    ignored = ("type", "to_onehot", "batch_augments")
    values = {key: value for key, value in own.items() if key not in ignored}
    set_values(cfg.data_preprocessor, values | {"num_classes": num_classes})
