"""params.yaml is read once, typed, and its mistakes are named."""

import json
import re

import pytest
from conftest import PARAMS, REPO, write_params
from pydantic import ValidationError
from real_dvc import run
from ruamel.yaml import YAML

from stages.commands.use_preset import merged, preset_names, read_preset
from stages.core.params import described, load_params, schema_at

SCHEMA = REPO / "configs/params.schema.json"


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
            "train.learning_rate is unknown; expected one of strategy, probe_weight_decay, ",
        ),
        ({"train": {5: 1}}, "train.5 is unknown; expected one of strategy, "),
        ({"train": {"epoch": 1}}, "train.epoch is unknown. Did you mean epochs?"),
        ({"trian": 1}, "trian is unknown. Did you mean train?"),
        ({"train": {"lr": "fast"}}, "train.lr is 'fast'; expected a number, more than 0."),
        ({"train": {"epochs": 1.5}}, "train.epochs is 1.5; expected a whole number, more than 0."),
        ({"train": {"epochs": True}}, "train.epochs is True; expected a whole number, more than 0."),
        ({"train": {"lr": True}}, "train.lr is True; expected a number, more than 0."),
        ({"train": {"epochs": "8"}}, "train.epochs is '8'; expected a whole number, more than 0."),
        ({"train": {"epochs": None}}, "train.epochs is empty; expected a whole number, more than 0."),
        ({"train": {"nesterov": "no"}}, "train.nesterov is 'no'; expected true or false."),
        ({"train": {"nesterov": 1}}, "train.nesterov is 1; expected true or false."),
        ({"train": {"lr": float("nan")}}, "train.lr is nan; expected a number, more than 0."),
        ({"train": {"lr": float("inf")}}, "train.lr is inf; expected a number, more than 0."),
        ({"train": {"optimizer": "adam"}}, "train.optimizer is 'adam'; expected sgd or adamw."),
        ({"train": {"threads": 0}}, "train.threads is 0; expected a whole number, more than 0."),
        (
            {"train": {"label_smoothing": 1}},
            "train.label_smoothing is 1; expected a number, at least 0 and less than 1.",
        ),
        (
            {"train": {"milestones": [60, 30]}},
            "train.milestones is [60, 30]; expected rising epoch numbers.",
        ),
        ({"train": {"milestones": [30, 30]}}, "train.milestones is [30, 30]; expected rising"),
        (
            {"train": {"milestones": [0]}},
            "train.milestones.0 is 0; expected a whole number, more than 0.",
        ),
        (
            {"train": {"warmup_epochs": 8, "epochs": 8}},
            "train.warmup_epochs is 8; expected fewer than epochs (8).",
        ),
        (
            {"train": {"momentum": 0.0, "nesterov": True}},
            "train.momentum is 0.0; expected more than 0, as nesterov is true.",
        ),
        (
            {"train": {"head_lr_mult": 5, "layer_decay": 0.75}},
            "train.head_lr_mult is 5; expected 1, as layer_decay is 0.75.",
        ),
        ({"seed": -1}, "seed is -1; expected a whole number, at least 0 and less than 2147483648."),
        ({"seed": 2**31}, "seed is 2147483648; expected a whole number, at least 0 and less than"),
        (
            {"image": {"size": 128, "resize": 64}},
            "image.resize is 64; expected 0, or at least size (128).",
        ),
        (
            {"image": {"size": 128, "resize": 146, "reduce": 140}},
            "image.reduce is 140; expected 0 (off), or at least resize (146).",
        ),
        (
            {"augment": {"crop_scale": [0.9, 0.5]}},
            "augment.crop_scale is [0.9, 0.5]; expected two numbers [low, high] with 0 < low <= high <= 1.",
        ),
        ({"augment": {"crop_scale": [0.5]}}, "augment.crop_scale is [0.5]; expected two numbers"),
        (
            {"augment": {"crop_scale": [0.5, 2]}},
            "augment.crop_scale.1 is 2; expected a number, more than 0 and at most 1.",
        ),
        ({"dataset": {"path": ""}}, "dataset.path is ''; expected a folder or an archive."),
        ({"dataset": {"path": 3}}, "dataset.path is 3; expected text."),
        ({"dataset": {"class_level": 0}}, "dataset.class_level is 0; expected 1 or more, or -1 for"),
        (
            {"dataset": {"class_level": -2}},
            "dataset.class_level is -2; expected a whole number, at least",
        ),
        (
            {"dataset": {"group_by": "("}},
            "dataset.group_by is '('; expected a regular expression: missing ), unterminated",
        ),
        (
            {"dataset": {"val_fraction": 0.9, "test_fraction": 0.2}},
            "dataset.test_fraction is 0.2; expected less than 1 with val_fraction (0.9) added",
        ),
        ({"dataset": {"fold": "6/5"}}, "dataset.fold is '6/5'; expected e.g. 2/5, the second of five"),
        ({"dataset": {"fold": "1/1"}}, "dataset.fold is '1/1'; expected e.g. 2/5, the second of five"),
        (
            {"dataset": {"fold": "2/5", "test_from": "val"}},
            "dataset.fold is '2/5'; expected '' (off), as",
        ),
        ({"weights": {"model": ""}}, "weights.model is ''; expected the name of a model."),
        (
            {"weights": {"source": "path", "sha256": "0" * 8}},
            "weights.path is ''; expected a checkpoint file, as source is path.",
        ),
        (
            {"weights": {"source": "url", "sha256": "0" * 8}},
            "weights.url is ''; expected an http(s) address, as source is url.",
        ),
        (
            {"weights": {"source": "url", "url": "http://x/y.pth"}},
            "weights.sha256 is ''; expected 8 to 64 hex digits, as source is url: unknown weights are not",
        ),
        ({"weights": {"sha256": "f370"}}, "weights.sha256 is 'f370'; expected 8 to 64 hex digits."),
        (
            {"cam": {"methods": ["gradcam", "magic"]}},
            "cam.methods.1 is 'magic'; expected gradcam, gradcam++, xgradcam, eigencam, eigengradcam or ",
        ),
        (
            {"cam": {"methods": "gradcam"}},
            "cam.methods is 'gradcam'; expected a list, each item gradcam, gradcam++, ",
        ),
        ({"cam": {"methods": []}}, "cam.methods is []; expected at least one method."),
        (
            {"cam": {"methods": ["gradcam", "gradcam"]}},
            "cam.methods is ['gradcam', 'gradcam']; expected each method once.",
        ),
        ({"cam": 3}, "cam is 3; expected the keys methods, target_layers, "),
        ({"runtime": {"device": "gpu"}}, "runtime.device is 'gpu'; expected auto, cpu or cuda."),
        (
            {"runtime": {"launcher": "none", "processes": 2}},
            "runtime.processes is 2; expected 1, as launcher is none; pytorch or slurm start several.",
        ),
    ],
)
def test_a_mistake_is_named_with_its_place_and_what_was_expected(tmp_path, changes, message):
    (mistake,) = mistakes(tmp_path, **changes)
    assert re.match(rf"line \d+: {re.escape(message)}", mistake)


def mistakes(folder, **changes) -> list[str]:
    """The lines of the error, each without the file, which it starts with."""
    write_params(folder, **changes)
    with pytest.raises(ValueError) as error:
        load_params(folder / "params.yaml")
    start = f"{folder / 'params.yaml'} "
    lines = str(error.value).splitlines()
    assert all(line.startswith(start) for line in lines)
    return [line.removeprefix(start) for line in lines]


def test_all_mistakes_are_named_at_once_each_with_its_line(tmp_path):
    """Beside a wrong lr the rule of warmup_epochs is checked; that of resize is not, as it needs size."""
    found = mistakes(
        tmp_path,
        seed=-1,
        image={"size": "large", "resize": 1},
        train={"lr": "fast", "warmup_epochs": 9, "epochs": 9},
        runtime={"devise": "cpu"},
    )
    lines = (tmp_path / "params.yaml").read_text().splitlines()
    place_and_text = [re.match(r"line (\d+): (\S+) is ", mistake).groups() for mistake in found]
    assert [(lines[int(number) - 1].split()[0], place) for number, place in place_and_text] == [
        ("seed:", "seed"),
        ("size:", "image.size"),
        ("lr:", "train.lr"),
        ("warmup_epochs:", "train.warmup_epochs"),
        ("devise:", "runtime.devise"),
    ]


def test_a_missing_key_is_named_with_the_line_of_its_section(tmp_path):
    write_params(tmp_path)
    text = re.sub("  momentum: [^ ]+", "  #", (tmp_path / "params.yaml").read_text())
    (tmp_path / "params.yaml").write_text(text)
    line = text[: text.index("\ntrain:")].count("\n") + 2
    message = f"line {line}: train.momentum is missing; expected a number, at least 0 and less than 1."
    with pytest.raises(ValueError, match=re.escape(message)):
        load_params(tmp_path / "params.yaml")


@pytest.mark.parametrize(("text", "found"), [("", "empty"), ("[1]", r"\[1\]"), ("seed", "'seed'")])
def test_a_file_that_holds_no_keys_is_named(tmp_path, text, found):
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(
        ValueError, match=f"the file is {found}; expected the keys seed, sample, weights"
    ):
        load_params(tmp_path / "params.yaml")


def test_values_are_frozen_and_a_copy_with_others_is_checked(tmp_path):
    write_params(tmp_path, dataset={"val_fraction": 0.4})
    dataset = load_params(tmp_path / "params.yaml").dataset
    with pytest.raises(ValidationError, match="frozen"):
        dataset.val_fraction = 0.5
    assert dataset.replace(val_fraction=0.5).val_fraction == 0.5 and dataset.val_fraction == 0.4
    with pytest.raises(ValueError) as error:
        dataset.replace(near_duplicates=99, test_fraction=0.7)
    assert str(error.value).splitlines() == [
        "test_fraction is 0.7; expected less than 1 with val_fraction (0.4) added, so that images are left "
        "to train on.",
        "near_duplicates is 99; expected a whole number, at least 0 and at most 16.",
    ]


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
    with pytest.raises(ValueError, match=r"params.yaml line 3 is not valid YAML: expected ',' or '\]'"):
        load_params(tmp_path / "params.yaml")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="params.yaml does not exist"):
        load_params(tmp_path / "params.yaml")


def test_the_schema_is_that_of_the_models():
    """Its descriptions are the comments of the params.yaml that it was written with."""
    written = json.loads(SCHEMA.read_text())
    assert without_descriptions(written) == without_descriptions(schema()), "run `make schema`"
    for section in (written, *written["properties"].values()):
        assert all(key["description"] for key in section.get("properties", {}).values())


def schema(**comments: str) -> dict:
    """As the module prints it, with these comments in params.yaml."""
    text = (REPO / "params.yaml").read_text()
    for key, comment in comments.items():
        text = re.sub(rf"(?m)^( *{key}:[^#\n]*).*", rf"\g<1> {comment}", text)
    return described(schema_at(()), YAML().load(text))


def without_descriptions(node: object) -> object:
    if isinstance(node, dict):
        return {key: without_descriptions(value) for key, value in node.items() if key != "description"}
    return [without_descriptions(value) for value in node] if isinstance(node, list) else node


def test_a_key_is_described_by_its_comment():
    sections = schema(epochs="# one\n  # and two", gamma="", evaluate="# three")["properties"]
    assert sections["train"]["properties"]["epochs"]["description"] == "one and two"
    assert "description" not in sections["train"]["properties"]["gamma"]
    assert sections["evaluate"]["description"] == "three"


def test_editors_find_the_schema_and_accept_what_is_loaded(tmp_path):
    text = (REPO / "params.yaml").read_text()
    named = re.findall(r"^# yaml-language-server: \$schema=(.*)", text)
    assert named in ([], [str(SCHEMA.relative_to(REPO))])
    for name in preset_names(REPO / "configs/presets"):
        changes = read_preset(REPO / "configs/presets", name)["params"]
        (tmp_path / f"{name}.yaml").write_text(merged(text, changes))
    files = [REPO / "params.yaml", *tmp_path.glob("*.yaml")]
    assert len(files) > 1
    run(REPO, "check-jsonschema", "--schemafile", str(SCHEMA), *map(str, files))


def test_editors_refuse_what_is_refused(tmp_path):
    write_params(
        tmp_path, train={"lr": "fast", "learning_rate": 1, "epochs": 0}, cam={"methods": ["magic"]}
    )
    check = ("check-jsonschema", "--schemafile", str(SCHEMA), str(tmp_path / "params.yaml"))
    said = run(REPO, *check, expect=1)
    for place in (
        "$.train.lr: 'fast'",
        "'learning_rate'",
        "$.train.epochs: 0",
        "$.cam.methods[0]: 'magic'",
    ):
        assert place in said
