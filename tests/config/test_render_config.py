"""render-config takes what other stages wrote as it was written, or says which stage to run again."""

import pytest
from conftest import REPO, write_params
from mmengine.config import Config

from stages import render_config
from stages.core.images.lists import write_classes
from stages.core.layout import Layout
from stages.core.seals import sealed_text


@pytest.fixture
def inputs(tmp_path):
    write_params(tmp_path)
    layout = Layout(tmp_path)
    for path in (layout.weights_source, layout.finetune_config):
        path.parent.mkdir(parents=True)
    layout.finetune_config.write_text((REPO / "configs/finetune.py").read_text())
    network = Config.fromfile(REPO / "configs/models/efficientnet_lite0.py", import_custom_modules=False)
    layout.pretrained_config.write_text(sealed_text(network.pretty_text, "pretrained.py"))
    layout.weights_source.write_text('{"source": "package", "model": "efficientnet_lite0"}')
    write_classes(layout.classes, ["apple", "pear"])
    return layout


@pytest.mark.parametrize(
    ("name", "wrong", "stage"),
    [
        ("weights_source", lambda text: text[:-3], "fetch-weights"),
        ("weights_source", lambda text: "", "fetch-weights"),
        ("weights_source", lambda text: "[]", "fetch-weights"),
        ("weights_source", lambda text: "{}", "fetch-weights"),
        ("pretrained_config", lambda text: text[: len(text) // 2], "fetch-weights"),
        ("pretrained_config", lambda text: text.replace("127", "117"), "fetch-weights"),
        ("pretrained_config", lambda text: "", "fetch-weights"),
        ("classes", lambda text: "apple\npe", "prepare-dataset"),
    ],
)
def test_an_input_that_was_cut_or_edited_is_refused_with_the_stage_to_run(inputs, name, wrong, stage):
    render_config.main(inputs.root)
    path = getattr(inputs, name)
    path.write_text(wrong(path.read_text()))
    with pytest.raises(ValueError, match=f"{path.name} (is not as|was cut).*Run `dvc repro {stage}`"):
        render_config.main(inputs.root)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=f"{path.name} does not exist. Run `dvc repro {stage}`"):
        render_config.main(inputs.root)
