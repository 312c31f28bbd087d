"""params.yaml as frozen dataclasses: read once, checked, done.

Every value stands in params.yaml and none has a default here, so that `dvc params diff` tells the
whole story.
"""

import math
import re
import typing
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Literal, get_args, get_origin, get_type_hints

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError


@dataclass(frozen=True)
class SampleParams:
    seed: int
    images_per_class: int

    def __post_init__(self):
        require(self.images_per_class >= 0, "images_per_class", self.images_per_class, "0 or more")


@dataclass(frozen=True)
class WeightsParams:
    source: Literal["package", "mim", "path", "url", "none"]
    model: str
    path: str
    url: str
    sha256: str
    mirror: str

    def __post_init__(self):
        require(self.model != "", "model", self.model, "the name of a model")
        if self.source == "path":
            require(self.path != "", "path", self.path, "a checkpoint file, as source is path")
        if self.source == "url":
            require(self.url != "", "url", self.url, "an http(s) address, as source is url")
        if self.sha256 or self.source in ("path", "url"):
            require(
                re.fullmatch("[0-9a-fA-F]{8,64}", self.sha256) is not None,
                "sha256",
                self.sha256,
                f"8 to 64 hex digits, as source is {self.source}: what is not known is not loaded",
            )


@dataclass(frozen=True)
class DatasetParams:
    path: str
    list: str
    class_level: int
    group_by: str
    val_from: Literal["train", "val"]
    test_from: Literal["train", "test", "val"]
    val_fraction: float
    test_fraction: float
    fold: str
    near_duplicates: int
    on_error: Literal["fail", "exclude"]

    def __post_init__(self):
        require(self.path != "", "path", self.path, "a folder or an archive")
        for name in ("val_fraction", "test_fraction"):
            require(0 < getattr(self, name) < 1, name, getattr(self, name), "between 0 and 1")
        require(
            self.val_fraction + self.test_fraction < 1,
            "val_fraction + test_fraction",
            self.val_fraction + self.test_fraction,
            "less than 1, so that some pictures are left to train on",
        )
        require(
            self.class_level >= 1 or self.class_level == -1,
            "class_level",
            self.class_level,
            "1 or more, or -1 for the innermost folder",
        )
        try:
            re.compile(self.group_by)
        except re.error as error:
            raise ValueError(f"group_by is {self.group_by!r}, no regular expression: {error}") from None
        require(
            0 <= self.near_duplicates <= 16, "near_duplicates", self.near_duplicates, "0 (off) to 16"
        )
        if self.fold:
            found = re.fullmatch(r"(\d+)/(\d+)", self.fold)
            require(
                found is not None and int(found[2]) >= 2 and 1 <= int(found[1]) <= int(found[2]),
                "fold",
                self.fold,
                "e.g. 2/5, the second of five; empty for no cross-validation",
            )
            require(
                self.val_from == self.test_from == "train",
                "fold",
                self.fold,
                "empty, as val_from or test_from names an official split",
            )


@dataclass(frozen=True)
class ImageParams:
    size: int
    resize: int
    reduce: int

    def __post_init__(self):
        require(self.size >= 16, "size", self.size, "16 pixels or more")
        require(self.resize >= self.size, "resize", self.resize, f"at least size ({self.size})")
        require(
            self.reduce == 0 or self.reduce >= self.resize,
            "reduce",
            self.reduce,
            f"0 (off), or at least resize ({self.resize})",
        )


@dataclass(frozen=True)
class AugmentParams:
    crop_scale: list[float]
    flip: float
    color_jitter: float
    policy: Literal["none", "trivial", "rand"]
    erase: float
    mixup: float
    cutmix: float

    def __post_init__(self):
        scale = self.crop_scale
        require(
            len(scale) == 2 and 0 < scale[0] <= scale[1] <= 1,
            "crop_scale",
            scale,
            "two numbers [low, high] with 0 < low <= high <= 1",
        )
        require(0 <= self.flip <= 1, "flip", self.flip, "a probability, 0 to 1")
        require(0 <= self.color_jitter < 1, "color_jitter", self.color_jitter, "0 to less than 1")
        require(0 <= self.erase <= 1, "erase", self.erase, "a probability, 0 to 1")
        for name in ("mixup", "cutmix"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "0 (off) or more")


@dataclass(frozen=True)
class TrainParams:
    strategy: Literal["finetune", "linear_probe", "lp_ft"]
    probe_weight_decay: float
    batch_norm: Literal["pretrained", "batch"]
    epochs: int
    batch_size: int
    optimizer: Literal["sgd", "adamw"]
    lr: float
    lr_batch_size: int
    head_lr_mult: float
    layer_decay: float
    momentum: float
    nesterov: bool
    weight_decay: float
    clip_grad: float
    schedule: Literal["cosine", "step"]
    warmup_epochs: int
    milestones: list[int]
    gamma: float
    label_smoothing: float
    ema: float
    early_stopping: int
    oversample: float
    class_weights: Literal["none", "balanced"]
    precision_cpu: Literal["fp32", "bf16"]
    precision_cuda: Literal["fp32", "bf16", "fp16"]
    compile_cpu: bool
    compile_cuda: bool
    memory_format: Literal["channels_last", "contiguous"]
    cpu_kernels: Literal["avx2", "avx2_intel", "native"]
    threads: int
    deterministic: bool
    log_interval: int

    def __post_init__(self):
        for name in ("epochs", "batch_size", "lr_batch_size", "threads", "log_interval"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "1 or more")
        for name in ("lr", "head_lr_mult", "gamma"):
            require(getattr(self, name) > 0, name, getattr(self, name), "more than 0")
        for name in (
            "weight_decay",
            "probe_weight_decay",
            "clip_grad",
            "warmup_epochs",
            "early_stopping",
        ):
            require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        require(
            0 < self.layer_decay <= 1, "layer_decay", self.layer_decay, "more than 0, at most 1 (off)"
        )
        for name in ("momentum", "label_smoothing", "ema", "oversample"):
            require(0 <= getattr(self, name) < 1, name, getattr(self, name), "0 to less than 1")
        require(
            self.layer_decay == 1 or self.head_lr_mult == 1,
            "head_lr_mult",
            self.head_lr_mult,
            "1, as layer_decay sets the rate of each layer",
        )
        require(
            not self.nesterov or self.momentum > 0,
            "momentum",
            self.momentum,
            "more than 0, as nesterov is true",
        )
        require(
            self.warmup_epochs < self.epochs or self.warmup_epochs == 0,
            "warmup_epochs",
            self.warmup_epochs,
            f"fewer than epochs ({self.epochs})",
        )
        require(
            all(m > 0 for m in self.milestones) and self.milestones == sorted(set(self.milestones)),
            "milestones",
            self.milestones,
            "rising epoch numbers",
        )


@dataclass(frozen=True)
class EvaluateParams:
    batch_size: int
    tta: Literal["none", "flip"]

    def __post_init__(self):
        require(self.batch_size >= 1, "batch_size", self.batch_size, "1 or more")


@dataclass(frozen=True)
class CamParams:
    methods: list[Literal["gradcam", "gradcam++", "xgradcam", "eigencam", "eigengradcam", "layercam"]]
    target_layers: list[str]
    target_category: str
    eigen_smooth: bool
    aug_smooth: bool
    select: Literal["mistakes", "correct", "random"]
    num_images: int

    def __post_init__(self):
        require(self.methods != [], "methods", self.methods, "at least one method")
        require(len(set(self.methods)) == len(self.methods), "methods", self.methods, "each method once")
        require(self.num_images >= 1, "num_images", self.num_images, "1 or more")


@dataclass(frozen=True)
class RuntimeParams:
    device: Literal["auto", "cpu", "cuda"]
    launcher: Literal["none", "pytorch", "slurm"]
    processes: int
    workers: int
    store_gb: float

    def __post_init__(self):
        require(self.processes >= 1, "processes", self.processes, "1 or more")
        require(
            self.launcher != "none" or self.processes == 1,
            "processes",
            self.processes,
            "1, as launcher is none; pytorch or slurm start several",
        )
        for name in ("workers", "store_gb"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")


@dataclass(frozen=True)
class Params:
    seed: int
    sample: SampleParams
    weights: WeightsParams
    dataset: DatasetParams
    image: ImageParams
    augment: AugmentParams
    train: TrainParams
    evaluate: EvaluateParams
    cam: CamParams
    runtime: RuntimeParams

    def __post_init__(self):
        require(0 <= self.seed < 2**31, "seed", self.seed, "0 to 2147483647")


def load_params(path: Path) -> Params:
    """Read and check params.yaml. Raises ValueError that names the file, the key and the way out."""
    try:
        content = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{path} does not exist. Run from the project's folder, or restore it with git."
        ) from None
    except MarkedYAMLError as error:
        raise ValueError(f"{path} is not valid YAML: {error}") from None
    try:
        return from_mapping(Params, content, section="")
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def from_mapping(cls: type, content: object, section: str):
    """Build the dataclass `cls` from plain values; no key missing, none unknown, no type guessed."""
    where = f"{section}: " if section else ""
    if not isinstance(content, dict):
        raise ValueError(f"{where}expected a mapping of keys, got {shown(content)}")
    names = [field.name for field in fields(cls)]
    for key in content:
        if key not in names:
            raise ValueError(f"{where}unknown key {key!r}; expected one of {', '.join(names)}.")
    missing = [name for name in names if name not in content]
    if missing:
        raise ValueError(f"{where}missing {', '.join(missing)}. Add it; git log has the defaults.")
    hints = get_type_hints(cls)
    values = {}
    for name in names:
        if is_dataclass(hints[name]):
            values[name] = from_mapping(hints[name], content[name], section=name)
        else:
            try:
                values[name] = converted(content[name], hints[name])
            except TypeError as error:
                raise ValueError(f"{where}{name} {error}") from None
    try:
        return cls(**values)
    except ValueError as error:
        raise ValueError(f"{where}{error}") from None


def converted(value: object, hint: object):
    """`value` as `hint` asks: an int may serve as a float, nothing else is converted."""
    if get_origin(hint) is Literal:
        choices = get_args(hint)
        if value not in choices or isinstance(value, bool):
            raise TypeError(f"must be one of {', '.join(choices)}, got {shown(value)}.")
        return value
    if get_origin(hint) is list:
        if not isinstance(value, list):
            raise TypeError(f"must be a list, got {shown(value)}.")
        (item,) = get_args(hint)
        return [converted(element, item) for element in value]
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint or (hint is float and not math.isfinite(value)):
        raise TypeError(f"must be {typing.cast(type, hint).__name__}, got {shown(value)}.")
    return value


def require(condition: bool, name: str, value: object, expected: str) -> None:
    if not condition:
        raise ValueError(f"{name} is {value!r}; expected {expected}.")


def shown(value: object) -> str:
    return "nothing" if value is None else f"{value!r} ({type(value).__name__})"
