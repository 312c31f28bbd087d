"""The transforms from a file to the network's input, for training and for scoring."""

import copy

from mmengine.config import Config

from stages.core.config.settings import set_values
from stages.core.params import AugmentParams, ImageParams
from stages.core.zoo.own_view import OwnView


def view_of(image: ImageParams, own: OwnView, name: str) -> OwnView:
    """How images become inputs: by the parameters, and by the network's own config where they say so."""
    size = image.size or own.size
    view = OwnView(
        size,
        image.resize or round(size * own.resize / own.size),
        own.fit if image.fit == "own" else image.fit,
        own.interpolation if image.interpolation == "own" else image.interpolation,
    )
    if view.resize < view.size:
        raise ValueError(
            f"params.yaml: image.resize is {view.resize}, less than the {view.size} pixels that "
            f"{name} was trained with (image.size: 0). Set image.resize to 0, or to {view.size} or more."
        )
    if 0 < image.reduce < view.resize:
        raise ValueError(
            f"params.yaml: image.reduce is {image.reduce}, less than the {view.resize} pixels to which "
            f"{name} resizes images. Set image.reduce to 0, or to {view.resize} or more."
        )
    return view


def set_pipelines(cfg: Config, image: ImageParams, view: OwnView, augment: AugmentParams) -> None:
    jitter = augment.color_jitter
    train_values = {
        "LoadImage.reduce": image.reduce,
        "RandomResizedCrop.scale": view.size,
        "RandomResizedCrop.interpolation": view.interpolation,
        "RandomResizedCrop.crop_ratio_range": tuple(augment.crop_scale),
        "ContiguousFlip.prob": augment.flip,
        "ColorMatrixJitter.brightness": jitter,
        "ColorMatrixJitter.contrast": jitter,
        "ColorMatrixJitter.saturation": jitter,
    }
    cfg.train_pipeline[-1:-1] = extra_transforms(augment)  # before PackInputs
    set_transforms(cfg.train_pipeline, train_values)
    cfg.test_pipeline[1:1] = fitting(view)  # after LoadImage
    set_transforms(cfg.test_pipeline, {"LoadImage.reduce": image.reduce})
    set_values(
        cfg,
        {
            "train_dataloader.dataset.dataset.pipeline": copy.deepcopy(cfg.train_pipeline),
            "val_dataloader.dataset.pipeline": copy.deepcopy(cfg.test_pipeline),
            "test_dataloader.dataset.pipeline": copy.deepcopy(cfg.test_pipeline),
        },
    )


def fitting(view: OwnView) -> list[dict]:
    """From an image of any size to the square that val and test see.

    Pillow resizes with antialiasing and in integers, so every CPU computes the same pixels. OpenCV's
    filters of the same names do not smooth: networks that were tested with them see softer images.
    """
    pillow = dict(backend="pillow", interpolation=view.interpolation)
    crop = dict(type="CenterCrop", crop_size=view.size)
    if view.fit == "squash":
        return [dict(type="Resize", scale=(view.resize, view.resize), **pillow), crop]
    if view.fit == "crop_first":
        padding = view.resize - view.size
        step = dict(type="EfficientNetCenterCrop", crop_size=view.size, crop_padding=padding)
        return [step | pillow]
    return [dict(type="ResizeEdge", scale=view.resize, edge="short", **pillow), crop]


def extra_transforms(augment: AugmentParams) -> list[dict]:
    """Augmentations that configs/finetune.py does not list, as params.yaml may turn them off."""
    transforms = []
    if augment.policy == "trivial":  # Mueller and Hutter 2021, https://arxiv.org/abs/2103.10158
        transforms += [
            dict(type="NumpyToPIL", to_rgb=True),
            dict(type="torchvision/TrivialAugmentWide"),
            dict(type="PILToNumpy", to_bgr=True),
        ]
    if augment.policy == "rand":  # Cubuk et al. 2020, https://arxiv.org/abs/1909.13719
        transforms.append(
            dict(
                type="RandAugment",
                policies="timm_increasing",
                num_policies=2,
                total_level=10,
                magnitude_level=7,
                magnitude_std=0.5,
            )
        )
    if augment.erase > 0:  # Zhong et al. 2020, https://arxiv.org/abs/1708.04896
        transforms.append(dict(type="RandomErasing", erase_prob=augment.erase))
    return transforms


def set_transforms(pipeline: list, values: dict) -> None:
    """Set each `Transform.key` of `values` in the one transform of that type."""
    for name, value in values.items():
        kind, key = name.split(".")
        found = [transform for transform in pipeline if transform["type"] == kind]
        if len(found) != 1:
            raise ValueError(
                f"configs/finetune.py: found {len(found)} transforms of type {kind}; expected one, "
                f"to set its {key}."
            )
        set_values(found[0], {key: value})
