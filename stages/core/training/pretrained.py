"""From the tensors of a weights file to the start of training.

They may come from a pretraining, which wraps the backbone in other parts, or from a library that has no
prefix. What is no part of the network is left out with a line; what the network lacks is an error.
"""

from collections import Counter, OrderedDict
from collections.abc import Iterable
from pathlib import Path

from torch import Tensor, nn

from stages.core.networks.checkpoint import listed, read_checkpoint

COMPUTED = ("relative_position_index", "relative_coords_table", "freqs_cos", "freqs_sin")
"""Suffixes of the tables that a network computes from its image size and does not learn."""
PRETRAINING = ("mask_token", "rel_pos_bias.", "proj_layers.", "proj_weights", "ln1.")
"""What the backbone has only in pretraining: MAE's and BEiT's mask, shared positions and norm, MFF's
projections. A network that does have them learns them as the rest."""
FRESH = ("ln2.", "norm3.", "fc_norm.")
"""The norm of the pooled features, which pretraining without classes cannot have: MAE, SparK."""
CLASSES = ("head.fc.", "head.layers.")
"""Weights with such a layer come with that norm."""
HEADS = ("fc.", "head.", "heads.", "classifier.")
"""The last layer, where names have no prefix."""
WAY_OUT = "Set weights.model in params.yaml to the model these weights were trained with."
FETCH = "Run `dvc repro fetch-weights`, or set other weights in params.yaml."


def load_pretrained(model: nn.Module, path: Path) -> list[str]:
    """`load_tensors` of a checkpoint that fetch-weights wrote."""
    return load_tensors(model, read_checkpoint(path, FETCH)["state_dict"], path)


def load_tensors(model: nn.Module, state_dict: dict[str, Tensor], path: Path) -> list[str]:
    """Load pretrained weights; returns lines about what was left out or starts anew.

    Raises ValueError unless they cover all of the model but its head: mmengine would only print the
    missing tensors and train them from random numbers. A head of another shape keeps its initial
    weights. path: how an error names the weights.
    """
    # name the tensors as the model does, without heads of another shape and tables of another image size
    own = model.state_dict()
    state_dict = named_as(own, state_dict)
    fitting = OrderedDict(
        (key, value)
        for key, value in state_dict.items()
        if not (key.startswith("head.") or key.endswith(COMPUTED))
        or (key in own and own[key].shape == value.shape)
    )

    try:
        # hooks of some networks adapt position embeddings to another image size
        result = model.load_state_dict(fitting, strict=False)
    except RuntimeError as error:  # tensors of another shape
        raise ValueError(f"{path} does not fit the model: {error}. {WAY_OUT}") from None

    # the rest must be complete
    learned = {name for name, _ in model.named_parameters()}
    absent = [
        key
        for key in result.missing_keys
        if not (key.startswith("head.") or key.endswith(COMPUTED))
        and not (key.startswith("neck.") and key not in learned)  # statistics, which training collects
    ]
    has_classes = any(key.startswith(CLASSES) for key in state_dict)
    fresh = [key for key in absent if is_part(key, FRESH) and not has_classes]
    missing = [key for key in absent if key not in fresh]
    left_out = [key for key in result.unexpected_keys if not key.endswith(COMPUTED)]
    has_neck = any(key.startswith("neck.") for key in learned)
    unexpected = [
        key
        for key in left_out
        if missing
        or (key.startswith("backbone.") and not is_part(key, PRETRAINING))
        or (key.startswith("neck.") and has_neck)
    ]
    if missing or unexpected:
        raise ValueError(
            f"{path} does not cover the backbone: {listed('missing', missing)}; "
            f"{listed('unexpected', unexpected)}. {WAY_OUT}"
        )
    return remarks(left_out, fresh, [key for key in fitting if key.startswith("head.")])


def named_as(own: dict[str, Tensor], state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    # torchvision's and timm's names have no prefix
    if not any(key.startswith("backbone.") for key in state_dict):
        state_dict = {
            f"backbone.{key}": value
            for key, value in state_dict.items()
            if f"backbone.{key}" in own or not key.startswith(HEADS)
        }

    # BEiT's pretraining has one table of relative positions for all layers
    shared = state_dict.get("backbone.rel_pos_bias.relative_position_bias_table")
    if shared is not None:
        tables = [key for key in own if key.endswith("attn.relative_position_bias_table")]
        state_dict = dict.fromkeys(tables, shared) | state_dict
    return state_dict


def is_part(key: str, parts: tuple[str, ...]) -> bool:
    return key.removeprefix("backbone.").startswith(parts)


def remarks(left_out: list[str], fresh: list[str], head: list[str]) -> list[str]:
    """Lines about tensors by the first words of their names."""
    lines = []
    if left_out:
        lines.append(f"left out of the weights, as the network has no such part: {counted(left_out)}")
    if fresh:
        lines.append(f"not in the weights, and trained from the start: {counted(fresh)}")
    if head:
        lines.append(
            "the head of the weights is kept, as it has as many classes as the data: its class 1 starts "
            "as the first of classes.txt, and so on"
        )
    return lines


def counted(keys: Iterable[str]) -> str:
    groups = Counter(".".join(key.split(".")[: 2 if key.startswith("backbone.") else 1]) for key in keys)
    return ", ".join(f"{name} ({count})" for name, count in groups.items())
