"""A preset decides every value of params.yaml but this machine's, and changes nothing else."""

import itertools

import pytest
from conftest import PARAMS, REPO
from ruamel.yaml import YAML

from stages.commands import use_preset
from stages.commands.use_preset import merged, preset_names, read_preset
from stages.core.params import Params, load_params

PRESETS = REPO / "configs/presets"
NAMES = preset_names(PRESETS)
names = pytest.mark.parametrize("name", NAMES)


def switched(text: str, name: str) -> str:
    """The text of params.yaml after a switch to the preset."""
    return merged(text, read_preset(PRESETS, name)["params"])


def loaded(tmp_path, text: str) -> Params:
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    return load_params(tmp_path / "params.yaml")


@names
def test_every_preset_fits_the_projects_params_and_says_how_it_is_set(tmp_path, name):
    text = (PRESETS / f"{name}.yaml").read_text(encoding="utf-8")
    assert f"python -m stages use_preset {name}\n" in text.split("params:")[0]
    params = loaded(tmp_path, switched((REPO / "params.yaml").read_text(encoding="utf-8"), name))
    for section, values in YAML(typ="safe").load(text)["params"].items():
        for key, value in values.items() if isinstance(values, dict) else ():
            assert getattr(getattr(params, section), key) == value


@pytest.mark.parametrize(("before", "name"), itertools.permutations(NAMES, 2))
def test_a_preset_sets_the_same_after_any_other(tmp_path, before, name):
    text = PARAMS.read_text()
    alone = loaded(tmp_path, switched(text, name))
    assert loaded(tmp_path, switched(switched(text, before), name)) == alone


def test_the_default_preset_sets_all_but_what_belongs_to_a_machine():
    default = read_preset(PRESETS, "default")["params"]
    params = YAML(typ="safe").load(PARAMS)
    del params["runtime"], params["weights"]["mirror"]
    assert default == params


def test_comments_order_and_other_values_stay():
    before = PARAMS.read_text()
    after = merged(before, {"train": {"lr": 0.5}})
    changed = [
        pair for pair in zip(before.splitlines(), after.splitlines(), strict=True) if pair[0] != pair[1]
    ]
    ((old, new),) = changed
    key, _, *comment = old.split()
    assert new.split() == [key, "0.5", *comment] and "at lr_batch_size" in new
    assert switched(before, "default") == before


def test_an_unknown_preset_is_named_with_a_near_one():
    with pytest.raises(ValueError, match="no preset 'fruit30-resnet50'. Did you mean fruit30-resnet18"):
        read_preset(PRESETS, "fruit30-resnet50")


def test_a_preset_with_an_unknown_key_is_refused_and_changes_nothing(project):
    presets = project / "configs/presets"
    presets.mkdir(parents=True)
    (presets / "default.yaml").write_bytes((PRESETS / "default.yaml").read_bytes())
    (presets / "bad.yaml").write_text("params:\n  train:\n    learning_rate: 1\n")
    (presets / "wrong.yaml").write_text("params:\n  train:\n    lr: fast\n")
    text = (project / "params.yaml").read_text()
    before = sorted(project.iterdir())
    with pytest.raises(ValueError, match="the preset sets 'learning_rate'; expected one of strategy"):
        use_preset.main("bad", root=project)
    with pytest.raises(ValueError, match="train.lr is 'fast'; expected a number"):
        use_preset.main("wrong", root=project)
    assert (project / "params.yaml").read_text() == text
    assert sorted(project.iterdir()) == before
