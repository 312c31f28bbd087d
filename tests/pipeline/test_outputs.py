"""Each stage writes its outputs whole and through no link, and leaves what was there after an error."""

import json
import os
import shutil
from pathlib import Path

import pytest
from conftest import REPO, write_params
from disks import with_small_disk
from each_stage import STAGES, end_of
from real_dvc import run

pytestmark = pytest.mark.slow

EACH = ("python", str(REPO / "tests/each_stage.py"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A small project that every stage has run in."""
    root = tmp_path_factory.mktemp("outputs")
    write_params(
        root,
        sample={"images_per_class": 3},
        dataset={"near_duplicates": 0},
        image={"size": 32, "resize": 32},
        train={"epochs": 1, "batch_size": 16, "warmup_epochs": 0, "threads": 1},
        cam={"num_images": 1},
        runtime={"workers": 0, "device": "cpu"},
    )
    shutil.copytree(REPO / "configs", root / "configs")
    assert {stage: end_of(stage, root) for stage in STAGES} == dict.fromkeys(STAGES, "")
    return root


def outputs(root: Path) -> dict[str, bytes]:
    files = [path for folder in ("data", "metrics") for path in (root / folder).rglob("*")]
    return {str(path.relative_to(root)): path.read_bytes() for path in files if path.is_file()}


@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_every_stage_leaves_alone_what_its_outputs_are_linked_to(finished, tmp_path, link):
    before, cached = outputs(finished), {}
    for number, name in enumerate(before):
        cached[name] = tmp_path / str(number)
        shutil.move(finished / name, cached[name])
        cached[name].chmod(0o444)
        link(cached[name], finished / name)
    shutil.rmtree(finished / ".work")
    assert {stage: end_of(stage, finished) for stage in STAGES} == dict.fromkeys(STAGES, "")
    assert outputs(finished) == before == {name: path.read_bytes() for name, path in cached.items()}
    for name in before:
        assert not (finished / name).is_symlink() and (finished / name).stat().st_nlink == 1


@pytest.mark.parametrize("way", ["full", "read-only"])
def test_every_stage_ends_in_one_line_and_leaves_what_was_there(finished, way):
    before = outputs(finished)
    start = ("prlimit", "--fsize=100") if way == "full" else ("setpriv", "--bounding-set=-all")
    if way == "read-only":
        run(finished, "chmod", "-R", "a-w", "data", "metrics", "configs", ".work")
        start = start if os.geteuid() == 0 else ()
    try:
        ends = json.loads(run(finished, *start, *EACH, PYTHONPATH=str(REPO)))
    finally:
        run(finished, "chmod", "-R", "u+w", "data", "metrics", "configs", ".work")
    assert set(ends) == set(STAGES)
    assert all(said.startswith("error: ") and said.count("\n") == 1 for said in ends.values()), ends
    assert outputs(finished) == before


def test_every_stage_works_where_its_folders_are_other_disks(finished):
    """They are empty, and on a disk each."""
    before = outputs(finished)
    line = "mkdir data/weights && mount -t tmpfs tmpfs data/weights && exec " + " ".join(EACH)
    said = with_small_disk(
        finished, ".work data metrics", "300m", "env", f"PYTHONPATH={REPO}", "sh", "-c", line
    )
    assert json.loads(said) == dict.fromkeys(STAGES, "")
    assert outputs(finished) == before
