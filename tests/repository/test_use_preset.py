"""A preset changes values of params.yaml and nothing else."""

import pytest
from conftest import REPO

from stages.commands import use_preset
from stages.commands.use_preset import merged, read_preset
from stages.core.params import load_params


def test_every_preset_fits_the_projects_params(tmp_path):
    names = use_preset.preset_names(REPO / "configs/presets")
    assert "fruit30-resnet18" in names
    for name in names:
        preset = read_preset(REPO / "configs/presets", name)
        (tmp_path / "params.yaml").write_text(
            merged((REPO / "params.yaml").read_text(), preset["params"]), encoding="utf-8"
        )
        params = load_params(tmp_path / "params.yaml")
        for section, values in preset["params"].items():
            for key, value in values.items():
                assert getattr(getattr(params, section), key) == value


def test_comments_order_and_other_values_stay():
    before = (REPO / "params.yaml").read_text()
    after = merged(before, {"train": {"lr": 0.5}})
    changed = [
        pair for pair in zip(before.splitlines(), after.splitlines(), strict=True) if pair[0] != pair[1]
    ]
    ((old, new),) = changed
    key, _, *comment = old.split()
    assert new.split() == [key, "0.5", *comment] and "at lr_batch_size" in new


def test_an_unknown_preset_is_named_with_a_near_one(tmp_path):
    with pytest.raises(ValueError, match="no preset 'fruit30-resnet50'. Did you mean fruit30-resnet18"):
        read_preset(REPO / "configs/presets", "fruit30-resnet50")


def test_a_preset_with_an_unknown_key_is_refused_and_changes_nothing(tmp_path):
    presets = tmp_path / "configs/presets"
    presets.mkdir(parents=True)
    (presets / "bad.yaml").write_text("params:\n  train:\n    learning_rate: 1\n")
    (presets / "wrong.yaml").write_text("params:\n  train:\n    lr: fast\n")
    text = (REPO / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ValueError, match="the preset sets 'learning_rate'; expected one of strategy"):
        use_preset.main("bad", root=tmp_path)
    with pytest.raises(ValueError, match="train.lr is 'fast'; expected a number"):
        use_preset.main("wrong", root=tmp_path)
    assert (tmp_path / "params.yaml").read_text() == text
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["params.yaml"]
