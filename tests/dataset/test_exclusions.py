"""dataset.exclude leaves images out in the open: a path and a reason a row, in Git."""

import json
import shutil

import pytest
from conftest import class_folders, write_params

from stages import prepare_dataset
from stages.core.images.lists import read_list

RAW = {"path": "data/raw", "near_duplicates": 0, "exclude": "exclude.csv"}


@pytest.fixture
def photos(project):
    write_params(project, dataset=RAW)
    return class_folders(project / "data/raw", {"apple": 12, "pear": 12})


def exclude(project, *rows: str) -> None:
    (project / "exclude.csv").write_text("\n".join(["path,reason", *rows]) + "\n", encoding="utf-8")


def prepared(project) -> set[str]:
    prepare_dataset.main(project)
    lists = (project / "data/dataset").glob("t*.txt"), (project / "data/dataset").glob("val.txt")
    return {image.path for some in lists for path in some for image in read_list(path)}


@pytest.mark.parametrize("row", ["data/raw/apple/003.png", "apple/003.png", "./data/raw/apple/003.png"])
def test_an_image_that_a_row_names_is_in_no_list_and_the_others_stay_where_they_were(
    project, photos, capsys, row
):
    before = prepared(project)
    (project / "exclude.csv").write_text("path,reason\n", encoding="utf-8")
    exclude(project, f'{row},"blurred, and cut"')
    assert before - prepared(project) == {"data/raw/apple/003.png"}
    findings = (project / "data/dataset/findings.csv").read_text(encoding="utf-8")
    assert 'data/raw/apple/003.png,excluded,"blurred, and cut",0' in findings
    assert "data/raw/apple/003.png: blurred, and cut" in capsys.readouterr().out
    counts = json.loads((project / "metrics/dataset.json").read_text())
    assert counts["left_out"] == 1 and counts["num_images"] == 23


def test_an_image_that_could_not_be_used_is_no_error_once_it_is_left_out(project, photos):
    (photos / "apple/notes.txt").write_text("hello")
    shutil.copy(photos / "apple/000.png", photos / "pear/conflict.png")
    exclude(project, "data/raw/apple/notes.txt,no image", "data/raw/pear/conflict.png,an apple")
    assert len(prepared(project)) == 24


def test_a_name_is_written_as_findings_csv_writes_it(project, photos):
    shutil.copy(photos / "apple/000.png", photos / "apple/=1+1,\n.png")
    prepare_dataset.main(project)
    (row,) = [
        line
        for line in (project / "data/dataset/findings.csv").read_text(encoding="utf-8").splitlines()
        if ",duplicate," in line
    ]
    exclude(project, row.split(",duplicate,")[0] + ",twice")
    assert len(prepared(project)) == 24


def test_a_row_of_another_dataset_is_mentioned_and_changes_nothing(project, photos, capsys):
    exclude(project, "data/other/1.jpg,blurred")
    assert len(prepared(project)) == 24
    out = capsys.readouterr().out
    assert "1 rows of dataset.exclude name no image of dataset.path" in out and "data/other/1.jpg" in out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "path,reason\ndata/raw/apple/99.png,bad\n",
            "line 2: 'data/raw/apple/99.png' is no image of data/raw",
        ),
        ("path,reason\napple/001.png\n", "line 2: found 'apple/001.png'; expected a path and a reason"),
        ("path,reason\napple/001.png,\n", "line 2: found .*; expected a path and a reason"),
        ("path,reason\napple/001.png,a,b\n", "line 2: found .*Quote what holds a comma"),
        ("path,reason\na/1.png,x\na/1.png,y\n", "line 3: 'a/1.png' is also in line 2"),
        ("apple/001.png,blurred\n", "line 1: found .*expected a CSV with the columns path,reason"),
        ("", "line 1: found ''; expected a CSV"),
        ('path,reason\n"apple,x\n', "line 2: unexpected end of data"),
    ],
)
def test_a_file_that_says_nothing_clear_is_refused_with_its_line(project, photos, content, message):
    (project / "exclude.csv").write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        prepare_dataset.main(project)


def test_a_file_that_is_not_there_or_not_utf8_is_refused(project, photos):
    (project / "exclude.csv").write_bytes(b"path,reason\napple/001.png,\xff\n")
    with pytest.raises(ValueError, match="exclude.csv is not UTF-8"):
        prepare_dataset.main(project)
    (project / "exclude.csv").unlink()
    with pytest.raises(
        FileNotFoundError, match="dataset.exclude: exclude.csv is no file; expected a CSV"
    ):
        prepare_dataset.main(project)


def test_a_class_of_which_every_training_image_is_left_out_is_named(project, photos):
    exclude(project, *(f"data/raw/pear/{number:03d}.png,blurred" for number in range(12)))
    with pytest.raises(ValueError, match="without what dataset.exclude names: 1 classes .*'pear'"):
        prepare_dataset.main(project)
