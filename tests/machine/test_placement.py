"""What a rendered config becomes on this machine: processes, precision, compilation."""

import copy

import pytest
from conftest import PARAMS, REPO, write_params
from mmengine.config import Config

from stages.core.config.finetune_config import finetune_config
from stages.core.machine.placement import set_precision, set_processes
from stages.core.params import load_params

RENDERED = finetune_config(
    Config.fromfile(REPO / "configs/finetune.py", import_custom_modules=False),
    Config.fromfile(REPO / "configs/models/efficientnet_lite0.py", import_custom_modules=False),
    {"source": "package", "model": "efficientnet_lite0"},
    load_params(PARAMS),
    ["a", "b"],
)


def runtime(tmp_path, **values):
    write_params(tmp_path, runtime=values)
    return load_params(tmp_path / "params.yaml").runtime


def test_one_process_is_left_as_rendered(tmp_path):
    cfg = copy.deepcopy(RENDERED)
    set_processes(cfg, runtime(tmp_path), "cuda")
    assert cfg.to_dict() == RENDERED.to_dict()


@pytest.mark.parametrize("launcher", ["pytorch", "slurm"])
def test_on_gpus_mmengines_own_launcher_and_nccl_are_used(tmp_path, launcher):
    cfg = copy.deepcopy(RENDERED)
    set_processes(cfg, runtime(tmp_path, launcher=launcher, processes=4), "cuda")
    assert cfg.launcher == launcher and cfg.env_cfg.dist_cfg.backend == "nccl"
    assert "model_wrapper_cfg" not in cfg  # mmengine's own: a GPU for each process
    assert cfg.custom_hooks[-1]["type"] == "SyncBuffersHook"
    assert (
        cfg.auto_scale_lr.enable and cfg.auto_scale_lr.base_batch_size == cfg.train_dataloader.batch_size
    )


def test_slurm_without_a_gpu_is_refused(tmp_path):
    with pytest.raises(RuntimeError, match="launcher is slurm, but torch sees no CUDA device"):
        set_processes(copy.deepcopy(RENDERED), runtime(tmp_path, launcher="slurm"), "cpu")


@pytest.mark.parametrize(
    ("precision", "expected"),
    [
        ("fp32", {"type": "OptimWrapper"}),
        ("bf16", {"type": "AmpOptimWrapper", "dtype": "bfloat16"}),
        ("fp16", {"type": "AmpOptimWrapper", "dtype": "float16", "loss_scale": "dynamic"}),
    ],
)
def test_mixed_precision_on_cuda_is_mmengines_own(precision, expected):
    cfg = copy.deepcopy(RENDERED)
    cfg.precision = dict(cpu="fp32", cuda=precision)
    set_precision(cfg, "cuda")
    own = {key: cfg.optim_wrapper[key] for key in expected}
    assert own == expected
    set_precision(cfg, "cpu")
    assert {key: cfg.optim_wrapper[key] for key in expected} == expected  # fp32 there


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_compilation_is_asked_for_a_device_at_a_time(device):
    cfg = copy.deepcopy(RENDERED)
    assert cfg.compiled == {"cpu": False, "cuda": False}
    set_precision(cfg, device)
    assert cfg.compile is False  # what mmengine's Runner reads
    cfg.compiled[device] = True
    set_precision(cfg, device)
    assert cfg.compile is True


# --- real training ------------------------------------------------------------------------------------
