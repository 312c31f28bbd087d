"""What the hooks do to a run is known."""

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from torch import nn
from torch.utils.data import DataLoader
from toy_runner import Numbers, number_runner, toy_project, toy_training

from stages.core.layout import Layout
from stages.core.networks.checkpoint import read_checkpoint, write_checkpoint
from stages.core.training.hooks import RepeatableRun, keep_statistics
from stages.core.training.sampling import LockstepLoader


class Draws(Hook):
    """Draws once a step, as dropout does, and once more a step where `extra` is set."""

    priority = "LOWEST"

    def __init__(self, extra: bool):
        self.extra, self.drawn = extra, []

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        self.drawn.append(torch.rand(1).item())
        if self.extra:
            torch.rand(3)


def drawn(folder, seed: int, rank: int = 0, extra: bool = False) -> list[float]:
    hook = Draws(extra)
    history = dict(type="TrainingHistory")
    runner = number_runner(folder, [RepeatableRun(), history, hook], [50.0, 60.0])
    runner.cfg = Config(dict(randomness=dict(seed=seed), threads=torch.get_num_threads()))
    runner._rank = rank
    runner.train()
    return hook.drawn


def test_the_draws_of_a_step_depend_on_seed_step_and_rank_and_on_nothing_before(tmp_path):
    first = drawn(tmp_path, seed=0)
    assert len(set(first)) == 6  # 3 steps in each of 2 epochs
    assert drawn(tmp_path, seed=0, extra=True) == first
    assert not set(drawn(tmp_path, seed=1)) & set(first)
    assert not set(drawn(tmp_path, seed=0, rank=1)) & set(first)


def test_kept_statistics_stay_while_scale_and_shift_learn():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).train()
    keep_statistics(model)
    before = model[1].running_mean.clone(), model[1].running_var.clone()
    model(torch.rand(8, 3, 5, 5) + 7).sum().backward()
    assert torch.equal(model[1].running_mean, before[0])
    assert torch.equal(model[1].running_var, before[1])
    assert model[0].training and model[1].bias.grad.abs().sum() > 0


def test_weights_that_do_not_cover_the_backbone_are_refused_with_their_names(tmp_path):
    toy_project(tmp_path)
    path = Layout(tmp_path).pretrained
    tensors = read_checkpoint(path, "")["state_dict"]
    del tensors["backbone.convolution.bias"]
    tensors["backbone.other"] = torch.zeros(2)
    write_checkpoint(path, tensors, {})
    with pytest.raises(ValueError, match=r"1 missing \(backbone.convolution.bias\).*backbone.other"):
        toy_training(tmp_path, tmp_path / "run")


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_that_load_together_give_each_batch_once_and_in_order(workers):
    dataset = Numbers([float(number) for number in range(10)])
    loader = DataLoader(dataset, batch_size=3, num_workers=workers, collate_fn=lambda samples: samples)
    together = LockstepLoader(loader)
    batches = [[sample["data_samples"] for sample in batch] for batch in together]
    assert batches == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]] and len(together) == 4


def test_batches_of_one_image_are_refused_where_their_statistics_count(tmp_path):
    toy_project(tmp_path, batch_size=1, batch_norm="batch", epochs=1, warmup_epochs=0)
    with pytest.raises(ValueError, match="train.batch_size is 1, .* Set it to 2 or more"):
        toy_training(tmp_path, tmp_path / "run")


@pytest.mark.parametrize("train", [{"batch_norm": "pretrained"}, {"strategy": "linear_probe"}])
def test_batches_of_one_image_train_where_their_statistics_do_not_count(tmp_path, train):
    toy_project(
        tmp_path, **({"batch_size": 1, "batch_norm": "batch", "epochs": 1, "warmup_epochs": 0} | train)
    )
    assert toy_training(tmp_path, tmp_path / "run")


def test_a_last_batch_of_one_image_gets_another(tmp_path):
    """10 images in batches of 3: the last would be alone."""
    toy_project(tmp_path, batch_size=3, batch_norm="batch", epochs=1, warmup_epochs=0)
    assert toy_training(tmp_path, tmp_path / "run")[-1]["epoch"] == 1
