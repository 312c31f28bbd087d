"""The fine-tuned classifier, ready to score images."""

from pathlib import Path

from mmengine.config import Config
from mmpretrain import get_model
from torch import nn

from stages.core.networks.checkpoint import load_exactly, to_memory_format


def load_classifier(cfg: Config, path: Path, device: str) -> tuple[nn.Module, list[str]]:
    """The fine-tuned network in eval mode, and its class names in the order of its scores."""
    model = get_model(cfg, pretrained=False, device=device)
    classes = list(cfg.test_dataloader.dataset.metainfo.classes)
    load_exactly(model, path, classes)
    return to_memory_format(model, cfg).eval(), classes
