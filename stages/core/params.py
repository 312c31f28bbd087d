"""params.yaml as frozen pydantic models: read once, checked, done.

Every value is set in params.yaml and none has a default here, so that `dvc params diff` tells the whole
story. `make schema` writes configs/params.schema.json, with which editors complete and check the file.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    field_validator,
)
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from stages.core.yaml_files import load_yaml, read_yaml_text

Probability = Annotated[float, Field(ge=0, le=1)]
BelowOne = Annotated[float, Field(ge=0, lt=1)]
UpToOne = Annotated[float, Field(gt=0, le=1)]
Fraction = Annotated[float, Field(gt=0, lt=1)]


MISTAKES = 50
"""So many are listed."""


class Checked(BaseModel):
    """Frozen. No key is missing or unknown. An int serves as a float; nothing else is converted."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    rules: ClassVar[tuple] = ()
    """What types cannot say: (field, what must hold of it and of fields above it, what is expected)."""

    @field_validator("*")
    @classmethod
    def follow_rules(cls, value, info):
        sound = info.data | {info.field_name: value}
        for field, holds, expected in cls.rules:
            with suppress(AttributeError):  # a field that the rule reads is a mistake itself
                if field == info.field_name and not holds(SimpleNamespace(**sound)):
                    raise ValueError(expected.format(**sound))
        return value

    def replace(self, **changes) -> Self:
        """A copy with other values, checked as those of the file are."""
        try:
            return self.model_validate(dict(self) | changes)
        except ValidationError as error:
            sentences = [sentence for _, sentence in mistakes(error, type(self))]
            raise ValueError("\n".join(sentences)) from None


def regular_expression(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"a regular expression: {error}") from None
    return text


def is_fold(text: str) -> bool:
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    return found is not None and 1 <= int(found[1]) <= int(found[2]) >= 2


class SampleParams(Checked):
    seed: int
    images_per_class: NonNegativeInt


class WeightsParams(Checked):
    source: Literal["package", "mim", "path", "url", "none"]
    model: str
    path: str
    url: str
    sha256: str
    mirror: str

    rules = (
        ("model", lambda p: p.model, "the name of a model"),
        ("path", lambda p: p.path or p.source != "path", "a checkpoint file, as source is path"),
        ("url", lambda p: p.url or p.source != "url", "an http(s) address, as source is url"),
        ("sha256", lambda p: re.fullmatch("([0-9a-fA-F]{8,64})?", p.sha256), "8 to 64 hex digits"),
        (
            "sha256",
            lambda p: p.sha256 or p.source not in ("path", "url"),
            "8 to 64 hex digits, as source is {source}: unknown weights are not loaded",
        ),
    )


class DatasetParams(Checked):
    path: str
    list: str
    class_level: Annotated[int, Field(ge=-1)]
    group_by: Annotated[str, AfterValidator(regular_expression)]
    val_from: Literal["train", "val"]
    test_from: Literal["train", "test", "val"]
    val_fraction: Fraction
    test_fraction: Fraction
    fold: str
    near_duplicates: Annotated[int, Field(ge=0, le=16)]
    scenes: Annotated[float, Field(ge=0, lt=1)]
    exclude: str
    on_error: Literal["fail", "exclude"]

    rules = (
        ("path", lambda p: p.path, "a folder or an archive"),
        ("exclude", lambda p: p.exclude, "a CSV with the columns path,reason, such as exclude.csv"),
        ("class_level", lambda p: p.class_level != 0, "1 or more, or -1 for the innermost folder"),
        (
            "test_fraction",
            lambda p: p.val_fraction + p.test_fraction < 1,
            "less than 1 with val_fraction ({val_fraction}) added, so that images are left to train on",
        ),
        ("fold", lambda p: not p.fold or is_fold(p.fold), "e.g. 2/5, the second of five, or '' (off)"),
        (
            "fold",
            lambda p: not p.fold or p.val_from == p.test_from == "train",
            "'' (off), as val_from or test_from names an official split",
        ),
    )


class ImageParams(Checked):
    size: NonNegativeInt
    resize: NonNegativeInt
    fit: Literal["own", "short_side", "crop_first", "squash"]
    interpolation: Literal["own", "bicubic", "bilinear", "lanczos"]
    reduce: NonNegativeInt

    rules = (
        ("size", lambda p: not p.size or p.size >= 16, "0 (the network's own), or at least 16"),
        ("resize", lambda p: not p.resize or p.resize >= p.size, "0, or at least size ({size})"),
        (
            "reduce",
            lambda p: not p.reduce or p.reduce >= p.resize,
            "0 (off), or at least resize ({resize})",
        ),
    )


class AugmentParams(Checked):
    crop_scale: list[UpToOne]
    flip: Probability
    color_jitter: BelowOne
    policy: Literal["none", "trivial", "rand"]
    erase: Probability
    mixup: NonNegativeFloat
    cutmix: NonNegativeFloat

    rules = (
        (
            "crop_scale",
            lambda p: len(p.crop_scale) == 2 and p.crop_scale == sorted(p.crop_scale),
            "two numbers [low, high] with 0 < low <= high <= 1",
        ),
    )


class TrainParams(Checked):
    strategy: Literal["finetune", "linear_probe", "lp_ft"]
    probe_weight_decay: NonNegativeFloat
    batch_norm: Literal["pretrained", "batch"]
    epochs: PositiveInt
    batch_size: PositiveInt
    optimizer: Literal["sgd", "adamw"]
    lr: PositiveFloat
    lr_batch_size: PositiveInt
    layer_decay: UpToOne
    head_lr_mult: PositiveFloat
    nesterov: bool
    momentum: BelowOne
    weight_decay: NonNegativeFloat
    weight_decay_on: Literal["all", "weights"]
    clip_grad: NonNegativeFloat
    schedule: Literal["cosine", "step"]
    warmup_epochs: NonNegativeInt
    milestones: list[PositiveInt]
    gamma: PositiveFloat
    label_smoothing: BelowOne
    drop_path: Annotated[float, Field(lt=1)]
    ema: BelowOne
    early_stopping: NonNegativeInt
    oversample: BelowOne
    class_weights: Literal["none", "balanced"]
    precision_cpu: Literal["fp32", "bf16"]
    precision_cuda: Literal["fp32", "bf16", "fp16"]
    compile_cpu: bool
    compile_cuda: bool
    memory_format: Literal["channels_last", "contiguous"]
    cpu_kernels: Literal["avx2", "avx2_intel", "native"]
    threads: PositiveInt
    deterministic: bool
    log_interval: PositiveInt

    rules = (
        (
            "head_lr_mult",
            lambda p: 1 in (p.head_lr_mult, p.layer_decay),
            "1, as layer_decay is {layer_decay}",
        ),
        (
            "drop_path",
            lambda p: p.drop_path >= 0 or p.drop_path == -1,
            "at least 0, or -1 (the network's own)",
        ),
        ("momentum", lambda p: p.momentum > 0 or not p.nesterov, "more than 0, as nesterov is true"),
        ("warmup_epochs", lambda p: p.warmup_epochs < p.epochs, "fewer than epochs ({epochs})"),
        ("milestones", lambda p: p.milestones == sorted(set(p.milestones)), "rising epoch numbers"),
    )


class EvaluateParams(Checked):
    batch_size: PositiveInt
    tta: Literal["none", "flip"]


class CamParams(Checked):
    methods: list[Literal["gradcam", "gradcam++", "xgradcam", "eigencam", "eigengradcam", "layercam"]]
    target_layers: list[str]
    target_category: str
    eigen_smooth: bool
    aug_smooth: bool
    select: Literal["mistakes", "correct", "random"]
    num_images: PositiveInt

    rules = (
        ("methods", lambda p: p.methods, "at least one method"),
        ("methods", lambda p: len(p.methods) == len(set(p.methods)), "each method once"),
    )


class RuntimeParams(Checked):
    device: Literal["auto", "cpu", "cuda"]
    launcher: Literal["none", "pytorch", "slurm"]
    processes: PositiveInt
    workers: NonNegativeInt
    store_gb: NonNegativeFloat

    rules = (
        (
            "processes",
            lambda p: p.processes == 1 or p.launcher != "none",
            "1, as launcher is none; pytorch or slurm start several",
        ),
    )


class Params(Checked):
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    sample: SampleParams
    weights: WeightsParams
    dataset: DatasetParams
    image: ImageParams
    augment: AugmentParams
    train: TrainParams
    evaluate: EvaluateParams
    cam: CamParams
    runtime: RuntimeParams


def load_params(path: Path) -> Params:
    """Read and check params.yaml. Raises ValueError with a sentence for every mistake, one a line."""
    return check_params(read_yaml_text(path, params=True), path)


def check_params(text: str, path: Path) -> Params:
    """The same for the text of params.yaml; `path` is named in the mistakes."""
    try:
        return Params.model_validate(load_yaml(text, path))
    except ValidationError as error:
        marked = YAML().load(text)
        named = islice(mistakes(error, Params), MISTAKES)
        found = sorted((line_of(place, marked), sentence) for place, sentence in named)
        lines = [f"{path} line {line}: {sentence}" for line, sentence in found]
        if error.error_count() > MISTAKES:
            lines.append(f"{path}: {error.error_count() - MISTAKES} more mistakes.")
        raise ValueError("\n".join(lines)) from None


def line_of(place: tuple, content: CommentedMap) -> int:
    """The line of a key, or of what should hold it."""
    line = 1
    for key in place:
        if not isinstance(content, CommentedMap) or key not in content.lc.data:
            break
        line = content.lc.key(key)[0] + 1
        content = content[key]
    return line


def mistakes(error: ValidationError, model: type[Checked]) -> Iterator[tuple[tuple, str]]:
    """The place of each mistake, and a sentence: the key, the value found, what was expected."""
    for mistake in error.errors():
        place, found = mistake["loc"], mistake["input"]
        key = ".".join(map(shown, place)) or "the file"
        if mistake["type"] in ("extra_forbidden", "invalid_key"):
            names = list(schema_at(place[:-1], model)["properties"])
            near = get_close_matches(str(place[-1]), names, n=1)
            hint = f". Did you mean {near[0]}?" if near else f"; expected one of {', '.join(names)}."
            yield place, f"{key} is unknown{hint}"
            continue
        expected = mistake.get("ctx", {}).get("error") or in_words(schema_at(place, model))
        if mistake["type"] == "missing":
            yield place, f"{key} is missing; expected {expected}. git log has its default."
        else:
            value = "empty" if found is None else shown(found, repr)
            yield place, f"{key} is {value}; expected {expected}."


def shown(value: object, text: Callable[[object], str] = str) -> str:
    """The text of a value or a key as it is printed: no control characters, at most 80 characters."""
    words = text(value) if text(value).isprintable() else repr(value)
    return words if len(words) <= 80 else f"{words[:77]}..."


KINDS = {"integer": "a whole number", "number": "a number", "string": "text", "boolean": "true or false"}
LIMITS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "more than {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "less than {}",
}


def in_words(schema: dict) -> str:
    if "properties" in schema:
        return f"the keys {', '.join(schema['properties'])}"
    if "enum" in schema:
        return f"{', '.join(schema['enum'][:-1])} or {schema['enum'][-1]}"
    if "items" in schema:
        return f"a list, each item {in_words(schema['items'])}"
    limits = [words.format(schema[limit]) for limit, words in LIMITS.items() if limit in schema]
    return KINDS[schema["type"]] + (", " + " and ".join(limits) if limits else "")


def schema_at(place: tuple, model: type[Checked] = Params) -> dict:
    """The JSON schema of a key: pydantic's, with each section where its key is."""
    schema = model.model_json_schema()
    sections = schema.pop("$defs", {})
    for key, node in schema["properties"].items():
        if "$ref" in node:
            schema["properties"][key] = sections[node["$ref"].removeprefix("#/$defs/")]
    for key in place:
        schema = schema["items"] if isinstance(key, int) else schema["properties"][key]
    return schema


def described(schema: dict, content: CommentedMap) -> dict:
    """The schema with the comments of params.yaml, which say what a key means, in place of titles."""
    schema.pop("title")
    for key, node in schema["properties"].items():
        if "properties" in node:
            described(node, content[key])
        node.pop("title", None)
        if comment := content.ca.items.get(key, [None] * 3)[2]:
            lines = comment.value.partition("\n\n")[0].splitlines()
            node["description"] = " ".join(line.strip(" #") for line in lines)
    return schema


if __name__ == "__main__":
    content = YAML().load(Path("params.yaml"))
    print(json.dumps(described(schema_at(()), content), indent=2))
