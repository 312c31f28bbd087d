"""Several processes train one model: each picture once an epoch, counted once, at the rate of their batch."""

import copy
import csv
import os
import re
import signal

import pytest
import torch
from conftest import PARAMS, REPO, write_params
from mmengine.config import Config
from real_dvc import SMALL, clone, python, repro, start_training

from stages.core.config.finetune_config import finetune_config
from stages.core.machine.placement import set_precision, set_processes
from stages.core.params import load_params
from stages.core.training.processes import STARTED, start_processes, starts_processes

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


def test_a_launcher_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match="launcher is slurm, but there is no srun here"):
        start_processes(runtime(tmp_path, launcher="slurm", processes=2), "stages.train", tmp_path)


def test_slurm_starts_the_stage_once_a_task(tmp_path, monkeypatch, capfd):
    """With a program of that name that prints what it was asked."""
    fake = tmp_path / "srun"
    fake.write_text('#!/bin/sh\necho "$@"\necho "started: $FINETUNE_PROCESSES_STARTED"\nexit 0\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    params = runtime(tmp_path, launcher="slurm", processes=3)
    assert starts_processes(params)
    start_processes(params, "stages.train", tmp_path)
    printed = capfd.readouterr().out
    assert re.search(r"--ntasks=3 --kill-on-bad-exit=1 \S*python\S* -m stages.train", printed)
    assert "started: 1" in printed
    fake.write_text("#!/bin/sh\nexit 7\n")
    with pytest.raises(SystemExit, match="7"):
        start_processes(params, "stages.train", tmp_path)


@pytest.mark.parametrize("mark", [STARTED, "TORCHELASTIC_RUN_ID"])
def test_one_of_several_processes_starts_no_others(tmp_path, monkeypatch, mark):
    params = runtime(tmp_path, launcher="pytorch", processes=2)
    assert starts_processes(params) and not starts_processes(runtime(tmp_path))
    monkeypatch.setenv(mark, "1")
    assert not starts_processes(params)


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


def rows(folder) -> list[dict]:
    with (folder / "metrics/training.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_two_processes_train_on_the_same_pictures_and_score_each_once(tmp_path):
    """At rate 1e-6 the weights stand still: the loss is that of the same pictures, however split."""
    rate = {"lr": 1e-6, "schedule": "step", "batch_size": 8}
    still = {"train": SMALL["train"] | rate, "augment": {"color_jitter": 0.0}}
    folders = []
    for launcher, processes in (("none", 1), ("pytorch", 2)):
        own = {"launcher": launcher, "processes": processes, "workers": 0}
        folders.append(clone(tmp_path / launcher, **(SMALL | still), runtime=own))
        output = repro(folders[-1], "train")
    assert "training on cpu in 2 processes" in output
    alone, together = (rows(folder)[1] for folder in folders)
    assert float(together["val_loss"]) == pytest.approx(float(alone["val_loss"]), rel=0.05)
    assert float(together["loss"]) == pytest.approx(float(alone["loss"]), rel=0.1)
    assert float(alone["lr"]) > 0 and float(together["lr"]) == pytest.approx(2 * float(alone["lr"]))
    weights = torch.load(folders[1] / "data/checkpoints/best.pth", weights_only=True)["state_dict"]
    assert not any(key.startswith("module.") for key in weights)
    output = python(folders[1], "-m", "stages.evaluate")
    assert "test images" in output


@pytest.mark.slow
def test_ctrl_c_ends_all_processes_without_a_traceback(tmp_path):
    train = SMALL["train"] | {"epochs": 50}
    own = {"launcher": "pytorch", "processes": 2, "workers": 1}
    folder = clone(tmp_path / "project", **(SMALL | {"train": train}), runtime=own)
    repro(folder, "render-config")
    process = start_training(folder)
    for line in process.stdout:
        if line.startswith("epoch 1/50"):
            break
    os.killpg(process.pid, signal.SIGINT)
    rest = process.stdout.read()  # to its end: none of the processes is left to write to it
    assert process.wait() == 130
    assert "interrupted: `dvc repro` resumes" in rest and "Traceback" not in rest, rest
    assert (next((folder / ".work/train").iterdir()) / "state.pth").exists()
