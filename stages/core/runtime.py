"""What this machine offers: its device and precision, its loader workers, where its files are."""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mmengine.device.utils
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn

from stages.core.kernels import check_kernels
from stages.core.layout import Layout
from stages.core.params import RuntimeParams


def use_device(device: str) -> str:
    """Make mmengine use `device` (auto, cpu or cuda) and return the one taken.

    Raises RuntimeError for cuda without CUDA: mmengine would fall back to the CPU in silence.
    """
    # cuBLAS needs it for deterministic results, and reads it when CUDA starts
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)  # from here on CUDA itself says if it works
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


def use_kernels(cfg: Config, device: str) -> None:
    """Compute as training does: its thread count and, on the CPU, its instructions."""
    torch.set_num_threads(cfg.custom_hooks[0].threads)
    # deterministic mode writes NaN into each new tensor before it is computed, which decides nothing
    torch.utils.deterministic.fill_uninitialized_memory = False
    if device == "cpu":
        check_kernels(cfg.cpu_kernels)


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h


def keep_freed_memory() -> None:
    """Let glibc keep the memory of freed tensors for the next ones, instead of giving it back.

    A step's large tensors come from the system anew otherwise, which clears each page of them first.
    Does nothing with another C library.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        mallopt(M_MMAP_THRESHOLD, 1 << 30)
        mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)


def read_config(path: Path) -> Config:
    """A rendered config that mmengine does not format again for its log and for each checkpoint, which
    takes it a second a time."""
    return Config.fromfile(path, format_python_code=False)


def machine_facts(device: str, processes: int) -> tuple:
    """What a result depends on beside the inputs and the code: the kernels that compute it."""
    name = torch.cuda.get_device_name() if device == "cuda" else torch.backends.cpu.get_cpu_capability()
    return device, name, processes


def place(cfg: Config, root: Path, runtime: RuntimeParams, device: str) -> Config:
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
    for hook in cfg.custom_hooks:
        if hook.type == "FittedHead":
            hook.store = str(Layout(root).features)
    # stages write their own checkpoints and lines, and check what mmengine warns of
    cfg.default_hooks.pop("visualization")
    cfg.default_hooks.update(checkpoint=None, logger=None, timer=None)
    cfg.log_level = "ERROR"
    return cfg


def use_precision(cfg: Config, device: str) -> None:
    """Mixed precision, and compilation, as the rendered config asks for on this device; mmengine's own,
    but for bfloat16 on the CPU."""
    cfg.compile = cfg.compiled[device]
    precision = cfg.precision[device]
    if precision == "fp32":
        return
    if device == "cpu":
        cfg.optim_wrapper.type = "Bfloat16OptimWrapper"
        return
    cfg.optim_wrapper.type = "AmpOptimWrapper"
    cfg.optim_wrapper.dtype = {"bf16": "bfloat16", "fp16": "float16"}[precision]
    if precision == "fp16":  # its range is so small that gradients vanish unscaled
        cfg.optim_wrapper.loss_scale = "dynamic"


@OPTIM_WRAPPERS.register_module()
class Bfloat16OptimWrapper(OptimWrapper):
    """bfloat16 on the CPU, where mmengine's AmpOptimWrapper refuses to work."""

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        with super().optim_context(model), torch.autocast("cpu", dtype=torch.bfloat16):
            yield
