"""What MMPretrain's models cannot do: which are refused, and which parameters rule one out.

LIMITS is a table by class name. Support for another network or head adds rows to it, not branches.
The module imports neither torch nor mmpretrain, so that every stage can ask it early. Two checks need
the network itself and are made before training: `last_linear` (training/linear_probe.py) and
`check_layer_depths` (training/schedules.py).
"""

from collections.abc import Mapping
from enum import Enum

LIST = "`python -m stages list_models` lists the models that can be fine-tuned."


class Limit(Enum):
    """What is limited in a class of network or head."""

    FIXED_SIZE = "its weights, or its code, are for the grid of one image size"
    WINDOWED = "its last grid can be smaller than an attention window, and is then padded"
    DISTILLED = "MMPretrain trains it only without its second layer, for a teacher's answers"
    TWO_LAST_LAYERS = "its two last layers are trained together, so neither can be fitted alone"
    NOT_RESIZABLE = "it predicts several labels, or several tasks, for an image"


LIMITS = {
    # networks
    "BEiTViT": Limit.FIXED_SIZE,  # SciPy removed the function that adapts its weights
    "EfficientFormer": Limit.FIXED_SIZE,
    "HiViT": Limit.FIXED_SIZE,
    "LeViT": Limit.FIXED_SIZE,
    "MixMIMTransformer": Limit.FIXED_SIZE,
    "MlpMixer": Limit.FIXED_SIZE,
    "PyramidVig": Limit.FIXED_SIZE,
    "RepMLPNet": Limit.FIXED_SIZE,
    "TNT": Limit.FIXED_SIZE,
    "Vig": Limit.FIXED_SIZE,
    "DaViT": Limit.WINDOWED,
    "SwinTransformer": Limit.WINDOWED,
    "SwinTransformerV2": Limit.WINDOWED,
    # heads
    "EfficientFormerClsHead": Limit.DISTILLED,
    "LeViTClsHead": Limit.DISTILLED,
    "ConformerHead": Limit.TWO_LAST_LAYERS,
    "DeiTClsHead": Limit.TWO_LAST_LAYERS,
    "CSRAClsHead": Limit.NOT_RESIZABLE,
    "MultiLabelClsHead": Limit.NOT_RESIZABLE,
    "MultiLabelLinearClsHead": Limit.NOT_RESIZABLE,
    "MultiTaskHead": Limit.NOT_RESIZABLE,
}


def limit_of(part: Mapping) -> Limit | None:
    """The limit of a network or head, from its config."""
    return LIMITS.get(class_name(part))


def class_name(part: Mapping) -> str:
    """The class that a config names, without the modules or the scope before it."""
    return str(part.get("type")).rpartition(".")[2]


def own_size(backbone: Mapping) -> int:
    """The image size of the model's own config, in pixels."""
    size = backbone.get("img_size", 224)
    return size[0] if isinstance(size, (tuple, list)) else size


def refuse_unsupported(
    model: Mapping | None, name: str, *, image_size: int | None = None, strategy: str | None = None
) -> None:
    """Raise ValueError when a model cannot be fine-tuned as a classifier, or not with these parameters.

    model: the `model` of the own config of weights.model `name`. image_size, strategy: image.size and
    train.strategy of params.yaml; None where a caller does not depend on them.
    """
    model = model or {}
    if class_name(model) != "ImageClassifier":
        raise ValueError(
            f"params.yaml: weights.model {name} is a {class_name(model)}, not an ImageClassifier, and "
            f"cannot be fine-tuned as a classifier. {LIST}"
        )

    head, backbone = model.get("head") or {}, model["backbone"]
    if "num_classes" not in head or limit_of(head) is Limit.NOT_RESIZABLE:
        raise ValueError(
            f"params.yaml: the head of weights.model {name} ({class_name(head)}) cannot be resized to "
            "the classes of the dataset, so the model cannot be fine-tuned; expected a single-label "
            f"head with num_classes. {LIST}"
        )

    if strategy not in (None, "finetune") and limit_of(head) is Limit.TWO_LAST_LAYERS:
        raise ValueError(
            f"params.yaml: train.strategy is {strategy}, but the head of {name} ({class_name(head)}) "
            "has two last layers, and only one can be fitted. Set train.strategy to finetune."
        )

    size = own_size(backbone)
    if image_size not in (None, size) and limit_of(backbone) is Limit.FIXED_SIZE:
        raise ValueError(
            f"params.yaml: image.size is {image_size}, but {name} ({class_name(backbone)}) accepts only "
            f"images of {size} pixels. Set image.size to {size} and image.resize to "
            f"{round(size * 8 / 7)}, or choose another model."
        )
