"""A head fitted on frozen features is the best linear one, and is fitted once."""

import csv
import math

import pytest
import torch
from real_dvc import SMALL, copy, executed, python, repro
from torch import nn

from stages.core.training.linear_probe import fit_linear, last_linear


def test_two_points_give_the_weights_that_calculus_gives():
    """x = -1, 1 of classes 0, 1: w = W1 - W0 solves sigmoid(-w) = weight_decay * w / 2."""
    decay = 0.1
    weight, bias, loss = fit_linear(
        torch.tensor([[-1.0], [1.0]]), torch.tensor([0, 1]), 2, decay, label_smoothing=0.0
    )
    difference = float(weight[1] - weight[0])
    assert 1 / (1 + math.exp(difference)) == pytest.approx(decay * difference / 2, abs=1e-4)
    assert float(bias.abs().max()) == pytest.approx(0, abs=1e-4)
    assert loss == pytest.approx(math.log(1 + math.exp(-difference)), abs=1e-4)


def test_the_unit_and_the_zero_of_the_features_change_no_score():
    torch.manual_seed(0)
    features, labels = torch.randn(60, 5), torch.arange(60) % 3
    shift = torch.tensor([0.0, 5.0, 0.0, -3.0, 100.0])
    scores = []
    for data in (features, features * 1e3 + shift):
        weight, bias, _ = fit_linear(data, labels, 3, 0.01, 0.1)
        scores.append((data.double() @ weight.double().T + bias.double()).softmax(1))
    assert torch.allclose(*scores, atol=1e-3)


def test_a_class_that_counts_twice_is_worth_twice_its_images():
    """sigmoid(-w) counts twice: 2 * sigmoid(-w) = weight_decay * w / 2; of one class alone, it is preferred."""
    decay, points, labels = 0.1, torch.tensor([[-1.0], [1.0]]), torch.tensor([0, 1])
    weight, bias, _ = fit_linear(points, labels, 2, decay, 0.0, [2.0, 2.0])
    difference = float(weight[1] - weight[0])
    assert 2 / (1 + math.exp(difference)) == pytest.approx(decay * difference / 2, abs=1e-4)
    weight, bias, _ = fit_linear(points, labels, 2, decay, 0.0, [1.0, 3.0])
    assert bias[1] > bias[0] + 0.1


def test_a_feature_that_never_changes_gets_no_say():
    features = torch.cat([torch.tensor([[-1.0], [1.0]]).repeat(5, 1), torch.full((10, 1), 7.0)], 1)
    weight, bias, _ = fit_linear(features, torch.tensor([0, 1] * 5), 2, 0.1, 0.0)
    assert weight[:, 1].abs().max() < 1e-6 and torch.isfinite(bias).all()


def test_the_last_layer_is_found_or_the_head_is_refused():
    head = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
    assert last_linear(head, 3) is head[2]
    for wrong in (nn.Sequential(nn.Linear(8, 3), nn.Linear(8, 3)), nn.Sequential(nn.Conv2d(8, 3, 1))):
        with pytest.raises(ValueError, match="Set train.strategy to finetune"):
            last_linear(wrong, 3)


# --- real training ------------------------------------------------------------------------------------

PROBE = SMALL | {"train": SMALL["train"] | {"strategy": "linear_probe"}}


def rows(folder) -> list[dict]:
    with (folder / "metrics/training.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def probed(small_run, tmp_path_factory):
    folder = copy(small_run, tmp_path_factory.mktemp("probe") / "project", **PROBE)
    repro(folder, "train")
    return folder


@pytest.mark.slow
def test_a_linear_probe_changes_the_head_and_nothing_else(probed):
    weights = torch.load(probed / "data/weights/pretrained.pth", weights_only=True)["state_dict"]
    best = torch.load(probed / "data/checkpoints/best.pth", weights_only=True)
    assert best["meta"]["epoch"] == 0
    changed = [key for key, value in best["state_dict"].items() if not torch.equal(value, weights[key])]
    assert changed == ["head.fc.weight", "head.fc.bias"]


@pytest.mark.slow
def test_its_history_is_the_score_of_the_fitted_head(probed):
    (row,) = rows(probed)
    assert row["epoch"] == "0" and 0 < float(row["loss"]) < math.log(12)


@pytest.mark.slow
def test_its_checkpoint_predicts(probed):
    image = next((probed / "data/sample/kiwi").iterdir())
    assert str(image) in python(probed, "-m", "stages", "predict", str(image))


@pytest.mark.slow
def test_another_penalty_fits_again_without_computing_features(probed):
    before = list((probed / ".work/features").iterdir())
    text = (probed / "params.yaml").read_text()
    (probed / "params.yaml").write_text(
        text.replace("probe_weight_decay: 0.01", "probe_weight_decay: 0.02")
    )
    assert "train" in executed(repro(probed, "train"))
    assert list((probed / ".work/features").iterdir()) == before and len(before) == 1
    (probed / "params.yaml").write_text(text)
    repro(probed, "train")


@pytest.mark.slow
def test_another_layout_in_memory_computes_features_anew(probed):
    """It rounds differently: a clean clone would."""
    text = (probed / "params.yaml").read_text()
    kept = "memory_format: channels_last"
    (probed / "params.yaml").write_text(text.replace(kept, "memory_format: contiguous"))
    repro(probed, "train")
    assert len(list((probed / ".work/features").iterdir())) == 2
    (probed / "params.yaml").write_text(text)
    repro(probed, "train")


@pytest.mark.slow
def test_fine_tuning_after_the_probe_starts_from_its_head(probed, small_run):
    first, second = rows(small_run)
    assert first == rows(probed)[0]
    assert second["epoch"] == "1" and float(second["lr"]) > 0
