"""How a model's own config makes a network's input of an image, when it is tested.

The module imports neither torch nor mmpretrain, so that `list_models` can ask it for each model.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from stages.core.zoo.limits import class_name

DEFAULTS = {  # MMPretrain's and mmcv's
    "ResizeEdge": "bilinear",
    "Resize": "bilinear",
    "EfficientNetCenterCrop": "bicubic",
}


@dataclass(frozen=True)
class OwnView:
    """size: the input's side in pixels. resize, fit, interpolation: as in `image` of params.yaml."""

    size: int
    resize: int
    fit: str
    interpolation: str


def own_view(config: Mapping) -> OwnView:
    """The view of a model's own config; if it has no test pipeline, MMPretrain's most frequent one."""
    loader = config.get("test_dataloader") or {}
    steps = (loader.get("dataset") or {}).get("pipeline") or config.get("test_pipeline") or []
    steps = {class_name(step): step for step in steps}
    size = side(steps.get("CenterCrop", {}).get("crop_size"))
    for name, interpolation in DEFAULTS.items():
        if name not in steps:
            continue
        step = steps[name]
        filter_ = step.get("interpolation", interpolation)
        if name == "EfficientNetCenterCrop":
            size = side(step["crop_size"])
            return OwnView(size, size + step.get("crop_padding", 32), "crop_first", filter_)
        scale = side(step["scale"])
        fit = "short_side" if name == "ResizeEdge" else "squash"
        return OwnView(size or scale, scale, fit, filter_)
    size = trained_size(config)
    return OwnView(size, round(size * 8 / 7), "short_side", "bicubic")


def trained_size(config: Mapping) -> int:
    """The size in a config whose test pipeline has none: of its training crops, or its network."""
    loader = config.get("train_dataloader") or {}
    for step in (loader.get("dataset") or {}).get("pipeline") or []:
        if class_name(step) in ("RandomCrop", "RandomResizedCrop"):
            return side(step.get("crop_size") or step.get("scale"))
    return side(config["model"]["backbone"].get("img_size", 224))


def side(size: int | list | tuple | None) -> int | None:
    return size[0] if isinstance(size, (list, tuple)) else size
