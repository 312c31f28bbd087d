"""How the rendered config reads images: our list files, and pixels by one rule."""

import hashlib
import os.path as osp
from pathlib import Path

import numpy as np
from mmcv.transforms import BaseTransform
from mmpretrain.datasets import CustomDataset
from mmpretrain.registry import DATASETS, TRANSFORMS

from stages.core.images.decoding import decode, read_file
from stages.core.images.lists import read_list
from stages.core.images.store import ImageStore


@TRANSFORMS.register_module()
class LoadImage(BaseTransform):
    """A file as (H, W, 3) uint8 BGR, which MMPretrain's transforms expect, by decoding.py's rule.

    reduce: the short side that a larger image is first reduced to, in pixels; 0 is off. If the folder
    `store` is set, the reduced pixels are kept in it, up to `store_gb`. They equal what decoding
    produces, and are read faster. writers: processes that fill the store at the same time.
    """

    def __init__(self, reduce: int = 0, store: str = "", store_gb: float = 0.0, writers: int = 1):
        self.reduce = reduce
        kept = store and reduce and store_gb
        self.store = ImageStore(Path(store), reduce, store_gb, writers) if kept else None

    def transform(self, results: dict) -> dict:
        if "img" in results:  # MMPretrain's own inferencer has already read it
            return results
        sha256 = results.get("sha256")
        pixels = self.store.get(sha256) if self.store and sha256 else None
        if pixels is None:
            path = results["img_path"]
            try:
                content = read_file(Path(path))
                if sha256 and hashlib.sha256(content).hexdigest() != sha256:
                    raise ValueError("is another image than the one listed: run `dvc repro`")
                rgb = decode(content, self.reduce)
            except ValueError as error:
                raise ValueError(f"{path} {error}.") from error
            pixels = np.asarray(rgb)[:, :, ::-1].copy()
            if self.store and sha256:
                self.store.put(sha256, pixels)
        results["img"] = pixels
        results["img_shape"] = results["ori_shape"] = pixels.shape[:2]
        return results


@DATASETS.register_module()
class ListedImages(CustomDataset):
    """MMPretrain's CustomDataset over a list file that carries content hashes (images/lists.py)."""

    def load_data_list(self) -> list[dict]:
        """Raises ValueError for a label that is no class."""
        images, classes = read_list(Path(self.ann_file)), self.metainfo["classes"]
        labels = {image.label for image in images}
        if not labels <= set(range(len(classes))):
            raise ValueError(
                f"{self.ann_file} has labels up to {max(labels)}, and configs/rendered.py has "
                f"{len(classes)} classes, so one is older than the other. Run `dvc repro`."
            )
        return [
            {
                "img_path": osp.join(self.data_root, image.path),
                "gt_label": image.label,
                "listed_path": image.path,
                "sha256": image.sha256,
            }
            for image in images
        ]
