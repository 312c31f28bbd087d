"""Checkpoints: read and write them, and check that one fits the model.

The bytes of a written checkpoint depend only on the weights and the meta.
"""

import io
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.model import is_model_wrapper
from torch import Tensor, nn

from stages.core.files import first_ten, write_whole
from stages.core.seals import seal


def read_checkpoint(path: Path, way_out: str) -> dict:
    """{'state_dict': ..., 'meta': ...} from a file that `write_checkpoint` wrote.

    Nothing but tensors and plain values is unpickled. way_out: what to do about a damaged file. Raises
    FileNotFoundError or ValueError.
    """
    # read
    try:
        path.lstat()
        whole = path.is_file() and has_its_checksums(path)
        checkpoint = torch.load(path, map_location="cpu", weights_only=True) if whole else None
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} does not exist. {way_out}") from None
    except Exception as error:  # zipfile and torch raise a dozen kinds, and torch recommends unsafe ways
        whole = "GLOBAL" in str(error)
        checkpoint = None
    if checkpoint is None:
        found = "holds Python objects, which may be code" if whole else "is damaged, or no checkpoint"
        raise ValueError(f"{path} {found}; expected tensors and plain values only. {way_out}")

    # the weights
    state_dict = checkpoint.get("state_dict") if isinstance(checkpoint, dict) else None
    if not isinstance(state_dict, dict) or not all(isinstance(v, Tensor) for v in state_dict.values()):
        raise ValueError(f"{path} holds no 'state_dict' of tensors. {way_out}")
    if undefined := [key for key, value in state_dict.items() if value.isnan().any()]:
        raise ValueError(f"{path} holds NaN in {listed('tensors', undefined)}. {way_out}")
    return checkpoint


def has_its_checksums(path: Path) -> bool:
    """Whether the contents fit the checksums that torch writes and never compares."""
    with zipfile.ZipFile(path) as archive:
        return archive.testzip() is None


def write_checkpoint(
    path: Path, state_dict: Mapping[str, Tensor], meta: dict, sealed_as: str | None = None
) -> None:
    """Equal tensors and meta produce equal bytes, whatever their device and memory layout."""
    canonical = OrderedDict(
        (key, value.detach().cpu().contiguous().clone()) for key, value in state_dict.items()
    )
    save_whole(path, {"meta": meta, "state_dict": canonical}, sealed_as)


def save_whole(path: Path, content: dict, sealed_as: str | None = None) -> None:
    """torch.save that never leaves a partial file under this name. Raises OSError.

    sealed_as: the name in the seal of a file for `read_kept`; None for no seal. torch would write the
    file's name into the archive, so it writes to memory.
    """
    buffer = io.BytesIO()
    torch.save(content, buffer)
    if sealed_as is not None:
        last = seal(buffer.getbuffer(), sealed_as)
        buffer.write(last)
    write_whole(path, buffer.getbuffer())


def load_kept(content: memoryview) -> dict:
    """What `save_whole` saved, from the bytes that `read_kept` returns."""
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


TRAIN = "Run `dvc repro train`."


def load_exactly(model: nn.Module, path: Path, classes: list[str]) -> None:
    """Load best.pth into the model. Raises ValueError unless keys, shapes and class names match.

    mmengine would only warn, and leave random weights.
    """
    checkpoint = read_checkpoint(path, TRAIN)
    state_dict = checkpoint["state_dict"]
    own = model.state_dict()
    missing = [key for key in own if key not in state_dict]
    unexpected = [key for key in state_dict if key not in own]
    reshaped = [k for k in own if k in state_dict and own[k].shape != state_dict[k].shape]
    if missing or unexpected or reshaped:
        raise ValueError(
            f"{path} does not fit the model of configs/rendered.py: {listed('missing', missing)}; "
            f"{listed('unexpected', unexpected)}; {listed('of another shape', reshaped)}. {TRAIN}"
        )
    infinite = [name for name, _ in model.named_parameters() if not state_dict[name].isfinite().all()]
    if infinite:
        raise ValueError(f"{path} holds infinity in {listed('tensors', infinite)}. {TRAIN}")
    try:
        named = list(checkpoint["meta"]["dataset_meta"]["classes"])
    except (KeyError, TypeError):
        named = []
    if named != classes:
        raise ValueError(
            f"{path} names other classes ({listed('classes', named)}) than configs/rendered.py "
            f"({listed('classes', classes)}). {TRAIN}"
        )
    model.load_state_dict(state_dict, strict=False)  # Swin V2 removes its tables while loading


def to_memory_format(model: nn.Module, cfg: Config) -> nn.Module:
    """The model with its weights in the memory format of the rendered config.

    Convolutions compute faster with channels last, and round differently.
    """
    formats = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
    return unwrapped(model).to(memory_format=formats[cfg.memory_format])


def unwrapped(model: nn.Module) -> nn.Module:
    """The model without the wrapper that several processes put around it."""
    return model.module if is_model_wrapper(model) else model


def listed(what: str, keys: list[str]) -> str:
    return f"{len(keys)} {what}" + (f" ({first_ten(map(str, keys), str)})" if keys else "")
