"""A checkpoint must fit exactly, and its bytes depend only on its weights and meta."""

import pickle
from collections import OrderedDict

import pytest
import torch
from damage import DAMAGES
from torch import nn

from stages.core.networks.checkpoint import (
    load_exactly,
    read_checkpoint,
    write_checkpoint,
)


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.ModuleDict({"backbone": nn.Conv2d(3, 4, 3), "head": nn.Linear(4, 2)})


def test_equal_tensors_produce_equal_bytes_whatever_the_name_and_layout(tmp_path):
    weights = {"w": torch.randn(2, 3, 4, 4)}
    write_checkpoint(tmp_path / "a.pth", weights, {"epoch": 3})
    laid_out = {"w": weights["w"].to(memory_format=torch.channels_last)}
    write_checkpoint(tmp_path / "folder" / "b.pth", laid_out, {"epoch": 3})
    assert (tmp_path / "a.pth").read_bytes() == (tmp_path / "folder/b.pth").read_bytes()
    write_checkpoint(tmp_path / "c.pth", {"w": weights["w"] + 1e-7}, {"epoch": 3})
    assert (tmp_path / "a.pth").read_bytes() != (tmp_path / "c.pth").read_bytes()


def test_what_is_written_is_read_back(tmp_path):
    own = model()
    write_checkpoint(tmp_path / "a.pth", own.state_dict(), {"dataset_meta": {"classes": ["火龙果"]}})
    other = model()
    nn.init.zeros_(other["head"].weight)
    load_exactly(other, tmp_path / "a.pth", ["火龙果"])
    assert torch.equal(other["head"].weight, own["head"].weight)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("head.weight"), r"1 missing \(head.weight\)"),
        (lambda s: s.update(extra=torch.zeros(1)), r"1 unexpected \(extra\)"),
        (lambda s: s.update({"head.bias": torch.zeros(5)}), r"1 of another shape \(head.bias\)"),
        (lambda s: s["head.bias"].fill_(float("inf")), r"infinity in 1 tensors \(head.bias\). Run `dvc"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused_with_the_keys(tmp_path, change, message):
    state = OrderedDict(model().state_dict())
    change(state)
    write_checkpoint(tmp_path / "a.pth", state, {})
    with pytest.raises(ValueError, match=message):
        load_exactly(model(), tmp_path / "a.pth", ["a", "b"])


@pytest.mark.parametrize(
    "meta",
    [
        {},
        None,
        {"dataset_meta": {}},
        {"dataset_meta": {"classes": ["a"]}},
        {"dataset_meta": {"classes": ["b", "a"]}},
        {"dataset_meta": {"classes": ["a", "b", "c"]}},
        {"dataset_meta": {"classes": [0, 1]}},
        {"dataset_meta": {"classes": 2}},
    ],
)
def test_a_checkpoint_of_other_classes_than_the_config_is_refused(tmp_path, meta):
    write_checkpoint(tmp_path / "best.pth", model().state_dict(), meta)
    with pytest.raises(
        ValueError, match=r"names other classes .* \(2 classes \(a, b\)\). Run `dvc repro"
    ):
        load_exactly(model(), tmp_path / "best.pth", ["a", "b"])


class Payload:
    def __reduce__(self):
        return exec, ("open('executed', 'w')",)


def test_code_in_a_checkpoint_is_refused_and_not_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": Payload()}, tmp_path / "evil.pth")
    with pytest.raises(ValueError, match="evil.pth holds Python objects, which may be code"):
        read_checkpoint(tmp_path / "evil.pth", "Do this.")
    (tmp_path / "evil.pth").write_bytes(pickle.dumps({"state_dict": Payload()}))
    with pytest.raises(ValueError, match="evil.pth is damaged, or no checkpoint"):
        read_checkpoint(tmp_path / "evil.pth", "Do this.")
    assert not (tmp_path / "executed").exists()


HARMLESS = {"longer", "last byte flipped"}
"""As a zip file may have a comment at its end."""


@pytest.mark.parametrize("damage", sorted(DAMAGES.keys() - HARMLESS))
def test_a_damaged_checkpoint_is_refused_in_one_sentence_with_a_way_out(tmp_path, damage):
    write_checkpoint(tmp_path / "best.pth", {"w": torch.randn(99_999)}, {"dataset_meta": {}})
    assert read_checkpoint(tmp_path / "best.pth", "Do this.")["state_dict"]["w"].shape == (99_999,)
    DAMAGES[damage](tmp_path / "best.pth")
    with pytest.raises(ValueError) as error:
        read_checkpoint(tmp_path / "best.pth", "Do this.")
    assert str(error.value) == (
        f"{tmp_path / 'best.pth'} is damaged, or no checkpoint; expected tensors and plain values only. "
        "Do this."
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model": {}}, "holds no 'state_dict' of tensors. Do this."),
        ([1], "holds no 'state_dict' of tensors. Do this."),
        ({"state_dict": {"w": 3}}, "holds no 'state_dict' of tensors. Do this."),
        ({"state_dict": {"w": torch.tensor([0.0, float("nan")])}}, r"holds NaN in 1 tensors \(w\). Do"),
    ],
)
def test_a_file_that_holds_no_weights_is_refused(tmp_path, content, message):
    torch.save(content, tmp_path / "best.pth")
    with pytest.raises(ValueError, match=f"best.pth {message}"):
        read_checkpoint(tmp_path / "best.pth", "Do this.")


def test_the_error_for_a_missing_checkpoint_says_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match="best.pth does not exist. Do this."):
        read_checkpoint(tmp_path / "best.pth", "Do this.")
