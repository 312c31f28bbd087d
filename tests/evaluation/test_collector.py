"""Every image of a split is scored once, in the order of its list."""

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from toy_runner import sample, toy_config, toy_project

from stages import evaluate
from stages.core.config.finetune_config import rendered_text
from stages.core.evaluation.collector import ScoreCollector, score_flips
from stages.core.layout import Layout
from stages.core.networks.checkpoint import write_checkpoint


def test_scores_keep_the_order_of_the_list():
    collector = ScoreCollector()
    collector.process(None, [sample(0, 0.9, 0.1, path="z"), sample(1, 0.6, 0.4, path="y")])
    collector.process(None, [sample(1, 0.2, 0.8, path="x")])
    collector.evaluate(3)
    scored = collector.scored
    assert scored.paths == ["z", "y", "x"] and scored.labels.tolist() == [0, 1, 1]
    assert scored.predicted.tolist() == [0, 0, 1] and scored.correct.tolist() == [True, False, True]
    assert scored.confidence.tolist() == [0.9, 0.6, 0.8]


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
    collector = ScoreCollector()
    runner.test_evaluator.metrics.append(collector)
    runner.test()
    return torch.from_numpy(collector.scored.scores).float()


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
