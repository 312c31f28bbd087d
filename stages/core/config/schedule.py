"""The optimizer, the learning rates, and what is trained in which order."""

from mmengine.config import Config
from torch import nn

from stages.core.config.layers import layer_rates
from stages.core.config.settings import set_values
from stages.core.networks.heads import last_linear
from stages.core.params import TrainParams


def set_schedule(cfg: Config, train: TrainParams) -> None:
    # optimizer
    if train.optimizer == "sgd":
        optimizer = dict(type="SGD", momentum=train.momentum, nesterov=train.nesterov)
    else:
        optimizer = dict(type="AdamW")
    # linear scaling: Goyal et al. 2017, https://arxiv.org/abs/1706.02677
    optimizer["lr"] = train.lr * train.batch_size / train.lr_batch_size
    optimizer["weight_decay"] = train.weight_decay
    optimizer["fused"] = True  # torch's loop over the tensors takes a tenth of a small batch's step

    # learning rates: a warm-up, then a cosine or steps
    warmup = train.warmup_epochs
    schedulers = []
    if warmup > 0:
        schedulers.append(
            dict(
                type="WarmUp",
                start_factor=0.01,
                by_epoch=True,
                begin=0,
                end=warmup,
                convert_to_iter_based=True,
            )
        )
    if train.schedule == "cosine":
        schedulers.append(
            dict(
                type="CosineAnnealingLR",
                T_max=train.epochs - warmup,
                eta_min=0.0,
                by_epoch=True,
                begin=warmup,
                end=train.epochs,
                convert_to_iter_based=True,
            )
        )
    else:
        schedulers.append(
            dict(
                type="MultiStepLR",
                by_epoch=True,
                milestones=list(train.milestones),
                gamma=train.gamma,
            )
        )
    set_values(
        cfg,
        {
            "train_cfg.max_epochs": train.epochs,
            "optim_wrapper.optimizer": optimizer,
            "optim_wrapper.clip_grad": dict(max_norm=train.clip_grad) if train.clip_grad else None,
            "auto_scale_lr.base_batch_size": train.batch_size,
            "param_scheduler": schedulers,
        },
    )


def set_groups(cfg: Config, train: TrainParams, network: nn.Module, size: int) -> None:
    """Learning rates and weight decay that differ between parameters; network: the model's skeleton."""
    rates = layer_rates(network, size, train.layer_decay) if train.layer_decay < 1 else {}
    if train.head_lr_mult != 1:
        rates["head."] = train.head_lr_mult
    # not keys of the base, because any key in paramwise_cfg makes mmengine build groups
    if rates or train.weight_decay_on == "weights":
        cfg.optim_wrapper.constructor = "GroupedParameters"
        cfg.optim_wrapper.paramwise_cfg = dict(rates=rates, decay=train.weight_decay_on)


def set_balance(cfg: Config, train: TrainParams) -> None:
    """Repeat images of rare classes (repeat factors, Mahajan et al. 2018), or weight their loss."""
    if train.oversample > 0:
        balanced = dict(
            type="ClassBalancedDataset",
            dataset=cfg.train_dataloader.dataset.dataset,
            oversample_thr=train.oversample,
        )
        set_values(cfg, {"train_dataloader.dataset.dataset": balanced})
    if train.class_weights == "balanced":
        cfg.custom_hooks.append(dict(type="BalancedLoss"))


def from_scratch(train: TrainParams) -> TrainParams:
    """`train` without what needs pretrained weights: features to fit a head to, statistics to keep."""
    if train.strategy == "linear_probe":
        raise ValueError(
            "params.yaml: train.strategy is linear_probe, but weights.source is none, and a head "
            "cannot be fitted to the features of random weights. Set train.strategy to finetune, or "
            "choose another weights.source."
        )
    return train.replace(strategy="finetune", batch_norm="batch")


def set_strategy(cfg: Config, train: TrainParams, network: nn.Module) -> None:
    """Set what is trained in which order, EMA and early stopping; network: the model's skeleton."""
    if train.strategy != "finetune":
        last_linear(network.head, cfg.model.head.num_classes)  # raises if it cannot be fitted
        cfg.custom_hooks.append(
            dict(
                type="FittedHead",
                weight_decay=train.probe_weight_decay,
                label_smoothing=train.label_smoothing,
            )
        )
    if train.batch_norm == "pretrained":
        cfg.custom_hooks.append(dict(type="PretrainedStatistics"))
    if train.strategy == "linear_probe":
        set_values(cfg, {"train_cfg.max_epochs": 0})  # the fitted head is scored and kept
    if train.ema > 0:
        cfg.custom_hooks.append(dict(type="EMAHook", momentum=train.ema))
    if train.early_stopping > 0:
        cfg.custom_hooks.append(
            dict(
                type="EarlyStopping",
                monitor="accuracy/top1",
                patience=train.early_stopping,
                min_delta=5e-5,  # the history has four digits
            )
        )
