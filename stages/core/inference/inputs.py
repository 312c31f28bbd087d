"""Files to the network's input, exactly as evaluate reads them."""

from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import DefaultScope
from torch import Tensor, nn


def load_images(cfg: Config, model: nn.Module, paths: list[Path]) -> tuple[Tensor, Tensor]:
    """(crops, inputs): crops (N, 3, H, W) uint8 BGR, the squares that the test pipeline cuts; inputs the
    same normalised, on the model's device.

    Raises ValueError for a file that is not a picture.
    """
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        pipeline = Compose(cfg.test_dataloader.dataset.pipeline)
    samples = [pipeline({"img_path": str(path)}) for path in paths]
    crops = torch.stack([sample["inputs"] for sample in samples])
    data = {"inputs": crops, "data_samples": [sample["data_samples"] for sample in samples]}
    inputs = model.data_preprocessor(data, training=False)["inputs"]
    return crops, inputs


def as_shown(crop: Tensor) -> np.ndarray:
    """(3, H, W) BGR as (H, W, 3) RGB."""
    return crop.numpy()[::-1].transpose(1, 2, 0).copy()
