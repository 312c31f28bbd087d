"""The network's bare steps: forward, backward and optimizer step on one batch in memory."""

from collections.abc import Callable

import torch
from mmengine.config import Config
from mmpretrain import get_model
from mmpretrain.structures import DataSample

from stages.core.networks.checkpoint import to_memory_format
from stages.core.training.hooks import keep_statistics


def network(cfg: Config, device: str = "cpu") -> torch.nn.Module:
    """The rendered config's network as the train stage trains it, from random weights."""
    model = to_memory_format(get_model(cfg, pretrained=False, device=device), cfg).train()
    if any(hook["type"] == "PretrainedStatistics" for hook in cfg.custom_hooks):
        keep_statistics(model)
    return model


def bare_step(cfg: Config, device: str = "cpu", precision: str = "fp32") -> Callable[[], None]:
    """One step of the rendered config's batch size and memory format, each time it is called."""
    model = network(cfg, device)
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    batch, size = cfg.train_dataloader.batch_size, cfg.test_pipeline[2].crop_size
    inputs = torch.randn(batch, 3, size, size).to(device, memory_format=torch.channels_last)
    samples = [
        DataSample().set_gt_label(index % model.head.num_classes).to(device) for index in range(batch)
    ]
    options = dict(cfg.optim_wrapper.optimizer)
    optimizer = getattr(torch.optim, options.pop("type"))(model.parameters(), **options)

    def step() -> None:
        with torch.autocast(device, dtype, enabled=dtype != torch.float32):
            loss = model(inputs, samples, mode="loss")["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step
