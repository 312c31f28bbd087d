"""The chart in README.md is the pipeline's."""

import re
import shutil

import pytest
from conftest import REPO
from ruamel.yaml import YAML

from stages.commands import draw_dag
from stages.core.layout import PATHS


def test_the_chart_in_the_readme_is_the_one_that_dvc_draws(tmp_path):
    chart = (REPO / "README.md").read_text().split(draw_dag.START)[1].split(draw_dag.END)[0]
    assert chart == f"```mermaid\n{draw_dag.dag(REPO)}```\n", "run `make dag`"


def test_drawing_changes_nothing_else(tmp_path):
    for name in (".dvc/config", "dvc.yaml", "params.yaml", "README.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(REPO / name, tmp_path / name)
    (tmp_path / ".dvc/config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
    draw_dag.main(tmp_path)
    assert (tmp_path / "README.md").read_text() == (REPO / "README.md").read_text()
    text = re.sub(r"flowchart TD.*?```", "old```", (REPO / "README.md").read_text(), flags=re.DOTALL)
    (tmp_path / "README.md").write_text(text)
    draw_dag.main(tmp_path)
    assert (tmp_path / "README.md").read_text() == (REPO / "README.md").read_text()


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
