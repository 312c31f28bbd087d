"""A team that made this project its own passes the tests: its parameters, data, results and remote are others."""

from pathlib import Path

import pytest
from conftest import class_folders
from real_dvc import commit, copy, executed, python, repro, run
from ruamel.yaml import YAML

from stages.commands.use_preset import merged

pytestmark = pytest.mark.slow

TRAINED = {
    "seed": 7,
    "dataset": {"near_duplicates": 0, "group_by": r"(\d+)\.png", "val_fraction": 0.3},
    "image": {"size": 64},
    "train": {"epochs": 2, "threads": 1, "schedule": "step", "milestones": [1], "cpu_kernels": "native"},
    "evaluate": {"tta": "flip"},
    "cam": {"methods": ["layercam"], "target_category": "unripe", "num_images": 3},
}
"""What the team changed in the preset `photos`."""
ON_GPUS = {"runtime": {"device": "cuda", "launcher": "pytorch", "processes": 2}}
"""What it set afterwards, for its machine."""


def change(folder: Path, changes: dict) -> None:
    params = folder / "params.yaml"
    params.write_text(merged(params.read_text(), changes))


@pytest.fixture(scope="module")
def fork(small_run, tmp_path_factory) -> Path:
    """What such a team has in Git: its photos, of two classes, are tracked by DVC and not here."""
    team = copy(small_run, tmp_path_factory.mktemp("fork") / "team")
    class_folders(team / "data/photos", {"ripe": 12, "unripe": 12})
    python(team, "-m", "dvc", "add", "data/photos")
    python(team, "-m", "dvc", "remote", "add", "--default", "store", str(team.parent / "store"))
    python(team, "-m", "stages", "use_preset", "photos")
    change(team, TRAINED)
    repro(team)
    change(team, ON_GPUS)
    commit(team)
    python(team, "-m", "dvc", "push", "--quiet")
    run(team.parent, "git", "clone", "--quiet", str(team), "fork")
    return team.parent / "fork"


def test_what_it_committed_passes_the_check(fork):
    assert "7 stages, " in python(fork, "-m", "stages", "check")


def test_the_fast_tests_pass_in_it(fork):
    """Those that look at the project: its folder has one name in the tests."""
    looking = [file for file in (fork / "tests").rglob("test_*.py") if "REPO" in file.read_text()]
    assert len(looking) > 20
    assert " passed" in python(fork, "-m", "pytest", "-q", *map(str, looking))


def test_the_smallest_run_of_its_pull_requests_needs_none_of_its_data(fork, tmp_path):
    run(tmp_path, "git", "clone", "--quiet", str(fork), "smallest")
    folder, workflow = tmp_path / "smallest", ".github/workflows/pull-request.yml"
    (commands,) = [
        step["run"]
        for step in YAML(typ="safe").load(fork / workflow)["jobs"]["results"]["steps"]
        if step.get("name") == "Run the smallest pipeline from nothing"
    ]
    printed = run(folder, "bash", "-e", "-c", commands, GITHUB_STEP_SUMMARY=str(tmp_path / "summary"))
    assert len(executed(printed)) == 7
    assert "top1" in (tmp_path / "summary").read_text()
