"""params.yaml is read once, typed, and its mistakes are named."""

import re

import pytest
from conftest import PARAMS, REPO, write_params
from ruamel.yaml import YAML

from stages.core.params import load_params


def test_the_projects_own_params_load_and_have_the_keys_of_the_tests():
    """The values are a team's own."""
    load_params(REPO / "params.yaml")
    own, tests = (YAML(typ="safe").load(file) for file in (REPO / "params.yaml", PARAMS))
    assert own.keys() == tests.keys()
    for section, values in tests.items():
        assert not isinstance(values, dict) or own[section].keys() == values.keys(), section


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"train": {"learning_rate": 1}},
            "train: unknown key 'learning_rate'; expected one of strategy",
        ),
        ({"trian": 1}, "unknown key 'trian'; expected one of seed, sample"),
        ({"train": {"lr": "fast"}}, "train: lr must be float, got 'fast' (str)."),
        ({"train": {"epochs": 1.5}}, "train: epochs must be int, got 1.5 (float)."),
        ({"train": {"epochs": True}}, "train: epochs must be int, got True (bool)."),
        ({"train": {"epochs": None}}, "train: epochs must be int, got nothing."),
        ({"train": {"nesterov": "no"}}, "train: nesterov must be bool, got 'no' (str)."),
        ({"train": {"lr": float("nan")}}, "train: lr must be float, got nan (float)."),
        (
            {"train": {"optimizer": "adam"}},
            "train: optimizer must be one of sgd, adamw, got 'adam' (str).",
        ),
        ({"train": {"milestones": [60, 30]}}, "train: milestones is [60, 30]; expected rising"),
        (
            {"train": {"warmup_epochs": 8, "epochs": 8}},
            "warmup_epochs is 8; expected fewer than epochs (8)",
        ),
        ({"train": {"momentum": 0.0}}, "momentum is 0.0; expected more than 0, as nesterov is true"),
        ({"seed": -1}, "seed is -1; expected 0 to 2147483647"),
        ({"image": {"resize": 64}}, "resize is 64; expected at least size (128)"),
        ({"augment": {"crop_scale": [0.9, 0.5]}}, "expected two numbers [low, high]"),
        (
            {"dataset": {"val_fraction": 0.9, "test_fraction": 0.2}},
            "val_fraction + test_fraction is 1.1",
        ),
        ({"weights": {"source": "path"}}, "path is ''; expected a checkpoint file"),
        ({"weights": {"source": "url", "url": "http://x/y.pth"}}, "sha256 is ''; expected 8 to 64 hex"),
        ({"cam": {"methods": ["gradcam", "magic"]}}, "methods must be one of gradcam"),
        ({"cam": {"methods": "gradcam"}}, "methods must be a list, got 'gradcam' (str)."),
        ({"cam": 3}, "cam: expected a mapping of keys, got 3 (int)"),
        ({"runtime": {"device": "gpu"}}, "device must be one of auto, cpu, cuda"),
    ],
)
def test_a_mistake_is_named_with_its_place_and_what_was_expected(tmp_path, changes, message):
    write_params(tmp_path, **changes)
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        load_params(tmp_path / "params.yaml")
    assert "params.yaml" in str(error.value)


def test_a_missing_key_is_named(tmp_path):
    text = PARAMS.read_text().replace("  momentum: 0.9", "  #")
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ValueError, match="train: missing momentum"):
        load_params(tmp_path / "params.yaml")


def test_yaml_is_read_as_dvc_reads_it(tmp_path):
    """PyYAML would take 1e-3 for a string and no for False."""
    text = re.sub("  lr: [^ ]+ ", "  lr: 1e-3 ", PARAMS.read_text())
    (tmp_path / "params.yaml").write_text(text)
    assert load_params(tmp_path / "params.yaml").train.lr == 0.001


def test_an_int_serves_as_a_float(tmp_path):
    write_params(tmp_path, train={"head_lr_mult": 5})
    assert load_params(tmp_path / "params.yaml").train.head_lr_mult == 5.0


def test_broken_yaml_is_named_with_its_line(tmp_path):
    (tmp_path / "params.yaml").write_text("seed: 0\ntrain: [1, 2\nx: y: z\n")
    with pytest.raises(ValueError, match=r"params.yaml is not valid YAML(.|\n)*line"):
        load_params(tmp_path / "params.yaml")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="params.yaml does not exist"):
        load_params(tmp_path / "params.yaml")
