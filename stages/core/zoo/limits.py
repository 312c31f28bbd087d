"""Which of MMPretrain's models cannot be fine-tuned as classifiers, from their configs alone.

LIMITS is a table by class name. Support for another head adds rows to it, not branches. The module
imports neither torch nor mmpretrain, so that every stage can ask it early. What depends on parameters
needs the network itself, and is asked of its skeleton when the config is rendered (config/trial.py).
"""

from collections.abc import Mapping
from enum import Enum

LIST = "`python -m stages list_models` lists the models that can be fine-tuned."


class Limit(Enum):
    """What is limited in a class of network or head."""

    CLASS_LAYER_INSIDE = "its class layer belongs to the network, and is taken out"
    DISTILLED = "MMPretrain trains it only without its second layer, for a teacher's answers"
    NOT_RESIZABLE = "it predicts several labels, or several tasks, for an image"


LIMITS = {
    # networks
    "InceptionV3": Limit.CLASS_LAYER_INSIDE,
    "VGG": Limit.CLASS_LAYER_INSIDE,
    # heads
    "EfficientFormerClsHead": Limit.DISTILLED,
    "LeViTClsHead": Limit.DISTILLED,
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


def is_classifier(config: Mapping) -> bool:
    return class_name(config.get("model") or {}) == "ImageClassifier"


def needs_head(model: Mapping) -> bool:
    """Whether a classifier's config has no head of its own for classes, and gets a linear one."""
    return not model.get("head") or limit_of(model["backbone"]) is Limit.CLASS_LAYER_INSIDE


def refuse_unsupported(model: Mapping | None, name: str) -> None:
    """Raise ValueError when a model cannot be fine-tuned as a classifier.

    model: the `model` of the own config of weights.model `name`.
    """
    model = model or {}
    if class_name(model) != "ImageClassifier":
        raise ValueError(
            f"params.yaml: weights.model {name} is a {class_name(model)}, not an ImageClassifier, and "
            f"cannot be fine-tuned as a classifier. {LIST}"
        )
    head = model.get("head") or {}
    if limit_of(head) is Limit.NOT_RESIZABLE or not (needs_head(model) or "num_classes" in head):
        raise ValueError(
            f"params.yaml: the head of weights.model {name} ({class_name(head)}) cannot be resized to "
            "the classes of the dataset, so the model cannot be fine-tuned; expected a single-label "
            f"head with num_classes. {LIST}"
        )
