"""Every stage on a CUDA device: `pytest -m gpu`. No DVC is needed, as each stage runs by itself."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import REPO, write_params
from PIL import Image
from real_dvc import SMALL
from ruamel.yaml import YAML

pytestmark = pytest.mark.gpu

STAGES = (
    "make_sample",
    "fetch_weights",
    "prepare_dataset",
    "render_config",
    "train",
    "evaluate",
    "cam_report",
)
GPU = {**SMALL, "image": {"size": 64, "resize": 72}, "runtime": {"device": "cuda"}}
GPU["train"] = SMALL["train"] | {"epochs": 2}


def run_stage(root: Path, stage: str, *arguments: str) -> str:
    environment = os.environ | {"PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-m", f"stages.{stage}", *arguments]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def change(root: Path, **sections: dict) -> Path:
    """Replace values of a project's params.yaml."""
    yaml = YAML()
    content = yaml.load(root / "params.yaml")
    for section, values in sections.items():
        content[section].update(values)
    yaml.dump(content, root / "params.yaml")
    return root


def history(root: Path) -> list[dict[str, float]]:
    with (root / "metrics/training.csv").open() as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def predictions(path: Path) -> list[dict]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def gpu_run(tmp_path_factory) -> Path:
    """A project in which every stage has run on the GPU."""
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")
    root = tmp_path_factory.mktemp("gpu") / "project"
    (root / "configs").mkdir(parents=True)
    for name in ("stages", "configs/finetune.py", "configs/models"):
        (root / name).symlink_to(REPO / name)
    write_params(root, **GPU)
    for stage in STAGES:
        printed = run_stage(root, stage)
        if stage == "train":
            assert "training on cuda" in printed
    return root


@pytest.fixture
def project(gpu_run, tmp_path) -> Path:
    """A copy of it, to change; what is kept of its training is gone."""
    shutil.copytree(gpu_run, tmp_path / "project", symlinks=True)
    shutil.rmtree(tmp_path / "project/.work")
    return tmp_path / "project"


def test_every_stage_has_its_results(gpu_run):
    assert [row["epoch"] for row in history(gpu_run)] == [0, 1, 2]
    scores = json.loads((gpu_run / "metrics/evaluation.json").read_text())
    right = [
        row["label"] == row["prediction"] for row in predictions(gpu_run / "data/predictions/test.csv")
    ]
    assert scores["top1"] == pytest.approx(100 * np.mean(right), abs=1e-4)
    assert (gpu_run / "metrics/cam_report/index.html").exists()


def test_the_same_gpu_trains_the_same_bytes(gpu_run, project):
    (project / "data/checkpoints/best.pth").unlink()
    run_stage(project, "train")
    for name in ("data/checkpoints/best.pth", "metrics/training.csv"):
        assert (project / name).read_bytes() == (gpu_run / name).read_bytes()


def test_the_cpu_scores_the_network_as_the_gpu_does(gpu_run, project):
    change(project, runtime={"device": "cpu"})
    run_stage(project, "evaluate")
    gpu = json.loads((gpu_run / "metrics/evaluation.json").read_text())
    cpu = json.loads((project / "metrics/evaluation.json").read_text())
    assert cpu["loss"] == pytest.approx(gpu["loss"], rel=1e-3)
    rows = [predictions(root / "data/predictions/test.csv") for root in (gpu_run, project)]
    assert [row["prediction"] for row in rows[0]] == [row["prediction"] for row in rows[1]]


def test_the_cpu_draws_the_maps_that_the_gpu_draws(gpu_run, project):
    change(project, runtime={"device": "cpu"})
    shutil.rmtree(project / "metrics/cam_report")
    run_stage(project, "cam_report")
    images = sorted(
        path.relative_to(gpu_run) for path in (gpu_run / "metrics/cam_report").rglob("*.[jp][pn]g")
    )
    assert images
    for name in images:
        gpu, cpu = (np.asarray(Image.open(root / name), dtype=float) for root in (gpu_run, project))
        assert np.abs(gpu - cpu).mean() < 2


def test_predict_answers_as_evaluate_does(project):
    rows = predictions(project / "data/predictions/test.csv")[:4]
    answers = json.loads(
        run_stage(project, "predict", "--format", "json", *(row["path"] for row in rows))
    )
    assert [answer["classes"][0]["name"] for answer in answers] == [row["prediction"] for row in rows]


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_learns_as_fp32_does(gpu_run, project, precision):
    change(project, train={"precision_cuda": precision})
    run_stage(project, "render_config")
    run_stage(project, "train")
    for mixed, full in zip(history(project), history(gpu_run), strict=True):
        assert mixed["loss"] == pytest.approx(full["loss"], rel=0.2)
    assert history(project)[1:] != history(gpu_run)[1:]  # it did compute otherwise


@pytest.mark.parametrize("model", ["resnet18_8xb32_in1k", "deit-tiny_4xb256_in1k"])
def test_another_network_trains_the_same_bytes_twice(project, model):
    change(project, weights={"source": "none", "model": model})
    for stage in ("fetch_weights", "render_config", "train"):
        run_stage(project, stage)
    first = (project / "data/checkpoints/best.pth").read_bytes()
    run_stage(project, "train")
    assert (project / "data/checkpoints/best.pth").read_bytes() == first
    run_stage(project, "evaluate")
    run_stage(project, "cam_report")
