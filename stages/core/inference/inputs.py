"""Files to the network's input, exactly as evaluate reads them."""

from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import DefaultScope
from torch import Tensor, nn


class ImageReader:
    """The test pipeline, built once for many images."""

    def __init__(self, cfg: Config, model: nn.Module):
        self.model = model
        with DefaultScope.overwrite_default_scope("mmpretrain"):
            self.pipeline = Compose(cfg.test_dataloader.dataset.pipeline)

    def read(self, path: Path, sha256: str = "") -> dict:
        """One image, resized and cropped. Raises OSError, or ValueError for a file that is no image, or
        whose content is not the one that sha256 names."""
        return self.pipeline({"img_path": str(path), "sha256": sha256})

    def batch(self, samples: list[dict]) -> tuple[Tensor, Tensor]:
        """(crops, inputs) of what `read` returned: crops (N, 3, H, W) uint8 BGR, the squares that the
        test pipeline cuts; inputs the same normalised, on the model's device."""
        crops = torch.stack([sample["inputs"] for sample in samples])
        data = {"inputs": crops, "data_samples": [sample["data_samples"] for sample in samples]}
        return crops, self.model.data_preprocessor(data, training=False)["inputs"]


def load_images(cfg: Config, model: nn.Module, files: list[tuple[Path, str]]) -> tuple[Tensor, Tensor]:
    """`ImageReader.batch` of these files and their SHA-256."""
    reader = ImageReader(cfg, model)
    return reader.batch([reader.read(path, sha256) for path, sha256 in files])


def as_shown(crop: Tensor) -> np.ndarray:
    """(3, H, W) BGR as (H, W, 3) RGB."""
    return crop.numpy()[::-1].transpose(1, 2, 0).copy()
