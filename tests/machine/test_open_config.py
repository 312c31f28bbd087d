"""The rendered config opens on this machine: for training with its code, for scoring without it."""

import json
from pathlib import Path

import pytest
from conftest import REPO, write_params
from mmengine.config import Config
from real_dvc import python

from stages.core.config.finetune_config import finetune_config, rendered_text
from stages.core.machine.placement import read_rendered
from stages.core.params import load_params

pytestmark = pytest.mark.slow

OPEN = """
import json, sys
from pathlib import Path
import stages
from stages.core.machine.placement import open_config
from stages.core.params import load_params
root = Path(sys.argv[1])
runtime = load_params(root / "params.yaml").runtime
cfg = open_config(root / "configs/rendered.py", root, runtime, "cpu", training=sys.argv[2] == "train")
print(json.dumps({
    "training": sorted(name for name in sys.modules if name.startswith("stages.core.training.")),
    "scoring": "stages.core.scoring.metrics" in sys.modules,
    "hooks": [hook["type"] for hook in cfg.custom_hooks],
    "load_from": cfg.load_from,
    "roots": [cfg.train_dataloader.dataset.dataset.dataset.data_root, cfg.test_dataloader.dataset.data_root],
    "persistent": cfg.train_dataloader.persistent_workers,
}))
"""


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """What the config is when it is opened for a purpose: rare classes repeated, no loader workers."""
    root = tmp_path_factory.mktemp("project")
    write_params(root, train={"oversample": 0.1}, runtime={"workers": 0})
    cfg = finetune_config(
        Config.fromfile(REPO / "configs/finetune.py", import_custom_modules=False),
        Config.fromfile(REPO / "configs/models/efficientnet_lite0.py", import_custom_modules=False),
        {"source": "package", "model": "efficientnet_lite0"},
        load_params(root / "params.yaml"),
        ["a", "b"],
    )
    (root / "configs").mkdir()
    (root / "configs/rendered.py").write_text(rendered_text(cfg))

    def open_for(purpose: str) -> dict:
        text = python(root, "-c", OPEN, str(root), purpose, PYTHONPATH=str(REPO))
        return json.loads(text.splitlines()[-1]) | {"root": str(root)}

    return {purpose: open_for(purpose) for purpose in ("train", "score")}


def test_scoring_imports_no_training_code_and_has_none_of_its_hooks(opened):
    assert opened["score"]["training"] == [] and opened["score"]["hooks"] == []
    assert opened["score"]["load_from"] is None and opened["score"]["scoring"]


def test_training_has_its_hooks_and_its_weights(opened):
    assert opened["train"]["hooks"][0] == "RepeatableRun" and "FittedHead" in opened["train"]["hooks"]
    assert "stages.core.training.hooks" in opened["train"]["training"]
    assert opened["train"]["load_from"] == f"{opened['train']['root']}/data/weights/pretrained.pth"


def test_the_innermost_dataset_gets_the_projects_root(opened):
    assert opened["train"]["roots"] == [opened["train"]["root"]] * 2


@pytest.mark.parametrize(
    "wrong",
    [
        lambda text: "",
        lambda text: text[: len(text) // 2],
        lambda text: text.replace("max_epochs", "max_epoch"),
        lambda text: text.replace("lr=0.02", "lr=0.2"),
        lambda text: "<<<<<<< HEAD\n" + text,
        lambda text: text.replace("\n", "\r\n"),
    ],
)
def test_a_config_that_was_cut_or_edited_is_refused_with_what_to_do(opened, tmp_path, wrong):
    text = (Path(opened["train"]["root"]) / "configs/rendered.py").read_text()
    path = tmp_path / "rendered.py"
    path.write_text(text)
    read_rendered(path)
    path.write_text(wrong(text), newline="")
    with pytest.raises(ValueError, match="is not as it was written.* run `dvc repro render-config`"):
        read_rendered(path)


def test_no_workers_are_kept_where_there_are_none(opened):
    assert opened["train"]["persistent"] is False
