"""A foreseen error ends a stage with its sentence, any other with its traceback."""

import re
import sys

import pytest
from conftest import PARAMS, REPO
from real_dvc import python

from stages.core.errors import print_error
from stages.core.params import load_params


def shown(capsys, error: BaseException) -> str:
    print_error(type(error), error, error.__traceback__)
    return capsys.readouterr().err


def test_an_error_this_package_raises_is_its_sentence(tmp_path, capsys):
    with pytest.raises(FileNotFoundError) as raised:
        load_params(tmp_path / "params.yaml")
    lines = shown(capsys, raised.value).splitlines()
    assert lines[0].startswith("error: ") and "params.yaml" in lines[0]
    assert not any(line.startswith(("Traceback", "  File")) for line in lines)


def test_an_error_of_a_library_keeps_its_traceback_though_a_stage_called_it(tmp_path, capsys):
    (tmp_path / "params.yaml").mkdir()
    with pytest.raises(IsADirectoryError) as raised:
        load_params(tmp_path / "params.yaml")
    assert "Traceback (most recent call last)" in shown(capsys, raised.value)


def test_a_defect_keeps_its_traceback(capsys):
    with pytest.raises(AttributeError) as raised:
        load_params(None)
    assert "Traceback (most recent call last)" in shown(capsys, raised.value)


def test_ctrl_c_says_how_to_go_on(capsys):
    assert shown(capsys, KeyboardInterrupt()) == "\ninterrupted: `dvc repro` resumes from here\n"


def test_a_stage_with_a_wrong_parameter_prints_one_line_and_fails(tmp_path):
    text = PARAMS.read_text().replace("images_per_class: 60", "images_per_class: many")
    (tmp_path / "params.yaml").write_text(text)
    said = python(tmp_path, "-m", "stages.make_sample", expect=1, PYTHONPATH=str(REPO))
    assert said.count("\n") == 1
    assert re.match(
        r"error: params.yaml line \d+: sample.images_per_class is 'many'; expected a whole", said
    )


def test_a_python_without_the_environment_is_told_so():
    outside = "import sys; sys.path = [path for path in sys.path if 'site-packages' not in path]; "
    start = "import runpy; sys.argv = ['-m']; runpy.run_module('stages.train', run_name='__main__')"
    said = python(REPO, "-c", outside + start, expect=1)
    assert said.count("\n") == 1 and said.startswith(f"error: {sys.executable} has no ")
    assert "activate" in said


def test_a_program_that_imports_the_package_keeps_its_own_errors():
    said = python(REPO, "-c", "import sys, stages; print(sys.excepthook is sys.__excepthook__)")
    assert said == "True\n"
    assert sys.excepthook is not print_error
