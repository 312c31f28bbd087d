"""mmengine hooks: what makes a run repeatable, its history, and its progress on a terminal."""

from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch.nn import Module
from torch.nn.modules.batchnorm import _BatchNorm

from stages.core.machine.threads import use_threads
from stages.core.networks.checkpoint import unwrapped
from stages.core.training.pretrained import load_pretrained
from stages.core.training.sampling import derived_seed, seed_all


@HOOKS.register_module()
class RepeatableRun(Hook):
    """The config's thread count, and randomness in the model (dropout, mixup) from (seed, step, rank).

    The thread count decides how sums are split, and with that their last bits. The stage has set it by
    then; `mim train` has not.
    """

    def before_run(self, runner: Runner) -> None:
        self.seed = runner.cfg.randomness.seed
        use_threads(runner.cfg.threads)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        seed_all(derived_seed(self.seed, runner.iter, runner.rank))


@HOOKS.register_module()
class PretrainedStatistics(Hook):
    """Batch normalisation keeps the mean and variance of pretraining; its scale and shift are trained.

    With each batch's own statistics, the features of images unlike ImageNet's would change before
    anything is learned. A head that was fitted to those features would no longer fit.
    """

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        if batch_idx == 0:  # mmengine puts the whole model into training mode at each epoch's start
            keep_statistics(unwrapped(runner.model))


def keep_statistics(model: Module) -> None:
    """Batch normalisation computes with its running mean and variance, and leaves them as they are."""
    for layer in model.modules():
        if isinstance(layer, _BatchNorm):
            layer.eval()


def check_batch_size(model: Module, cfg: Config) -> None:
    """Raises ValueError if batch normalisation would take its statistics from one image.

    It fails, or learns from nothing. EpochSampler avoids it for a last batch.
    """
    one = cfg.train_dataloader.batch_size == 1 and cfg.train_cfg.max_epochs > 0
    kept = any(hook["type"] == "PretrainedStatistics" for hook in cfg.custom_hooks)
    if one and not kept and any(isinstance(layer, _BatchNorm) for layer in model.modules()):
        raise ValueError(
            "params.yaml: train.batch_size is 1, and this network normalises by the mean and variance "
            "of each batch. Set it to 2 or more, or, with pretrained weights, train.batch_norm to "
            "pretrained."
        )


class PretrainedWeights(Hook):
    """mmengine's load_from with its warnings made errors: the weights must cover the backbone.

    A hook, as the Runner initialises the model anew when training starts.
    """

    priority = "VERY_HIGH"

    def __init__(self, path: Path):
        self.path = path

    def before_train(self, runner: Runner) -> None:
        model = unwrapped(runner.model)
        lines = load_pretrained(model, self.path)
        if runner.rank == 0 and lines:
            print(*lines, sep="\n", flush=True)
        # EMAHook: the average starts from these weights
        runner.call_hook("after_load_checkpoint", checkpoint={"state_dict": model.state_dict()})


@HOOKS.register_module()
class BalancedLoss(Hook):
    """Class weights of MMPretrain's cross-entropy: (images / classes) / images of the class.

    Counted when training starts, as the rendered config must not change with every added image.
    """

    def before_train(self, runner: Runner) -> None:
        dataset = runner.train_dataloader.dataset
        model = unwrapped(runner.model)
        num_classes = model.data_preprocessor.num_classes
        cross_entropy(model).class_weight = balanced_weights(dataset.labels(), num_classes)


def cross_entropy(model: Module) -> Module:
    """MMPretrain's CrossEntropyLoss of the head; LabelSmoothLoss computes with one."""
    loss = model.head.loss_module
    return getattr(loss, "ce", loss)


def balanced_weights(labels: list[int], num_classes: int) -> list[float]:
    """One weight per class: 1 on average over the images, and 1 for a class without images."""
    counts = torch.bincount(torch.tensor(labels), minlength=num_classes).tolist()
    return [len(labels) / (num_classes * count) if count else 1.0 for count in counts]
