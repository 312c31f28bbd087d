"""Learning rates over the steps and over the layers of a network."""

import pytest
import torch
from mmengine.config import Config
from mmengine.optim.scheduler import CosineAnnealingLR
from mmpretrain import get_model

from stages.core.training.schedules import WarmUp, check_layer_depths


def rates(steps: int, warmup: int) -> list[float]:
    """The rate of each step: a warm-up, then a cosine to zero, as in the rendered config."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    epochs = dict(by_epoch=True, epoch_length=1)
    schedulers = [
        WarmUp.build_iter_from_epoch(optimizer, begin=0, end=warmup, start_factor=0.01, **epochs),
        CosineAnnealingLR.build_iter_from_epoch(
            optimizer, T_max=steps - warmup, begin=warmup, end=steps, **epochs
        ),
    ]
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    return found


def test_a_warm_up_rises_evenly_to_the_full_rate():
    assert rates(12, 4)[:4] == pytest.approx([0.01, 0.34, 0.67, 1.0])


def test_a_warm_up_of_one_step_leaves_the_rate_whole():
    found = rates(8, 1)
    assert found[0] == 1.0 and max(found[1:]) > 0.9 and found[-1] < 0.1


@pytest.mark.parametrize(
    ("name", "known"), [("resnet18_8xb32_in1k", False), ("deit-tiny_4xb256_in1k", True)]
)
def test_a_rate_that_falls_with_depth_needs_a_network_that_tells_its_depths(name, known):
    model = get_model(name, pretrained=False)
    cfg = Config(dict(optim_wrapper=dict(paramwise_cfg=dict())))
    check_layer_depths(model, cfg)
    cfg.optim_wrapper.paramwise_cfg.layer_decay_rate = 0.7
    if known:
        check_layer_depths(model, cfg)
    else:
        with pytest.raises(
            ValueError, match="train.layer_decay is 0.7, but .* no layer depths of ResNet;"
        ):
            check_layer_depths(model, cfg)
