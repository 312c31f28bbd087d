"""cross_validate scores each fold in a copy, resumes, and changes nothing."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import class_folders, write_params
from real_dvc import SMALL, clone, copy, environment, python, run

from stages.commands.cross_validate import interval, report

FOLD = {"top1": 50.0, "top5": 100.0, "val_top1": 60.0, "num_images": 2, "of": 4, "paths": ["a", "b"]}


def test_the_interval_is_students_t():
    # scipy.stats.t.interval(0.95, 4, loc=mean, scale=s / sqrt(5)) of these five
    assert interval([90.0, 92.0, 94.0, 96.0, 98.0]) == pytest.approx((90.0735, 97.9265), abs=1e-4)
    assert interval([99.0, 100.0]) == pytest.approx((93.1469, 100), abs=1e-4)


def test_the_report_has_a_row_a_fold_and_counts_an_image_once():
    scores = [{"fold": "1/2", **FOLD}, {"fold": "2/2", **FOLD, "paths": ["b", "c"], "top1": 100.0}]
    lines = "\n".join(report(scores)).splitlines()
    assert [line.split()[0] for line in lines[2:4]] == ["1/2", "2/2"]
    assert any(
        re.match(r"test top-1\s+75.00 %   95 % interval 0.00 to 100.00 %", line) for line in lines
    )
    assert "3 of 4 images were scored" in lines


@pytest.mark.parametrize(
    ("sections", "folds", "message"),
    [
        ({}, "1", "fold is '1/1'; expected e.g. 2/5"),
        ({"dataset": {"test_from": "test"}}, "5", "val_from or test_from names an official split"),
        ({"dataset": {"path": "data/gone"}}, "5", "data/gone, which params.yaml names, does not exist"),
    ],
)
def test_what_cannot_be_cross_validated_is_one_sentence(tmp_path, sections, folds, message):
    project = clone(tmp_path, **sections)
    said = python(project, "-m", "stages", "cross_validate", "--folds", folds, expect=1)
    assert message in said and "Traceback" not in said


@pytest.mark.slow
def test_a_stopped_command_goes_on_and_the_workspace_stays_as_it_was(small_run, tmp_path):
    # photos that neither Git nor DVC knows, in a workspace with changes
    project = copy(small_run, tmp_path / "project", **SMALL)
    class_folders(project / "data/photos", {"fig": 10, "kiwi": 10})
    photos = {"path": "data/photos", "near_duplicates": 0}
    write_params(project, **SMALL | {"sample": {"images_per_class": 0}, "dataset": photos})
    before = state(project)

    # stop it in the second fold
    command = [sys.executable, "-m", "stages", "cross_validate", "--folds", "2"]
    output = tmp_path / "output"
    with output.open("w") as file:
        stopped = subprocess.Popen(
            command, cwd=project, env=environment(project), stdout=file, stderr=file
        )
    deadline = time.monotonic() + 300
    while "fold 2 of 2" not in output.read_text():
        assert stopped.poll() is None and time.monotonic() < deadline, output.read_text()
        time.sleep(0.2)
    os.kill(stopped.pid, signal.SIGINT)
    assert stopped.wait(60) != 0
    assert state(project) == before

    # go on: the first fold is not trained again
    said = python(project, *command[1:])
    first, second = said.split("fold 2 of 2")
    assert "> python -m stages.train" not in first and "> python -m stages.train" in second
    assert "20 of 20 images were scored" in said and re.search(r"^2/2 ", said, re.MULTILINE)
    assert state(project) == before and not (project / ".work/cross_validate").exists()


def state(project: Path) -> tuple[str, set[str], str]:
    files = {
        path.relative_to(project).as_posix()
        for path in project.rglob("*")
        if not {".git", ".dvc", ".work", "__pycache__"} & set(path.relative_to(project).parts)
    }
    params = (project / "params.yaml").read_text()
    return run(project, "git", "status", "--porcelain"), files, json.dumps(params)
