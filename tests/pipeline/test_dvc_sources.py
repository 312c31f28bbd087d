"""Images come in by `dvc add`, `dvc import-url` and `dvc import`, and out of a remote again."""

import json
import shutil
import zipfile
from pathlib import Path

import pytest
from conftest import class_folders
from real_dvc import clone, commit, executed, python, repro, run

pytestmark = pytest.mark.slow

DATASET = {"path": "data/photos", "near_duplicates": 0}


def dvc(folder: Path, *arguments: str) -> str:
    return python(folder, "-m", "dvc", *arguments)


def prepared(folder: Path) -> dict:
    repro(folder, "prepare-dataset")
    return json.loads((folder / "metrics/dataset.json").read_text())


def test_a_folder_that_was_added_and_comes_back_in_a_second_clone(tmp_path):
    project = clone(tmp_path / "one", dataset=DATASET)
    class_folders(project / "data/photos", {"ripe": 9, "unripe": 9})
    dvc(project, "add", "data/photos")
    assert prepared(project)["num_images"] == 18
    dvc(project, "remote", "add", "--default", "store", str(tmp_path / "store"))
    commit(project)
    dvc(project, "push", "--quiet", "data/photos.dvc", "prepare-dataset")

    run(tmp_path, "git", "clone", "--quiet", str(project), "two")
    assert executed(repro(tmp_path / "two", "--pull", "prepare-dataset")) == []
    assert (tmp_path / "two/data/dataset/train.txt").read_bytes() == (
        project / "data/dataset/train.txt"
    ).read_bytes()


def test_an_archive_that_was_imported_from_another_repository(tmp_path):
    registry = clone(tmp_path / "registry")
    class_folders(tmp_path / "photos", {"ripe": 9, "unripe": 9})
    with zipfile.ZipFile(registry / "photos.zip", "w") as archive:
        for file in (tmp_path / "photos").rglob("*.png"):
            archive.write(file, file.relative_to(tmp_path))
    dvc(registry, "add", "photos.zip")
    commit(registry)

    project = clone(tmp_path / "project", dataset=DATASET | {"path": "data/photos.zip"})
    (project / "data").mkdir(exist_ok=True)
    dvc(project, "import", str(registry), "photos.zip", "-o", "data/photos.zip")
    assert prepared(project)["num_images"] == 18


def test_a_folder_that_was_imported_by_its_address_and_updated(tmp_path):
    class_folders(tmp_path / "shelf", {"ripe": 9, "unripe": 9})
    project = clone(tmp_path / "project", dataset=DATASET)
    (project / "data").mkdir(exist_ok=True)
    dvc(project, "import-url", str(tmp_path / "shelf"), "data/photos")
    assert prepared(project)["num_images"] == 18
    class_folders(tmp_path / "shelf", {"ripe": 10}, start=0)
    shutil.copy(tmp_path / "shelf/ripe/009.png", tmp_path / "shelf/ripe/copy.png")
    dvc(project, "update", "data/photos.dvc")
    counts = prepared(project)
    assert (counts["num_images"], counts["duplicates"]) == (20, 1)
