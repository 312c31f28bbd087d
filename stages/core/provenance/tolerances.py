"""Measure by how much two versions of an output differ: metrics, tables and checkpoints.

For runs that cannot be the same bit by bit, such as one on a GPU and one on a CPU.
"""

import csv
import io
import json
import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

TENSORS = "tensors"
"""The name of the tolerance for all tensors of a checkpoint."""


@dataclass(frozen=True)
class Difference:
    name: str
    """A metric, a column, or a kind of tensor."""
    absolute: float
    """The largest difference; inf when one side lacks the number. For words: how many differ."""
    relative: float
    """The largest, divided by the larger magnitude of the two numbers, or of all in the tensors."""
    tolerance_name: str


def parse_tolerances(text: str) -> dict[str, float]:
    """'top1=1.0,loss=0.05' as a dict. Raises ValueError."""
    tolerances = {}
    for part in text.split(","):
        name, sign, value = part.partition("=")
        try:
            tolerances[name.strip()] = float(value)
        except ValueError:
            sign = ""
        if not sign or not name.strip() or not tolerances[name.strip()] >= 0:
            raise ValueError(f"{part!r} is no tolerance; expected <name>=<number>, such as top1=1.0.")
    return tolerances


def names_in(path: str, content: bytes) -> set[str]:
    """The names in an output for which a tolerance can be set."""
    kind = PurePosixPath(path).suffix
    if kind == ".json":
        return set(leaves(json.loads(content)))
    if kind == ".csv":
        return set(next(csv.reader(io.StringIO(content.decode("utf-8"), newline="")), []))
    return {TENSORS} if kind == ".pth" else set()


def compare_files(path: str, before: bytes, after: bytes) -> list[Difference] | None:
    """The differences of two versions of a file; None for a format without numbers, such as an image."""
    kind = PurePosixPath(path).suffix
    if kind == ".json":
        return compare_numbers(leaves(json.loads(before)), leaves(json.loads(after)))
    if kind == ".csv":
        return compare_tables(before.decode("utf-8"), after.decode("utf-8"))
    if kind == ".pth":
        import torch

        loaded = [
            torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)["state_dict"]
            for content in (before, after)
        ]
        return compare_tensors(*loaded)
    return None


def above(differences: list[Difference], tolerances: Mapping[str, float]) -> list[Difference]:
    """The differences above their tolerance. Without a tolerance, only an infinite one counts."""
    largest = sys.float_info.max  # an infinite difference is always above
    return [d for d in differences if d.absolute > tolerances.get(d.tolerance_name, largest)]


# --- numbers ------------------------------------------------------------------------------------------


def leaves(content: object, name: str = "") -> dict[str, object]:
    """The values of nested JSON by their names, joined by dots."""
    if isinstance(content, dict):
        pairs = content.items()
    elif isinstance(content, list):
        pairs = enumerate(content)
    else:
        return {name: content}
    joined = {}
    for key, value in pairs:
        joined |= leaves(value, f"{name}.{key}" if name else str(key))
    return joined


def compare_numbers(before: Mapping[str, object], after: Mapping[str, object]) -> list[Difference]:
    return [
        Difference(name, *distance(before.get(name), after.get(name)), name)
        for name in {**before, **after}
    ]


def compare_tables(before: str, after: str) -> list[Difference]:
    """Column by column, row by row."""
    old, new = columns(before), columns(after)
    differences = []
    for name in {**old, **new}:
        one, other = old.get(name), new.get(name)
        if one is None or other is None or len(one) != len(other):
            differences.append(Difference(name, math.inf, math.inf, name))
            continue
        pairs = list(zip(one, other, strict=True))
        if all(is_number(value) for pair in pairs for value in pair):
            distances = [distance(float(a), float(b)) for a, b in pairs] or [(0.0, 0.0)]
            largest = (max(column) for column in zip(*distances, strict=True))
            differences.append(Difference(name, *largest, name))
        else:
            count = sum(a != b for a, b in pairs)
            differences.append(Difference(name, count, count / max(len(pairs), 1), name))
    return differences


def columns(text: str) -> dict[str, list[str]]:
    header, *rows = csv.reader(io.StringIO(text, newline=""))
    return {name: [row[index] for row in rows] for index, name in enumerate(header)}


def is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def distance(one: object, other: object) -> tuple[float, float]:
    """(absolute, relative) difference: infinite when one side is no number. NaN equals NaN."""
    if one == other or (one != one and other != other):
        return 0.0, 0.0
    if isinstance(one, str) and isinstance(other, str):
        return 1.0, 1.0
    numbers = all(isinstance(value, int | float) for value in (one, other))
    if not numbers or not (math.isfinite(one) and math.isfinite(other)):
        return math.inf, math.inf
    return abs(one - other), abs(one - other) / max(abs(one), abs(other))


# --- tensors ------------------------------------------------------------------------------------------


def compare_tensors(before: Mapping[str, "Tensor"], after: Mapping[str, "Tensor"]) -> list[Difference]:
    """A Difference for each kind of tensor: the last part of its name, and how many axes it has.

    A convolution's weight has 4, a linear layer's 2, a normalisation's 1.
    """
    largest: dict[str, tuple[float, float]] = {}
    for kind, absolute, relative in tensor_distances(before, after):
        most = largest.get(kind, (0.0, 0.0))
        largest[kind] = max(most[0], absolute), max(most[1], relative)
    return [Difference(kind, *pair, TENSORS) for kind, pair in sorted(largest.items())]


def tensor_distances(
    before: Mapping[str, "Tensor"], after: Mapping[str, "Tensor"]
) -> Iterator[tuple[str, float, float]]:
    for key in {**before, **after}:
        one, other = before.get(key), after.get(key)
        if one is None or other is None or one.shape != other.shape:
            yield f"{key} (missing or of another shape)", math.inf, math.inf
            continue
        kind = f"{key.rpartition('.')[2]} ({one.ndim}-d)"
        one, other = one.double(), other.double()
        apart = (one - other).abs()
        apart[(one == other) | (one.isnan() & other.isnan())] = 0  # also inf against inf
        absolute = apart.nan_to_num(nan=math.inf, posinf=math.inf).max().item() if apart.numel() else 0.0
        if absolute == 0:
            yield kind, 0.0, 0.0
            continue
        size = max(one.abs().max().item(), other.abs().max().item())
        yield kind, absolute, absolute / size if math.isfinite(absolute) else math.inf
