"""The transforms from a file to the network's input, for training and for scoring."""

import copy

from mmengine.config import Config

from stages.core.config.settings import set_values
from stages.core.params import AugmentParams, ImageParams


def set_pipelines(cfg: Config, image: ImageParams, augment: AugmentParams) -> None:
    jitter = augment.color_jitter
    train_values = {
        "LoadImage.reduce": image.reduce,
        "RandomResizedCrop.scale": image.size,
        "RandomResizedCrop.crop_ratio_range": tuple(augment.crop_scale),
        "ContiguousFlip.prob": augment.flip,
        "ColorMatrixJitter.brightness": jitter,
        "ColorMatrixJitter.contrast": jitter,
        "ColorMatrixJitter.saturation": jitter,
    }
    test_values = {
        "LoadImage.reduce": image.reduce,
        "ResizeEdge.scale": image.resize,
        "CenterCrop.crop_size": image.size,
    }
    cfg.train_pipeline[-1:-1] = extra_transforms(augment)  # before PackInputs
    set_transforms(cfg.train_pipeline, train_values)
    set_transforms(cfg.test_pipeline, test_values)
    set_values(
        cfg,
        {
            "train_dataloader.dataset.dataset.pipeline": copy.deepcopy(cfg.train_pipeline),
            "val_dataloader.dataset.pipeline": copy.deepcopy(cfg.test_pipeline),
            "test_dataloader.dataset.pipeline": copy.deepcopy(cfg.test_pipeline),
        },
    )


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
