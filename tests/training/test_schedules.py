"""Learning rates over the steps, and rates and weight decay over the parameters."""

import pytest
import torch
from mmengine.optim.scheduler import CosineAnnealingLR
from torch import nn

from stages.core.training.schedules import GroupedParameters, WarmUp


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


class Small(nn.Module):
    """One parameter of each kind, in two layers and a head."""

    def __init__(self):
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, 1, 4))
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Linear(4, 4)) for _ in range(2)
        )
        self.scale = nn.Parameter(torch.ones(4, 1, 1))
        self.head = nn.Linear(4, 2)


def groups(**paramwise) -> dict[str, tuple[float, float]]:
    """(rate, weight decay) of each parameter of a small network, and that there is one group for each."""
    model = Small()
    optimizer = dict(type="SGD", lr=1.0, weight_decay=0.1)
    built = GroupedParameters(dict(type="OptimWrapper", optimizer=optimizer), paramwise)(model)
    found = {
        id(p): (g["lr"], g["weight_decay"]) for g in built.optimizer.param_groups for p in g["params"]
    }
    assert len(built.optimizer.param_groups) == len(set(found.values()))
    return {name: found[id(parameter)] for name, parameter in model.named_parameters()}


def test_the_longest_start_of_a_name_decides_the_rate():
    found = groups(rates={"layers.": 0.5, "layers.1.": 0.25, "token": 0.125}, decay="all")
    rates = {name: rate for name, (rate, _) in found.items()}
    assert rates["token"] == 0.125 and rates["head.bias"] == rates["scale"] == 1.0
    assert rates["layers.0.0.weight"] == 0.5 and rates["layers.1.2.bias"] == 0.25
    assert {decay for _, decay in found.values()} == {0.1}


def test_only_what_layers_multiply_by_decays():
    found = groups(rates={}, decay="weights")
    decayed = {name for name, (_, decay) in found.items() if decay == 0.1}
    assert decayed == {"head.weight"} | {f"layers.{n}.{k}.weight" for n in (0, 1) for k in (0, 2)}
    assert {decay for name, (_, decay) in found.items() if name not in decayed} == {0.0}
