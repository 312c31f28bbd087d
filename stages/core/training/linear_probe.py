"""A new head fitted on the frozen network's features, before fine-tuning or instead of it.

A random head's gradients spoil the backbone before the head has learned anything. A head that
is fitted first leaves the pretrained features as they are (LP-FT, Kumar et al. 2022,
https://arxiv.org/abs/2202.10054).
"""

import hashlib
from pathlib import Path

import torch
from mmengine.dataset import default_collate
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from mmpretrain.registry import DATASETS
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader
from tqdm import tqdm

from stages.core.networks.checkpoint import load_kept, save_whole, unwrapped
from stages.core.networks.heads import last_linear
from stages.core.seals import read_kept
from stages.core.training.history import history_of, report_probe_loss
from stages.core.training.hooks import cross_entropy

OF_THE_MACHINE = ("store", "store_gb", "writers")
"""Arguments of LoadImage that change no pixel."""
OF_THE_FEATURES = ("data_preprocessor", "memory_format", "cpu_kernels")
"""Config keys that affect features but are part of neither the model nor the pipeline."""
BATCH_SIZE = 64
"""Images per forward pass; fixed, as the kernels chosen for a batch decide the last bits."""


@HOOKS.register_module()
class FittedHead(Hook):
    """Fits the head's last layer when training starts, and scores it as epoch 0 of the history.

    weight_decay: L2 penalty on its weights, for features of variance 1 on average. store: a folder that
    keeps features, so that they are computed once; empty for none.
    """

    priority = "VERY_LOW"  # once the pretrained weights are loaded, and all hooks are ready to score

    def __init__(self, weight_decay: float, label_smoothing: float, store: str = ""):
        self.weight_decay = weight_decay
        self.label_smoothing = label_smoothing
        self.store = Path(store) if store else None

    def before_train(self, runner: Runner) -> None:
        if history_of(runner):
            return  # a resumed run has its head
        model = unwrapped(runner.model)
        num_classes = model.data_preprocessor.num_classes
        layer = last_linear(model.head, num_classes)
        loader = frozen_loader(runner)
        images = loader.dataset.load_data_list()
        pipeline = runner.cfg.val_dataloader.dataset.pipeline
        facts = [repr(runner.cfg[name]) for name in OF_THE_FEATURES]

        # the frozen network's features, computed once
        key = features_key(model, layer, pipeline, images, facts)
        path = self.store and self.store / f"{key}.pth"
        kept = read_kept(path, key, "the features are computed again") if path else None
        features = load_kept(kept)["features"] if kept else compute_features(model, layer, loader)
        if path and not kept and runner.rank == 0:
            save_whole(path, {"features": features}, sealed_as=key)

        # fit the layer to them
        shown = torch.tensor(shown_positions(runner.train_dataloader.dataset))
        labels = torch.tensor([image["gt_label"] for image in images])[shown]
        weight, bias, loss = fit_linear(
            features[shown],
            labels,
            num_classes,
            self.weight_decay,
            self.label_smoothing,
            cross_entropy(model).class_weight,
        )
        with torch.no_grad():
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)
        report_probe_loss(runner, loss)

        # score it as epoch 0
        # EMAHook: the average starts from these weights
        runner.call_hook("after_load_checkpoint", checkpoint={"state_dict": model.state_dict()})
        runner.val_loop.run()


def shown_positions(dataset) -> list[int]:
    """Positions in the list of images, as one epoch shows them: images of rare classes are repeated."""
    while hasattr(dataset, "dataset"):
        if hasattr(dataset, "repeat_indices"):  # ClassBalancedDataset
            return list(dataset.repeat_indices)
        dataset = dataset.dataset
    return list(range(len(dataset)))


def frozen_loader(runner: Runner) -> DataLoader:
    """The training images as validation sees them: no augmentation, in the order of the list.

    Not split over the processes: each fits the same head from all features.
    """
    train = runner.cfg.train_dataloader.dataset
    while "dataset" in train:  # SeededDataset, ClassBalancedDataset
        train = train.dataset
    val = runner.cfg.val_dataloader
    dataset = DATASETS.build(val.dataset | {"ann_file": train.ann_file})
    workers = val.num_workers
    return DataLoader(dataset, BATCH_SIZE, num_workers=workers, collate_fn=default_collate)


@torch.no_grad()
def compute_features(model: nn.Module, layer: nn.Linear, loader: DataLoader) -> Tensor:
    """The input of `layer` for each image: (N, in_features) float32 on the CPU."""
    batches = []
    handle = layer.register_forward_pre_hook(
        lambda module, inputs: batches.append(inputs[0].flatten(1).float().cpu())
    )
    training = model.training
    model.eval()
    try:
        for batch in tqdm(loader, desc="features", unit="batch", leave=False, disable=None):
            model.test_step(batch)
    finally:
        handle.remove()
        model.train(training)
    return torch.cat(batches)


def features_key(
    model: nn.Module, layer: nn.Linear, pipeline: list[dict], images: list[dict], facts: list[str]
) -> str:
    """A hash of all that decides the features: weights below `layer`, pipeline, images and `facts`."""
    digest = hashlib.sha256()
    own = {id(layer.weight), id(layer.bias)}
    for name, value in model.state_dict(keep_vars=True).items():
        if id(value) not in own:
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    machine = torch.__version__, torch.get_num_threads(), torch.backends.cpu.get_cpu_capability()
    device = next(model.parameters()).device.type
    name = torch.cuda.get_device_name() if device == "cuda" else device
    transforms = [{k: v for k, v in step.items() if k not in OF_THE_MACHINE} for step in pipeline]
    digest.update(repr((*facts, machine, name, str(model), transforms)).encode())
    digest.update("".join(image["sha256"] for image in images).encode())
    return digest.hexdigest()[:32]


def fit_linear(
    features: Tensor,
    labels: Tensor,
    num_classes: int,
    weight_decay: float,
    label_smoothing: float,
    class_weight: list[float] | None = None,
    max_iterations: int = 200,
) -> tuple[Tensor, Tensor, float]:
    """Multinomial logistic regression by L-BFGS, in float64.

    features: (N, D). labels: (N,). class_weight: the weight of an image of each class; None for 1 each.
    Minimises the mean cross-entropy plus weight_decay / 2 times the squared norm of the weights. Returns
    weight (num_classes, D) and bias (num_classes,) for the features as they are, float32, and the mean
    cross-entropy in nats.

    The penalty is for features centred and scaled by one number, the root of their mean variance.
    Scaled one by one, those that hardly vary would get large weights, and fine-tuning, which moves all
    of them a little, would start with a jump of the loss.
    """
    # centre and scale
    features = features.double()
    mean = features.mean(0)
    scale = features.var(0, correction=0).mean().sqrt().clamp(min=1e-6)
    standardised = (features - mean) / scale

    # the problem
    class_weights = class_weight and torch.tensor(class_weight, dtype=torch.float64)
    weight = torch.zeros(num_classes, features.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(num_classes, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=max_iterations, tolerance_grad=1e-6, line_search_fn="strong_wolfe"
    )

    def mean_loss() -> Tensor:
        scores = standardised @ weight.T + bias
        losses = functional.cross_entropy(
            scores, labels, class_weights, label_smoothing=label_smoothing, reduction="none"
        )
        return losses.mean()

    def objective() -> Tensor:
        optimizer.zero_grad()
        total = mean_loss() + weight_decay / 2 * weight.square().sum()
        total.backward()
        return total

    # solve it, and undo the scaling
    optimizer.step(objective)
    with torch.no_grad():
        loss = float(mean_loss())
        weight = weight / scale
        bias = bias - weight @ mean
    return weight.float(), bias.float(), round(loss, 6)
