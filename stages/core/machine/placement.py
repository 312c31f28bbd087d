"""What this machine offers: its device and precision, its loader workers, where its files are."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.distributed
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn

from stages.core.layout import Layout
from stages.core.machine.kernels import check_kernels
from stages.core.params import RuntimeParams


def use_processes(cfg: Config, runtime: RuntimeParams, device: str) -> None:
    """A rendered config for one of several processes; unchanged for one alone."""
    if runtime.launcher == "none":
        return
    cfg.launcher = runtime.launcher
    # the averages of batch normalisation, of which each process has seen other pictures
    cfg.custom_hooks.append(dict(type="SyncBuffersHook"))
    if device == "cuda":
        return
    if runtime.launcher == "slurm":
        raise RuntimeError(
            "params.yaml: runtime.launcher is slurm, but torch sees no CUDA device here, and mmengine "
            "trains under Slurm on GPUs only. Set runtime.launcher to pytorch or none."
        )
    # mmengine would take a GPU for each process
    cfg.env_cfg.dist_cfg.backend = "gloo"
    cfg.model_wrapper_cfg = dict(
        type="MMDistributedDataParallel", broadcast_buffers=False, device_ids=None
    )
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("gloo")


def use_kernels(cfg: Config, device: str) -> None:
    """Compute as training does: its thread count and, on the CPU, its instructions."""
    torch.set_num_threads(cfg.custom_hooks[0].threads)
    # deterministic mode writes NaN into each new tensor before it is computed, which decides nothing
    torch.utils.deterministic.fill_uninitialized_memory = False
    if device == "cpu":
        check_kernels(cfg.cpu_kernels)


def read_config(path: Path) -> Config:
    """A rendered config that mmengine does not format again for its log and for each checkpoint, which
    takes it a second a time."""
    return Config.fromfile(path, format_python_code=False)


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
            if transform.type == "LoadImage":
                transform.store = str(Layout(root).image_store)
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
