"""The chart in README.md is the pipeline's."""

import re
import shutil

import pytest
from conftest import PARAMS, REPO
from ruamel.yaml import YAML

from stages.commands import draw_dag
from stages.core.layout import PATHS


@pytest.fixture
def pipeline(tmp_path):
    """This pipeline on the drawn images, and README.md."""
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
    for file in (REPO / "dvc.yaml", PARAMS, REPO / "README.md"):
        shutil.copyfile(file, tmp_path / file.name)
    return tmp_path


def test_the_chart_in_the_readme_is_the_one_that_dvc_draws(pipeline):
    """Of the drawn images or, where a team ran `make dag`, of its own dataset."""
    chart = (REPO / "README.md").read_text().split(draw_dag.START)[1].split(draw_dag.END)[0]
    charts = [f"```mermaid\n{draw_dag.dag(root)}```\n" for root in (pipeline, REPO)]
    assert chart in charts, "run `make dag`"


def test_drawing_changes_nothing_else(pipeline):
    readme = pipeline / "README.md"
    draw_dag.main(pipeline)
    drawn = readme.read_text()
    assert drawn.split(draw_dag.START)[0] == (REPO / "README.md").read_text().split(draw_dag.START)[0]
    assert drawn.split(draw_dag.END)[1] == (REPO / "README.md").read_text().split(draw_dag.END)[1]
    readme.write_text(re.sub(r"flowchart TD.*?```", "old```", drawn, flags=re.DOTALL))
    draw_dag.main(pipeline)
    assert readme.read_text() == drawn


@pytest.mark.parametrize(
    "text", ["", draw_dag.START, draw_dag.END + draw_dag.START, draw_dag.START * 2 + draw_dag.END]
)
def test_a_readme_without_both_markers_is_left_alone(tmp_path, text):
    (tmp_path / "README.md").write_text(text)
    with pytest.raises(
        ValueError, match="expected <!-- dvc dag --> once and, below it, <!-- end of dvc dag -->"
    ):
        draw_dag.main(tmp_path)
    assert (tmp_path / "README.md").read_text() == text


def test_the_model_in_the_registry_is_what_train_writes():
    pipeline = YAML(typ="safe").load(REPO / "dvc.yaml")
    model = pipeline["artifacts"]["classifier"]
    assert model["path"] == PATHS["checkpoint"]
    assert model["path"] in pipeline["stages"]["train"]["outs"]
