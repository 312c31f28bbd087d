"""What this machine offers: its device, its loader workers, where its files are."""

import os
from pathlib import Path

import mmengine.device.utils
import torch
from mmengine.config import Config

from stages.core.layout import Layout
from stages.core.params import RuntimeParams


def use_device(device: str) -> str:
    """Make mmengine use `device` (auto, cpu or cuda) and return the one taken.

    Raises RuntimeError for cuda without CUDA: mmengine would fall back to the CPU in silence.
    """
    # cuBLAS needs it for deterministic results, and reads it when CUDA starts
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        raise RuntimeError(
            "params.yaml: runtime.device is cuda, but torch sees no CUDA device "
            f"(CUDA_VISIBLE_DEVICES={visible!r}, torch {torch.__version__}, built for CUDA "
            f"{torch.version.cuda}). Check `nvidia-smi`, or set runtime.device to auto or cpu."
        )
    taken = "cuda" if available and device != "cpu" else "cpu"
    mmengine.device.utils.DEVICE = taken  # what Runner asks; decided at import otherwise
    return taken


def place(cfg: Config, root: Path, runtime: RuntimeParams) -> Config:
    """A rendered config for this machine: its paths under `root`, its loader workers, its silence.

    Changes no result: what a picture's augmentation is does not depend on the worker that draws it.
    """
    cfg.work_dir = str(root / cfg.work_dir)
    if cfg.load_from:
        cfg.load_from = str(root / cfg.load_from)
    for name in ("train_dataloader", "val_dataloader", "test_dataloader"):
        loader = cfg[name]
        loader.num_workers = runtime.workers
        loader.persistent_workers = loader.persistent_workers and runtime.workers > 0
        dataset = loader.dataset
        while "dataset" in dataset:
            dataset = dataset.dataset
        dataset.data_root = str(root)
        for transform in dataset.pipeline:
            if transform.type == "LoadPicture":
                transform.store = str(Layout(root).pictures)
                transform.store_gb = runtime.store_gb
                transform.writers = 2 * max(runtime.workers, 1)  # train's and val's, at the same time
    cfg.log_level = "ERROR"  # stages print their own lines, and check what mmengine warns of
    return cfg
