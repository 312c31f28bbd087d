"""Tensors are read out of any weights file, and nothing in it runs."""

import io
import os
import pickle
from argparse import Namespace
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub
from safetensors.torch import save
from torch import nn

from stages.core.zoo.weights_file import read_tensors

TENSORS = {"backbone.conv1.weight": torch.arange(6.0).reshape(2, 3), "head.fc.bias": torch.ones(2)}


def saved(content: object, legacy: bool = False) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def read(tmp_path: Path, content: bytes) -> dict:
    path = tmp_path / "weights"
    path.write_bytes(content)
    return dict(read_tensors(path, "my file"))


def prefixed(prefix: str) -> dict:
    return {prefix + name: value for name, value in TENSORS.items()}


@pytest.mark.parametrize(
    "content",
    [
        saved(TENSORS),
        saved({"state_dict": TENSORS, "model": {"x": torch.ones(1)}}),
        saved({"state_dict": TENSORS}, legacy=True),
        saved({"model": TENSORS, "epoch": 3, "args": {"lr": 0.1}}),
        saved({"epoch": 3, "teacher": TENSORS}),
        saved({"state_dict": prefixed("module.")}),
        saved(prefixed("_orig_mod.")),
        saved({"state_dict": prefixed("module.model.")}),
        saved(OrderedDict((name, nn.Parameter(value)) for name, value in TENSORS.items())),
        save(TENSORS),
    ],
    ids=[
        "tensors",
        "state_dict",
        "legacy",
        "model",
        "teacher",
        "DDP",
        "compiled",
        "nested",
        "parameters",
        "safetensors",
    ],
)
def test_the_state_dict_is_found_in_each_wrapping(tmp_path, content):
    torch.testing.assert_close(read(tmp_path, content), TENSORS)


def test_tensors_are_read_out_of_a_checkpoint_of_training_whose_objects_are_not(tmp_path, capsys):
    """As mmengine saves it: a message hub, an optimizer's state, numbers of NumPy; and more."""
    hub = MessageHub.get_instance("test of weights")
    hub.update_scalar("train/loss", 0.5)
    network, batch = nn.Linear(2, 1), torch.ones(1, 2)
    optimizer = torch.optim.AdamW(network.parameters())
    network(batch).sum().backward()
    optimizer.step()
    content = {
        "meta": {
            "time": np.float64(3.5),
            "args": Namespace(lr=0.1),
            "path": Path("x"),
            "kinds": {"a", "b"},
        },
        "state_dict": TENSORS,
        "message_hub": hub.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    with pytest.raises(pickle.UnpicklingError):
        torch.load(io.BytesIO(saved(content)), weights_only=True)
    torch.testing.assert_close(read(tmp_path, saved(content)), TENSORS)
    said = capsys.readouterr().out
    assert said.startswith("my file: ") and "argparse.Namespace" in said and "HistoryBuffer" in said


class Malicious:
    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("place", ["beside", "among", "in place of a tensor's storage"])
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "before torch 1.6"])
def test_a_malicious_checkpoint_executes_nothing(tmp_path, legacy, place):
    trap = tmp_path / "sprung"
    content = {"meta": Malicious(trap), "state_dict": TENSORS}
    if place == "among":
        content = {"state_dict": TENSORS | {"x": Malicious(trap)}}
    if place == "in place of a tensor's storage":
        content = {"state_dict": TENSORS, "more": [Malicious(trap)] * 2 + [torch.ones(1)]}
    body = saved(content, legacy)
    try:
        assert set(read(tmp_path, body)) == set(TENSORS) and not legacy and place != "among"
    except ValueError as error:
        assert "my file" in str(error) and (legacy or place == "among")
    assert not trap.exists()
    torch.load(io.BytesIO(body), weights_only=False)
    assert trap.exists()  # so the trap works


@pytest.mark.parametrize("function", [eval, exec, getattr, __import__, torch.load, nn.Linear])
def test_no_other_function_is_called(tmp_path, function):
    class Call:
        def __reduce__(self):
            return function, ("open('executed', 'w')",)

    content = read(tmp_path, saved({"state_dict": TENSORS, "meta": Call()}))
    assert set(content) == set(TENSORS) and not Path("executed").exists()


def test_an_archive_of_torchscript_is_refused(tmp_path):
    torch.jit.save(torch.jit.script(nn.Linear(2, 1)), tmp_path / "script.pt")
    with pytest.raises(ValueError, match="my file is not a checkpoint of plain tensors"):
        read(tmp_path, (tmp_path / "script.pt").read_bytes())


@pytest.mark.parametrize(
    "body, found",
    [
        (saved({"a": TENSORS, "b": TENSORS}), "holds a, b; expected a 'state_dict'"),
        (saved([1, 2]), "holds list"),
        (saved({"state_dict": {}}), "holds state_dict"),
        (saved({"state_dict": {"x": 1}}), "holds state_dict"),
        (b"", "is not a checkpoint of plain tensors"),
        (b"not a checkpoint", "is not a checkpoint of plain tensors"),
        (saved(TENSORS)[:500], "is not a checkpoint of plain tensors"),
        (
            saved({"meta": Namespace(), "state_dict": TENSORS})[:-300],
            "not a checkpoint of plain tensors",
        ),
        (save(TENSORS)[:-3], "is a damaged safetensors file"),
        (
            b"\x10\0\0\0\0\0\0\0{not JSON at all, but longer than it says",
            "is a damaged safetensors file",
        ),
    ],
    ids=[
        "two",
        "list",
        "empty",
        "numbers",
        "nothing",
        "text",
        "cut",
        "cut-objects",
        "cut-safetensors",
        "no-safetensors",
    ],
)
def test_a_file_without_a_state_dict_is_refused(tmp_path, body, found):
    with pytest.raises(ValueError, match="my file") as raised:
        read(tmp_path, body)
    assert found in str(raised.value) and "weights_only" not in str(raised.value)
