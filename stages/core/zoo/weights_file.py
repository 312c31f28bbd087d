"""The tensors of a weights file, whatever it wraps them in.

A .pth is a pickle, which could run code. Nothing of it is run: torch accepts only tensors and plain
values, and where a file holds other objects, an inert one stands for each of them. A .safetensors file
has no such objects.
"""

import pickle
import re
import zipfile
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace

import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch._utils import _rebuild_parameter, _rebuild_tensor_v2

from stages.core.files import first_ten
from stages.core.names import shown

NAMES = ("state_dict", "model", "model_state_dict", "module")
"""Where libraries keep the state dict in a training checkpoint: mmengine, torchvision, others."""
PREFIXES = ("module.", "_orig_mod.", "model.")
"""Before the name of every tensor: DistributedDataParallel's, torch.compile's, Lightning's."""
TENSOR_PARTS = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
}
"""What a pickled tensor is made of, besides its storage; a part of what torch itself accepts."""


def read_tensors(path: Path, where: str) -> OrderedDict[str, Tensor]:
    """The state dict, without the prefix of a wrapper. where: how an error names the file.

    Raises ValueError for a file that has none, and OSError.
    """
    content = read_safetensors(path, where) if is_safetensors(path) else read_pickled(path, where)
    state_dict = find_state_dict(content)
    if state_dict is None:
        found = type(content).__name__
        if isinstance(content, dict):
            found = first_ten(map(str, content), shown)[:200]
        raise ValueError(f"{where} holds {found}; expected a 'state_dict' of tensors, or only tensors.")
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in state_dict):
            state_dict = {name.removeprefix(prefix): value for name, value in state_dict.items()}
    return OrderedDict(state_dict)


def find_state_dict(content: object) -> dict[str, Tensor] | None:
    """The tensors by name: in the file, in one of NAMES, or in its only dict of tensors."""
    if not isinstance(content, dict) or is_state_dict(content):
        return content if isinstance(content, dict) else None
    inside = {name: value for name, value in content.items() if is_state_dict(value)}
    for name in NAMES:
        if name in inside:
            return inside[name]
    return next(iter(inside.values())) if len(inside) == 1 else None


def is_state_dict(content: object) -> bool:
    return (
        isinstance(content, dict)
        and content != {}
        and all(isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items())
    )


# --- safetensors --------------------------------------------------------------------------------------


def is_safetensors(path: Path) -> bool:
    """By its start: the length of a JSON object, and the object."""
    with path.open("rb") as file:
        head = file.read(9)
    return head[8:] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size


def read_safetensors(path: Path, where: str) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except safetensors.SafetensorError as error:
        raise ValueError(f"{where} is a damaged safetensors file: {error}.") from None


# --- pickles ------------------------------------------------------------------------------------------


def read_pickled(path: Path, where: str) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # UnpicklingError, RuntimeError, KeyError, ...: any, for any bytes
        refused = unsupported(error)
        why = refused or str(error).partition("\n")[0][:200] or type(error).__name__
    try:
        if refused and is_plain_zip(path):
            content, left_out = without_objects(path)
            print(f"{where}: {first_ten(sorted(left_out), shown)} are not tensors and were not read")
            return content
    except Exception as error:  # any, for any bytes
        why = str(error).partition("\n")[0][:200] or type(error).__name__
    raise ValueError(
        f"{where} is not a checkpoint of plain tensors: {why}. Nothing else is unpickled, because it "
        "could run code. If you trust the file, load it on a machine where that does no harm, save only "
        "its state_dict with torch.save, and use weights.source: path."
    )


def unsupported(error: Exception) -> str:
    """What torch refused, from its page-long message, which recommends to load the file anyway."""
    refused = re.search(
        r"unsupported (global|operand|class)\b.*?(?= was not|\n|$)", str(error), re.IGNORECASE
    )
    return refused[0] if refused else ""


def is_plain_zip(path: Path) -> bool:
    """Whether torch.save wrote it, since version 1.6; TorchScript's archives hold code."""
    with zipfile.ZipFile(path) as archive:
        names = {name.rpartition("/")[2] for name in archive.namelist()}
    return "data.pkl" in names and "constants.pkl" not in names


class Inert:
    """Stands for an object of any other class, and does nothing."""

    def __new__(cls, *_, **__):
        return object.__new__(cls)

    def nothing(self, *_, **__) -> "Inert":
        return self

    __init__ = lambda self, *_, **__: None  # noqa: E731
    __call__ = append = extend = add = __setitem__ = __setstate__ = nothing


def without_objects(path: Path) -> tuple[object, set[str]]:
    """A checkpoint whose objects other than tensors are inert, and the classes of those."""
    left_out: set[str] = set()

    class Restricted(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> object:
            if (module, name) in TENSOR_PARTS:
                return TENSOR_PARTS[module, name]
            left_out.add(f"{module}.{name}")
            return Inert

    module = SimpleNamespace(__name__="restricted", Unpickler=Restricted, load=None)
    content = torch.load(path, map_location="cpu", pickle_module=module, weights_only=False)
    return content, left_out
