"""Runs of a fraction of a second: an mmengine Runner on numbers, and a project with a toy network.

As mmengine's RunnerTestCase does, but with our hooks, and with the rendered config of a real project.
"""

import gc
import hashlib
from pathlib import Path
from uuid import uuid4

import torch
from conftest import REPO, draw_image, write_params
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from stages.core.config.finetune_config import finetune_config, rendered_text
from stages.core.images.lists import ListedImage, write_list
from stages.core.layout import Layout
from stages.core.machine.device import use_device
from stages.core.machine.placement import open_config
from stages.core.networks.checkpoint import write_checkpoint
from stages.core.params import load_params
from stages.core.training.resume import RunState
from stages.train import train

# --- a Runner on numbers ------------------------------------------------------------------------------


class KnownLoss(BaseModel):
    """Its loss is the mean of the batch; its weight falls by the learning rate at each step."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, inputs: list[Tensor], data_samples: list, mode: str) -> dict | list:
        if mode == "loss":
            return {"loss": torch.stack(inputs).mean() + (self.weight - self.weight.detach()).sum()}
        return data_samples


class Numbers:
    """A dataset of one number an image."""

    metainfo = {"classes": ["a", "b"]}

    def __init__(self, values: list[float]):
        self.values = values

    def full_init(self) -> None:
        pass

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, position: int) -> dict:
        return {"inputs": torch.tensor(self.values[position]), "data_samples": position}


VALUES = [1.0, 2.0, 3.0, 4.0, 6.5]


class KnownScores(BaseMetric):
    """Reports the next of `top1` at each validation, and a loss of 1.25; NaN with a top-1 of NaN."""

    def __init__(self, top1: list[float]):
        super().__init__()
        self.top1 = iter(top1)

    def process(self, data_batch, data_samples) -> None:
        self.results.extend(data_samples)

    def compute_metrics(self, results: list) -> dict:
        top1 = next(self.top1)
        return {"loss": 1.25 + 0 * top1, "accuracy/top1": top1}


def number_runner(
    folder: Path, hooks: list, top1: list[float], values: list[float] = VALUES, epochs: int = 0
) -> Runner:
    """An mmengine Runner over `values` in batches of two; as many epochs as `top1` has, or `epochs`."""
    loader = dict(
        dataset=Numbers(values),
        sampler=dict(type="DefaultSampler", shuffle=False),
        batch_size=2,
        num_workers=0,
        collate_fn=pseudo_collate,
    )
    return Runner(
        model=KnownLoss(),
        work_dir=str(folder),
        train_dataloader=loader,
        val_dataloader=loader,
        val_evaluator=[KnownScores(top1)],
        train_cfg=dict(by_epoch=True, max_epochs=epochs or len(top1)),
        val_cfg=dict(),
        optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.1)),
        param_scheduler=dict(type="ConstantLR", factor=1.0),
        default_hooks=dict(logger=None, checkpoint=None, timer=None),
        custom_hooks=hooks,
        default_scope="mmpretrain",
        log_level="ERROR",
        experiment_name=str(uuid4()),  # mmengine shares the history of runs with one name
    )


# --- a project with a toy network ---------------------------------------------------------------------


@MODELS.register_module()
class ToyBackbone(nn.Module):
    """(N, 3, H, W) to 6 features, with batch normalisation and dropout."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 6, 4, stride=4)
        self.norm = nn.BatchNorm2d(6)
        self.dropout = nn.Dropout(0.2)

    def forward(self, images: Tensor) -> tuple[Tensor]:
        features = self.norm(self.convolution(images)).relu()
        return (self.dropout(features.mean((2, 3))),)


TOY = dict(
    model=dict(
        type="ImageClassifier",
        backbone=dict(type="ToyBackbone"),
        head=dict(type="LinearClsHead", num_classes=10, in_channels=6),
    ),
    data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True),
)
COUNTS = {"train": 5, "val": 4, "test": 3}
"""Images of each of the two classes."""


def toy_project(folder: Path, device: str = "cpu", **train) -> None:
    """A rendered config, pretrained weights, and images of two colours, ready to train."""
    values = {"epochs": 3, "batch_size": 4, "threads": 1, "warmup_epochs": 1} | train
    write_params(
        folder,
        train=values,
        image={"size": 16, "resize": 16, "reduce": 0},
        augment={"mixup": 0.2},
        runtime={"workers": 0, "device": device, "store_gb": 0.0},
    )
    params = load_params(folder / "params.yaml")
    layout, variant = Layout(folder), 0
    for split, count in COUNTS.items():
        images = []
        for number in range(2 * count):
            path = draw_image(folder / f"data/{split}/{number}.png", variant, number % 2 / 2, (20, 16))
            sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
            images.append(ListedImage(layout.relative(path), number % 2, sha256))
            variant += 1
        write_list(folder / f"data/dataset/{split}.txt", images)
    source = {"source": "path", "model": "toy"}
    base = Config.fromfile(REPO / "configs/finetune.py", import_custom_modules=False)
    cfg = finetune_config(base, Config(TOY), source, params, ["a", "b"])
    torch.manual_seed(1)
    backbone = {f"backbone.{name}": value for name, value in ToyBackbone().state_dict().items()}
    write_checkpoint(layout.pretrained, backbone, {})
    layout.rendered_config.parent.mkdir()
    cfg = Config(cfg.to_dict(), format_python_code=False)
    layout.rendered_config.write_text(rendered_text(cfg), encoding="utf-8")


def toy_config(root: Path) -> Config:
    """The rendered config as a stage opens it."""
    runtime = load_params(root / "params.yaml").runtime
    device = use_device(runtime.device)
    cfg = open_config(Layout(root).rendered_config, root, runtime, device, training=True)
    return cfg


def sample(label: int, *scores: float, path: str = "") -> dict:
    """An image as a metric sees it: its scores, its class and its path in the list."""
    return {
        "pred_score": torch.tensor(scores, dtype=torch.float64),
        "gt_label": torch.tensor([label]),
        "listed_path": path,
    }


def toy_training(root: Path, folder: Path, *hooks: dict) -> list[dict]:
    """The train stage's own function in `folder`, from the start or from what is saved there."""
    folder.mkdir(exist_ok=True)
    runtime = load_params(root / "params.yaml").runtime
    cfg = toy_config(root)
    cfg.custom_hooks.extend(hooks)
    return train(cfg, RunState(folder), runtime, runtime.device, folder / "training.csv")


@HOOKS.register_module()
class InterruptIn(Hook):
    """Ctrl-C at the second step of an epoch."""

    def __init__(self, epoch: int):
        self.epoch = epoch

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        if runner.epoch + 1 == self.epoch and batch_idx == 1:
            raise KeyboardInterrupt


gc.freeze()  # mmengine collects garbage for each dataset: a quarter of a second over all that torch has
