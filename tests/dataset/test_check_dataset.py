"""check_dataset reports what prepare-dataset would find, on any folder."""

import html
import re
import shutil
import zipfile
from pathlib import Path

import pytest
from conftest import REPO, class_folders, write_params
from real_dvc import python

from stages.commands.check_dataset import report
from stages.core.dataset.sources import DatasetImage


def check(folder, *arguments, expect=0):
    project = folder.parent
    write_params(project)
    command = ["-m", "stages", "check_dataset", "--no-labels", str(folder)]
    return python(project, *command, *arguments, expect=expect, PYTHONPATH=str(REPO))


@pytest.fixture
def photos(tmp_path):
    return class_folders(tmp_path / "photos", {"apple": 25, "pear": 3})


def test_a_good_folder_is_described_and_not_changed(photos):
    before = sorted(photos.rglob("*"))
    output = check(photos, "--near-duplicates", "0")
    assert "28 images in 2 classes" in output
    assert "largest class 'apple': 25; smallest 'pear': 3" in output
    assert "1 classes have fewer than 20 images: 'pear'" in output
    assert "short side: 30 to 30 pixels" in output and "28 images have a side below 64" in output
    assert output.rstrip().endswith("all images can be used")
    assert sorted(photos.rglob("*")) == before


def test_what_cannot_be_used_is_named_and_the_exit_code_says_so(photos):
    (photos / "apple/notes.txt").write_text("hello")
    shutil.copy(photos / "apple/000.png", photos / "pear/conflict.png")
    shutil.copy(photos / "apple/001.png", photos / "apple/copy.png")
    output = check(photos, "--near-duplicates", "0", expect=1)
    assert "apple/notes.txt: is not an image" in output
    assert "pear/conflict.png: the same image is in the classes 'apple', 'pear'" in output
    assert "apple/copy.png: the same image as apple/001.png" in output
    assert "3 of 31 images cannot be used" in output


def test_an_archive_is_checked_and_a_missing_folder_is_an_error(photos, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for file in photos.rglob("*.png"):
            archive.write(file, file.relative_to(tmp_path))
    assert "28 images in 2 classes" in check(tmp_path / "a.zip", "--near-duplicates", "0")
    assert "error: " in check(tmp_path / "gone", expect=1)


def test_a_class_too_small_to_split_is_named_after_the_report(tmp_path):
    class_folders(tmp_path / "photos", {"apple": 25, "Apple": 2})
    output = check(tmp_path / "photos", "--near-duplicates", "0", expect=1)
    assert "27 images in 2 classes" in output
    assert "2 class names differ only in case, spaces or" in output and "'Apple', 'apple'" in output
    assert output.rstrip().splitlines()[-1].startswith("error: 1 classes are too small: 'Apple'")


def test_a_wrong_option_is_named(photos):
    output = check(photos, "--group-by", "(", "--near-duplicates", "99", expect=1)
    group_by, near_duplicates = output.splitlines()
    assert group_by.startswith("error: group_by is '('; expected a regular expression: missing )")
    assert near_duplicates.startswith(
        "near_duplicates is 99; expected a whole number, at least 0 and at"
    )


def test_official_splits_and_groups_are_checked_as_the_stage_does(tmp_path):
    for start, split in ((0, "train"), (100, "val")):
        class_folders(tmp_path / "photos" / split, {"apple": 5, "pear": 5}, start)
    assert "all images can be used" in check(tmp_path / "photos", "--near-duplicates", "0")
    output = check(tmp_path / "photos", "--group-by", r"(\w+/\d+)\.png", expect=1)
    assert "train/apple/000.png: an image of its group 'apple/000' is in val" in output


def test_the_report_counts_official_splits():
    images = [DatasetImage(Path(f"{n}.png"), "a", "train" if n else "test") for n in range(4)]
    assert "official splits: 1 test, 3 train" in report(images)


@pytest.mark.slow
def test_labels_that_look_wrong_are_on_a_page_with_the_lines_that_leave_them_out(tmp_path):
    root = tmp_path / "project"
    class_folders(root / "photos", {"apple": 24, "<b>pear": 24})
    shutil.move(root / "photos/apple/000.png", root / "photos/<b>pear/=a,'.png")
    write_params(root, dataset={"path": "photos", "scenes": 0.99})
    environment = {"PYTHONPATH": str(REPO)}
    command = ["-m", "stages", "check_dataset", "photos", "--near-duplicates", "0"]
    output = python(root, *command, **environment)
    assert "1 labels look wrong" in output
    assert "<b>pear/=a,'.png: it looks like 'apple' (" in output

    page = (root / "dvc_plots/labels.html").read_text(encoding="utf-8")
    assert "Labels that look wrong: 1" in page and "<b>pear" not in page and "&lt;b&gt;pear" in page
    assert not re.search(r'(src|href)="(?!data:image/jpeg;base64,)', page) and "<script" not in page
    row = html.unescape(re.search("<code>(.*?)</code>", page)[1])
    (root / "exclude.csv").write_text(f"path,reason\n{row}\n", encoding="utf-8")
    output = python(root, *command, "--exclude", "exclude.csv", **environment)
    assert "47 images in 2 classes" in output and "look wrong" not in output
    assert "photos/<b>pear/=a,'.png: doubtful label" in output.replace("  <b>", "  photos/<b>")
