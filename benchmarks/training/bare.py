"""Pictures a second of the network's bare steps (forward, backward, optimizer) on one batch in memory.

    python benchmarks/training/bare.py

Run in a project with a rendered config: its batch size, threads, kernels and memory format.
"""

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, os.getcwd())

import torch  # noqa: E402
from mmengine.config import Config  # noqa: E402
from mmpretrain import get_model  # noqa: E402
from mmpretrain.structures import DataSample  # noqa: E402

from stages.core.checkpoint import lay_out  # noqa: E402
from stages.core.hooks import keep_statistics  # noqa: E402
from stages.core.runtime import read_config, use_kernels  # noqa: E402


def main() -> None:
    cfg = read_config(Path("configs/rendered.py"))
    use_kernels(cfg, "cpu")
    model = network(cfg)
    batch, size = cfg.train_dataloader.batch_size, cfg.test_pipeline[2].crop_size
    inputs = torch.randn(batch, 3, size, size).to(memory_format=torch.channels_last)
    samples = [DataSample().set_gt_label(index % model.head.num_classes) for index in range(batch)]
    options = dict(cfg.optim_wrapper.optimizer)
    optimizer = getattr(torch.optim, options.pop("type"))(model.parameters(), **options)

    def step() -> None:
        loss = model(inputs, samples, mode="loss")["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    for _ in range(3):
        step()
    steps = max(5, 600 // batch)
    start = time.perf_counter()
    for _ in range(steps):
        step()
    print("pictures a second:", steps * batch / (time.perf_counter() - start))


def network(cfg: Config) -> torch.nn.Module:
    """The rendered config's network as the train stage trains it, from random weights."""
    model = lay_out(get_model(cfg, pretrained=False, device="cpu"), cfg).train()
    if any(hook["type"] == "PretrainedStatistics" for hook in cfg.custom_hooks):
        keep_statistics(model)
    return model


if __name__ == "__main__":
    main()
