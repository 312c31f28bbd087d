"""The rendered config on this machine: its paths, device, precision, processes and loader workers."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from mmengine.utils import import_modules_from_strings
from torch import nn

from stages.core.layout import Layout
from stages.core.machine.kernels import check_kernels
from stages.core.machine.threads import use_threads
from stages.core.params import RuntimeParams
from stages.core.seals import read_sealed

TRAINING_CODE = "stages.core.training."


def open_config(path: Path, root: Path, runtime: RuntimeParams, device: str, training: bool) -> Config:
    """The rendered config at `path`, ready to run here; from now on torch computes as training does.

    training: False leaves out the hooks of training and imports none of its code, so that an edited
    hook changes no score. Raises RuntimeError when this machine cannot do what the config asks for.
    """
    layout = Layout(root)
    cfg = read_rendered(path)
    cfg.experiment_name = uuid4().hex  # runs of one name and second share their history and their log
    modules = cfg.custom_imports.imports
    import_modules_from_strings([m for m in modules if training or not m.startswith(TRAINING_CODE)])

    use_kernels(cfg, device)
    set_paths(cfg, layout)
    set_loaders(cfg, layout, runtime)
    # stages write their own checkpoints and lines, and check what mmengine only warns about
    cfg.default_hooks.pop("visualization")
    cfg.default_hooks.update(checkpoint=None, logger=None, timer=None)
    cfg.log_level = "ERROR"
    if training:
        set_precision(cfg, device)
        set_processes(cfg, runtime, device)
    else:
        cfg.custom_hooks = []
        cfg.load_from = None
    return cfg


def read_rendered(path: Path) -> Config:
    """Raises FileNotFoundError, or ValueError unless the file is as render-config wrote it."""
    read_sealed(path, "Change params.yaml instead, and run `dvc repro render-config`.")
    # mmengine would format the config for its log and for each checkpoint; fromfile ignores the option
    cfg = Config.fromfile(path, import_custom_modules=False)
    return Config(cfg.to_dict(), filename=str(path), format_python_code=False)


def use_kernels(cfg: Config, device: str) -> None:
    """Compute with the config's thread count and, on the CPU, its instructions."""
    use_threads(cfg.threads)
    # deterministic mode fills each new tensor with NaN before it is computed, which changes nothing
    torch.utils.deterministic.fill_uninitialized_memory = False
    if device == "cpu":
        check_kernels(cfg.cpu_kernels)


def set_paths(cfg: Config, layout: Layout) -> None:
    cfg.work_dir = str(layout.root / cfg.work_dir)
    if cfg.load_from:
        cfg.load_from = str(layout.root / cfg.load_from)
    for hook in cfg.custom_hooks:
        if hook.type == "FittedHead":
            hook.store = str(layout.features)


def set_loaders(cfg: Config, layout: Layout, runtime: RuntimeParams) -> None:
    """Where the images are and how many workers load them.

    Changes no result: an image's augmentation does not depend on the worker that draws it.
    """
    for name in ("train_dataloader", "val_dataloader", "test_dataloader"):
        loader = cfg[name]
        loader.num_workers = runtime.workers
        loader.persistent_workers = loader.persistent_workers and runtime.workers > 0
        dataset = loader.dataset
        while "dataset" in dataset:  # SeededDataset, ClassBalancedDataset
            dataset = dataset.dataset
        dataset.data_root = str(layout.root)
        for transform in dataset.pipeline:
            if transform.type == "LoadImage":
                transform.store = str(layout.image_store)
                transform.store_gb = runtime.store_gb
                transform.writers = 2 * max(runtime.workers, 1)  # train's and val's, at the same time


def set_precision(cfg: Config, device: str) -> None:
    """Mixed precision and compilation as the config asks for on this device; mmengine's own, except for
    bfloat16 on the CPU."""
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


def set_processes(cfg: Config, runtime: RuntimeParams, device: str) -> None:
    """What training in several processes needs; nothing changes for one alone."""
    if runtime.launcher == "none":
        return
    cfg.launcher = runtime.launcher
    # averages the batch-norm statistics, as each process has seen other images
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
