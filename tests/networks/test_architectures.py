"""MMPretrain's classifiers render, train a step and predict; another model is refused by name."""

import csv
import hashlib
import json

import pytest
import torch
from conftest import class_folders, write_params
from mmengine.config import Config
from mmpretrain import get_model

from stages import fetch_weights, prepare_dataset, render_config, train
from stages.commands import predict
from stages.core.config.finetune_config import finetune_config
from stages.core.networks.checkpoint import write_checkpoint
from stages.core.params import load_params
from stages.core.zoo.index import find_model, mmpretrain_config

SIZES = {  # name: pixels
    "resnet18_8xb32_in1k": 32,
    "efficientnet-b0_3rdparty_8xb32_in1k": 32,
    "mobilenet-v2_8xb32_in1k": 32,
    "mobilenet-v3-small-050_3rdparty_in1k": 32,
    "convnext-v2-atto_fcmae-pre_3rdparty_in1k": 32,
    "deit-tiny_4xb256_in1k": 32,  # a ViT of 224 pixels: its position embeddings are adapted
    "swin-tiny_16xb64_in1k": 64,
    "swinv2-tiny-w8_3rdparty_in1k-256px": 64,  # tables of its image size
    "tinyvit-5m_3rdparty_in1k": 64,  # an image size of two numbers
    "levit-128s_3rdparty_in1k": 224,  # a second head for a teacher, and one image size
    "hrnet-w18_3rdparty_8xb32_in1k": 64,  # two necks
}


@pytest.fixture(autouse=True)
def restore_torch():
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A root with two classes of images, and the repository's own configs."""
    from conftest import REPO

    class_folders(tmp_path / "data/photos", {"a": 6, "b": 6})
    (tmp_path / "configs").mkdir()
    for name in ("finetune.py", "models"):
        (tmp_path / "configs" / name).symlink_to(REPO / "configs" / name)
    (tmp_path / "stages").symlink_to(REPO / "stages")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def random_weights(path, model: str) -> dict:
    """Write a checkpoint of `model` with random weights; returns its `weights` section."""
    torch.manual_seed(0)
    network = get_model(mmpretrain_config(find_model(model)), pretrained=False)
    write_checkpoint(path, network.state_dict(), {})
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"source": "path", "model": model, "path": str(path), "sha256": sha256}


def rendered(project, model: str) -> Config:
    """The config of `model` with two classes and the values of params.yaml."""
    base = Config.fromfile("configs/finetune.py", import_custom_modules=False)
    own, params = mmpretrain_config(find_model(model)), load_params(project / "params.yaml")
    return finetune_config(base, own, {"source": "mim", "model": model}, params, ["a", "b"])


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["finetune", "lp_ft"])
@pytest.mark.parametrize("model", SIZES)
def test_it_renders_trains_and_predicts(project, model, strategy):
    if strategy == "lp_ft" and model.startswith(("resnet", "efficientnet", "mobilenet-v2")):
        pytest.skip("the same head as the packaged network's, which test_linear_probe.py trains")
    write_params(
        project,
        weights=random_weights(project / "random.pth", model),
        dataset={"path": "data/photos", "near_duplicates": 0},
        image={"size": SIZES[model], "resize": SIZES[model], "reduce": 0},
        train={
            "strategy": strategy,
            "epochs": 1,
            "batch_size": 4,
            "warmup_epochs": 0,
            "threads": 1,
            "optimizer": "adamw",
            "lr": 1e-3,
        },
        runtime={"workers": 0, "device": "cpu"},
    )
    for stage in (fetch_weights, prepare_dataset, render_config, train):
        stage.main(project)
    with (project / "metrics/training.csv").open(newline="") as file:
        assert [row["epoch"] for row in csv.DictReader(file)][-1] == "1"
    trained = torch.load(project / "data/checkpoints/best.pth", weights_only=True)["state_dict"]
    before = torch.load(project / "data/weights/pretrained.pth", weights_only=True)["state_dict"]
    if strategy == "finetune":
        moved = [key for key in trained if key in before and before[key].shape == trained[key].shape]
        assert any(not torch.equal(trained[key], before[key]) for key in moved)
    image = next((project / "data/photos/a").iterdir())
    unreadable: list[str] = []
    (answer,) = json.loads("".join(predict.main([str(image)], unreadable, kind="json", root=project)))
    assert {entry["name"] for entry in answer["classes"]} == {"a", "b"} and not unreadable
    assert sum(entry["score"] for entry in answer["classes"]) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    ("model", "changed", "message"),
    [
        (
            "tnt-small-p16_3rdparty_in1k",
            {},
            "image.size is 128, but tnt.* Set image.size to 224, .* image.resize to 0",
        ),
        ("beit-base-p16_beit-pre_8xb128-coslr-100e_in1k", {}, "image.size is 128, but beit"),
        (
            "deit-tiny-distilled_3rdparty_in1k",
            {"train": {"strategy": "lp_ft"}},
            "train.strategy: the head DeiTClsHead .* Set train.strategy to finetune",
        ),
    ],
)
def test_the_error_names_a_model_and_the_parameter_that_it_needs(project, model, changed, message):
    write_params(project, **({"image": {"size": 128}} | changed))
    with pytest.raises(ValueError, match=message):
        rendered(project, model)


def test_a_network_published_as_a_linear_probe_trains_all_layers(project):
    model = "resnet50_byol-pre_8xb512-linear-coslr-90e_in1k"
    assert mmpretrain_config(find_model(model)).model.backbone.frozen_stages == 4
    write_params(project)
    network = get_model(rendered(project, model), pretrained=False)
    assert all(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("model", ["llava-7b-v1_caption", "blip-base_3rdparty_caption"])
def test_a_model_that_is_not_a_classifier_is_refused_by_name(project, model):
    write_params(project, weights={"source": "none", "model": model})
    with pytest.raises(ValueError, match=f"(?s){model}.*cannot be fine-tuned"):
        fetch_weights.main(project)
