"""The metrics of val and test against known answers."""

import math

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from toy_runner import toy_config, toy_project

from stages import evaluate
from stages.core.config.finetune_config import rendered_text
from stages.core.layout import Layout
from stages.core.networks.checkpoint import write_checkpoint
from stages.core.scoring.metrics import Loss, PredictionCollector, score_flips


def sample(label: int, *scores: float, path: str = "") -> dict:
    return {
        "pred_score": torch.tensor(scores, dtype=torch.float64),
        "gt_label": torch.tensor([label]),
        "listed_path": path,
    }


def test_the_loss_is_the_mean_of_minus_log_p_over_images_of_unequal_batches():
    loss = Loss()
    loss.process(None, [sample(0, 0.5, 0.5), sample(1, 0.75, 0.25)])
    loss.process(None, [sample(1, 0.0, 1.0)])
    assert loss.evaluate(3)["loss"] == pytest.approx((math.log(2) + math.log(4)) / 3, rel=1e-12)


def test_a_score_of_zero_costs_a_finite_loss():
    loss = Loss()
    loss.process(None, [sample(0, 0.0, 1.0)])
    assert loss.evaluate(1)["loss"] == pytest.approx(12 * math.log(10))


def test_predictions_keep_the_order_of_the_list():
    collector = PredictionCollector(["a", "b"])
    collector.process(None, [sample(0, 0.9, 0.1, path="z"), sample(1, 0.6, 0.4, path="y")])
    collector.process(None, [sample(1, 0.2, 0.8, path="x")])
    collector.evaluate(3)
    assert [(row.path, row.label, row.prediction) for row in collector.predictions] == [
        ("z", "a", "a"),
        ("y", "b", "a"),
        ("x", "b", "b"),
    ]


def test_flips_are_scored_by_the_mean_of_an_image_and_its_mirror_image(tmp_path):
    toy_project(tmp_path)
    plain = scores(toy_config(tmp_path))
    mirrored = toy_config(tmp_path)
    mirrored.test_dataloader.dataset.pipeline.insert(-1, dict(type="RandomFlip", prob=1.0))
    flipped = scores(mirrored)
    cfg = toy_config(tmp_path)
    score_flips(cfg)
    assert not torch.allclose(plain, flipped)
    torch.testing.assert_close(scores(cfg), (plain + flipped) / 2)


def scores(cfg: Config) -> torch.Tensor:
    """(N, 2): the scores of the test images, by a network with random weights of one seed."""
    cfg.load_from, cfg.custom_hooks = None, []
    runner = Runner.from_cfg(cfg)
    torch.manual_seed(0)
    for parameter in runner.model.parameters():
        torch.nn.init.normal_(parameter)
    found = []

    class Keep(PredictionCollector):
        def process(self, data_batch, data_samples: list[dict]) -> None:
            super().process(data_batch, data_samples)
            found.extend(sample["pred_score"] for sample in data_samples)

    runner.test_evaluator.metrics.append(Keep(["a", "b"]))
    runner.test()
    return torch.stack(found)


def test_evaluate_refuses_to_score_other_images_than_those_of_the_test_list(tmp_path):
    toy_project(tmp_path)
    layout = Layout(tmp_path)
    model = Runner.from_cfg(toy_config(tmp_path)).model
    write_checkpoint(layout.checkpoint, model.state_dict(), {"dataset_meta": {"classes": ["a", "b"]}})
    cfg = Config.fromfile(layout.rendered_config)
    cfg.test_dataloader.dataset.ann_file = "data/dataset/val.txt"
    layout.rendered_config.write_text(rendered_text(cfg))
    with pytest.raises(RuntimeError, match="scored 8 images of 6 in the test list"):
        evaluate.main(tmp_path)
    assert not layout.evaluation.exists()
