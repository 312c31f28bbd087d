"""prepare-dataset on folders and archives as people have them."""

import csv
import fcntl
import json
import os
import pty
import random
import shutil
import struct
import subprocess
import sys
import termios
import unicodedata
import zipfile
from pathlib import Path

import pytest
from conftest import REPO, class_folders, draw_image, write_params
from PIL import Image

from stages import prepare_dataset
from stages.core.images.lists import read_classes, read_list


def prepare(root: Path, **dataset) -> dict:
    """Run the stage and return metrics/dataset.json."""
    write_params(root, dataset={"path": "data/raw", "near_duplicates": 0, **dataset})
    prepare_dataset.main(root)
    return json.loads((root / "metrics/dataset.json").read_text())


def listed(root: Path, split: str) -> list[str]:
    return [image.path for image in read_list(root / f"data/dataset/{split}.txt")]


def test_class_folders_produce_lists_classes_and_counts(project):
    class_folders(project / "data/raw", {"pear": 20, "apple": 30})
    counts = prepare(project)
    assert read_classes(project / "data/dataset/classes.txt") == ["apple", "pear"]
    lists = {
        split: read_list(project / f"data/dataset/{split}.txt") for split in ("train", "val", "test")
    }
    paths = sorted(image.path for images in lists.values() for image in images)
    assert paths == sorted(p.relative_to(project).as_posix() for p in project.rglob("*.png"))
    assert all(image.label == int("pear" in image.path) for i in lists.values() for image in i)
    assert counts["num_images"] == 50 and counts["num_classes"] == 2
    assert [counts[split] for split in lists] == [len(images) for images in lists.values()]
    assert (counts["min_per_class"], counts["max_per_class"]) == (20, 30)


def test_a_bar_shows_on_a_terminal_and_nowhere_else(project):
    class_folders(project / "data/raw", {"a": 9, "b": 9})
    write_params(project, dataset={"path": "data/raw", "near_duplicates": 0})
    command = [sys.executable, "-m", "stages.prepare_dataset"]
    places = dict(cwd=project, env=os.environ | {"PYTHONPATH": str(REPO)}, check=True)
    shown = subprocess.run(command, capture_output=True, text=True, **places)
    assert shown.stdout.startswith("18 images in 2 classes") and shown.stderr == ""
    terminal, its_end = pty.openpty()
    fcntl.ioctl(its_end, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
    subprocess.run(command, stdout=its_end, stderr=its_end, **places)
    assert b"checking" in os.read(terminal, 10_000)


def test_a_second_run_writes_the_same_bytes(project):
    class_folders(project / "data/raw", {"pear": 10, "apple": 70})
    prepare(project)
    first = {path: path.read_bytes() for path in (project / "data/dataset").iterdir()}
    shutil.rmtree(project / "data/dataset")
    shutil.rmtree(project / ".work")
    write_params(project, dataset={"path": "data/raw", "near_duplicates": 0}, runtime={"workers": 0})
    prepare_dataset.main(project)
    assert {path: path.read_bytes() for path in (project / "data/dataset").iterdir()} == first


def test_adding_photos_to_many_moves_none_between_splits(project):
    class_folders(project / "data/raw", {"apple": 100, "pear": 100})
    prepare(project)
    before = {split: set(listed(project, split)) for split in ("train", "val", "test")}
    for number in range(20):
        draw_image(project / "data/raw/apple" / f"new{number}.png", 500 + number, 0.2)
    prepare(project)
    for split, paths in before.items():
        assert paths <= set(listed(project, split))


def test_official_folders_are_taken_as_they_are(project):
    for split, start, count in (("train", 0, 8), ("val", 100, 4), ("test", 200, 3)):
        class_folders(project / "data/raw" / split, {"a": count, "b": count}, start)
    counts = prepare(project, val_from="val", test_from="test")
    assert (counts["train"], counts["val"], counts["test"]) == (16, 8, 6)
    for split in ("train", "val", "test"):
        assert all(path.startswith(f"data/raw/{split}/") for path in listed(project, split))


def test_official_train_and_val_can_score_val_as_in_the_tutorial(project, capsys):
    class_folders(project / "data/raw/train", {"a": 8, "b": 8})
    class_folders(project / "data/raw/val", {"a": 4, "b": 4}, 100)
    prepare(project, val_from="val", test_from="val")
    assert listed(project, "val") == listed(project, "test") and len(listed(project, "val")) == 8
    assert "they chose the epoch" in capsys.readouterr().out


def test_official_val_can_be_the_test_split_with_val_held_out_of_train(project):
    class_folders(project / "data/raw/train", {"a": 20, "b": 20})
    class_folders(project / "data/raw/val", {"a": 4, "b": 4}, 100)
    counts = prepare(project, val_from="train", test_from="val")
    assert counts["test"] == 8 and counts["train"] + counts["val"] == 40 and counts["val"] >= 2


@pytest.mark.parametrize("wrapper", ["", "fruit30_split/", "a/b/"])
@pytest.mark.parametrize("official", [True, False])
def test_an_archive_holds_either_shape_with_or_without_folders_around_it(project, wrapper, official):
    source = project / "source"
    if official:
        class_folders(source / "train", {"火龙果": 8, "苹果-青": 8})
        class_folders(source / "val", {"火龙果": 4, "苹果-青": 4}, 100)
    else:
        class_folders(source, {"火龙果": 12, "苹果-青": 12})
    (project / "data").mkdir()
    with zipfile.ZipFile(project / "data/set.zip", "w") as archive:
        for file in source.rglob("*.png"):
            archive.write(file, wrapper + file.relative_to(source).as_posix())
        archive.writestr("__MACOSX/._x", "junk")
        archive.writestr(f"{wrapper}.DS_Store", "junk")
    shutil.rmtree(source)
    ways = dict(val_from="val", test_from="val") if official else {}
    counts = prepare(project, path="data/set.zip", **ways)
    assert counts["num_images"] == 24
    assert read_classes(project / "data/dataset/classes.txt") == ["火龙果", "苹果-青"]
    first = listed(project, "train")[0]
    assert first.startswith(f".work/unpacked/data/set.zip/{wrapper}") and (project / first).is_file()


def findings(project: Path) -> dict[str, str]:
    """The kind of each finding, by its path without data/raw/."""
    with (project / "data/dataset/findings.csv").open(newline="", encoding="utf-8") as file:
        return {row["path"].removeprefix("data/raw/"): row["finding"] for row in csv.DictReader(file)}


def test_leftovers_and_hidden_files_are_not_used_and_are_listed(project, capsys):
    raw = class_folders(project / "data/raw", {"a": 5, "b": 5, ".22LR": 5})
    draw_image(raw / "@eaDir/a/SYNOPHOTO_THUMB_M.png", 90)
    draw_image(raw / "#recycle/old.png", 91)
    draw_image(raw / "a/.old.png", 92)
    for name in ("a/.DS_Store", "a/._000.png", "b/Thumbs.db", "b/001.png:Zone.Identifier"):
        (raw / name).write_text("junk")
    counts = prepare(project)
    assert (counts["num_images"], counts["num_classes"]) == (10, 2)
    leftovers = ["#recycle", "@eaDir", "a/.DS_Store", "a/._000.png", "b/001.png:Zone.Identifier"]
    expected = dict.fromkeys([*leftovers, "b/Thumbs.db"], "leftover")
    assert findings(project) == expected | {".22LR": "hidden", "a/.old.png": "hidden"}
    output = capsys.readouterr().out
    assert "2 files or folders are hidden, and not used:\n  data/raw/.22LR: its name starts" in output
    assert "6 leftovers of systems and programs are not used:\n  data/raw/#recycle: " in output


def test_a_hidden_folder_that_leaves_one_class_is_named_in_the_error(project):
    class_folders(project / "data/raw", {".22LR": 5, "9mm": 5})
    with pytest.raises(ValueError, match=r"has 1 class \(9mm\).* so not read: '.22LR'"):
        prepare(project)


def test_a_folder_of_which_nothing_is_read_is_explained(project):
    class_folders(project / "data/raw", {".a": 5, "@eaDir": 5})
    with pytest.raises(
        ValueError, match="is hidden, ignored by DVC or left by a system .'.a', '@eaDir'"
    ):
        prepare(project)


def test_class_names_that_are_hard_to_tell_apart_are_doubted(project, capsys):
    class_folders(project / "data/raw", {"apple": 5, "apple ": 5, "images": 5})
    prepare(project)
    output = capsys.readouterr().out
    assert "are they one class?: 'apple', 'apple '" in output
    assert "look like no classes; if classes are folders in them, set dataset.class_level: 'images'" in (
        output
    )


def test_names_in_any_script_and_with_any_character_survive(project):
    names = [
        "苹果",
        "with space",
        "comma,quote\"'",
        "-dash",
        "new\nline",
        "emoji🍎",
        "back\\slash",
        "#x %s",
    ]
    class_folders(project / "data/raw", dict.fromkeys(names, 4))
    prepare(project)
    assert read_classes(project / "data/dataset/classes.txt") == sorted(names)
    for split in ("train", "val", "test"):
        assert all((project / path).is_file() for path in listed(project, split))


def test_decomposed_and_composed_spellings_are_one_class_name(project):
    folder = unicodedata.normalize("NFD", "Äpfel")
    class_folders(project / "data/raw", {folder: 4, "b": 4})
    prepare(project)
    assert read_classes(project / "data/dataset/classes.txt") == ["b", "Äpfel"]


def test_images_in_subfolders_belong_to_the_class(project):
    class_folders(project / "data/raw", {"a": 4, "b": 4})
    draw_image(project / "data/raw/a/deep/er/x.png", 77)
    assert prepare(project)["num_images"] == 9


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda raw: None, "data/raw does not exist; expected a folder"),
        (lambda raw: raw.mkdir(parents=True), "found nothing; expected a folder for each class"),
        (lambda raw: draw_image(raw / "x.png"), "found 1 files, such as x.png; expected a folder"),
        (lambda raw: class_folders(raw, {"a": 5}), r"has 1 class \(a\); expected 2 or more"),
        (
            lambda raw: (class_folders(raw, {"a": 5, "b": 5}) / "empty").mkdir(),
            "1 class folders hold no image: 'empty'",
        ),
        (
            lambda raw: draw_image(class_folders(raw, {"a": 5, "b": 5}) / "loose.png"),
            "1 images lie in no class folder:\n  data/raw/loose.png: lies above the class folders",
        ),
        (
            lambda raw: class_folders(raw, {"a": 5, "b": 2}),
            "1 classes are too small: 'b'",
        ),
        (
            lambda raw: (
                class_folders(raw / "train", {"a": 5, "b": 5}) and class_folders(raw / "apple", {"x": 1})
            ),
            "beside train/ is 'apple'.* If it is a class, move the images out of its subfolders",
        ),
        (
            lambda raw: [
                class_folders(raw / name, {"a": 5, "b": 5}) for name in ("my_train", "my_test", "extra")
            ],
            "beside my_test/ is 'extra'; expected only train/, val/ and test/",
        ),
        (
            lambda raw: [draw_image(raw / name) for name in ("train_set/1.png", "val_set/2.png")],
            "data/raw/train_set: found 1 files, such as 1.png; expected a folder for each class",
        ),
        (
            lambda raw: (
                draw_image(raw / "1.png") and (raw / "labels.csv").write_text("path,label\n1.png,a")
            ),
            "If 'labels.csv' names the classes, set dataset.list",
        ),
        (
            lambda raw: (
                class_folders(raw / "train", {"a": 5, "b": 5})
                and class_folders(raw / "val", {"a": 5, "c": 5}, 50)
            ),
            "1 classes have no image to train on: 'c'; those that have: 'a', 'b'",
        ),
        (
            lambda raw: (
                class_folders(raw / "train", {"a": 5, "b": 5})
                and class_folders(raw / "test", {"a": 5, "b": 5}, 50)
            ),
            "nothing in params.yaml uses test",
        ),
        (
            lambda raw: [class_folders(raw / name, {"a": 5, "b": 5}) for name in ("val", "test")],
            "2 classes have no image to train on: 'a', 'b'",
        ),
        (
            lambda raw: draw_image(raw / "train/1.png") and draw_image(raw / "test/2.png"),
            "data/raw/test: found 1 files, such as 2.png; expected a folder for each class",
        ),
        (lambda raw: (raw / "a/b").mkdir(parents=True), "1 class folders hold no image: 'b'"),
        (
            lambda raw: raw.mkdir(parents=True) or (raw / "circle").symlink_to("."),
            "data/raw holds 1 links to folders: 'circle'. DVC does not follow them",
        ),
    ],
)
def test_a_folder_that_no_model_can_be_trained_on_is_explained(project, make, message):
    make(project / "data/raw")
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        prepare(project)


@pytest.mark.parametrize("path", ["data", ".", "data/raw/.."])
def test_a_folder_that_holds_what_the_stages_write_is_refused(project, path):
    class_folders(project / "data/raw", {"a": 5, "b": 5})
    with pytest.raises(ValueError, match="holds what the stages write; expected a folder of its own"):
        prepare(project, path=path)


@pytest.mark.parametrize(
    "names",
    [
        ("Training", "Test"),
        ("train", "Testing"),
        ("train_set", "test_set"),
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("train/images", "test/images"),
        ("Training Data", "test-images"),
        ("train2017", "test2017"),
    ],
)
def test_official_folders_go_by_several_names(project, names):
    for start, name in enumerate(names):
        class_folders(project / "data/raw" / name, {"a": 5, "b": 5}, start * 100)
    with pytest.raises(ValueError, match="has the splits train, test.* Set dataset.test_from to test"):
        prepare(project)
    counts = prepare(project, test_from="test")
    assert (counts["num_classes"], counts["test"]) == (2, 10)


def test_other_files_beside_the_class_folders_are_reported_and_do_not_stop_the_stage(project):
    """Like LICENSE.txt and README.md in many published archives."""
    class_folders(project / "data/raw/set", {"a": 5, "b": 5})
    for name in ("README.md", "set/LICENSE.txt"):
        (project / "data/raw" / name).write_text("hello")
    counts = prepare(project)
    assert (counts["num_images"], counts["excluded"], counts["strays"]) == (10, 0, 0)
    findings = (project / "data/dataset/findings.csv").read_text()
    assert 'data/raw/README.md,no image,"is not an image' in findings
    assert 'data/raw/set/LICENSE.txt,no image,"is not an image' in findings


def test_an_image_beside_official_folders_is_not_dropped_silently(project):
    for start, split in ((0, "train"), (100, "test")):
        class_folders(project / "data/raw" / split, {"a": 5, "b": 5}, start)
    draw_image(project / "data/raw/loose.png", 300)
    draw_image(project / "data/raw/train/loose.png", 301)
    with pytest.raises(ValueError, match="2 images lie in no class folder:\n  data/raw/loose.png"):
        prepare(project, test_from="test")
    counts = prepare(project, test_from="test", on_error="exclude")
    assert (counts["num_images"], counts["strays"]) == (20, 2)


def test_a_class_that_loses_all_its_images_is_named(project):
    raw = class_folders(project / "data/raw", {"a": 5, "b": 5, "c": 5})
    for file in (raw / "c").iterdir():
        file.write_bytes(b"")
    with pytest.raises(ValueError, match=r"findings.csv excludes: 1 classes have no image .* 'c'"):
        prepare(project, on_error="exclude")


def test_an_image_of_val_that_is_also_in_test_is_a_leak(project):
    for start, split in ((0, "train"), (100, "val"), (200, "test")):
        class_folders(project / "data/raw" / split, {"a": 5, "b": 5}, start)
    shutil.copy(project / "data/raw/test/a/000.png", project / "data/raw/val/a/leak.png")
    with pytest.raises(ValueError, match="val/a/leak.png: the same image is in test"):
        prepare(project, val_from="val", test_from="test")


def test_a_group_that_spans_official_splits_is_a_leak(project):
    raw = project / "data/raw"
    for start, split in ((0, "train"), (100, "test")):
        class_folders(raw / split, {"a": 5, "b": 5}, start)
        for number, file in enumerate(sorted((raw / split).rglob("*.png"))):
            file.rename(file.with_name(f"{split}{number}_.png"))
    draw_image(raw / "train/a/test3_other.png", 300)
    groups = dict(test_from="test", group_by=r"(\w+\d)_")
    with pytest.raises(ValueError, match="test3_other.png: an image of its group 'test3' is in test"):
        prepare(project, **groups)
    counts = prepare(project, on_error="exclude", **groups)
    assert (counts["num_images"], counts["leaks"]) == (20, 1)


def test_counts_include_sizes_small_classes_and_each_kind_of_finding(project):
    raw = class_folders(project / "data/raw", {"a": 20, "b": 9})
    draw_image(raw / "a/large.png", 50, size=(300, 200))
    (raw / "b/empty.png").write_bytes(b"")
    shutil.copy(raw / "b/001.png", raw / "b/copy.png")
    counts = prepare(project, on_error="exclude")
    assert (counts["min_short_side"], counts["max_short_side"]) == (30, 200)
    assert counts["small_classes"] == 1
    kinds = ("unreadable", "duplicates", "label_conflicts", "leaks", "strays", "excluded")
    assert [counts[kind] for kind in kinds] == [1, 1, 0, 0, 0, 1]


def test_a_split_that_the_folder_lacks_is_named(project):
    class_folders(project / "data/raw", {"a": 5, "b": 5})
    with pytest.raises(ValueError, match="test_from is test, but data/raw has no test split"):
        prepare(project, test_from="test")


def spoil(raw: Path) -> None:
    """A file that is not an image, a label conflict, and a plain duplicate."""
    class_folders(raw, {"a": 20, "b": 20})
    (raw / "a/notes.txt").write_text("hello")
    shutil.copy(raw / "a/000.png", raw / "b/conflict.png")
    shutil.copy(raw / "b/001.png", raw / "b/copy.png")


def test_images_that_cannot_be_used_stop_the_stage_and_are_listed(project):
    spoil(project / "data/raw")
    with pytest.raises(ValueError) as error:
        prepare(project)
    message = str(error.value)
    assert "3 of 43 images cannot be used" in message
    assert "1 files cannot be used:\n  data/raw/a/notes.txt: is not an image" in message
    assert "data/raw/b/conflict.png: the same image is in the classes 'a', 'b'" in message
    assert "copy.png" not in message
    findings = (project / "data/dataset/findings.csv").read_text()
    assert "data/raw/b/copy.png,duplicate,the same image as data/raw/b/001.png,0\n" in findings
    assert not (project / "data/dataset/train.txt").exists()


def test_on_error_exclude_leaves_them_out_and_says_so(project, capsys):
    spoil(project / "data/raw")
    counts = prepare(project, on_error="exclude")
    assert (counts["num_images"], counts["excluded"], counts["duplicates"]) == (40, 3, 1)
    all_listed = [path for split in ("train", "val", "test") for path in listed(project, split)]
    assert "data/raw/a/000.png" not in all_listed and "data/raw/b/conflict.png" not in all_listed
    assert "notes.txt: is not an image" in capsys.readouterr().out


def test_an_image_that_looks_damaged_is_listed_counted_and_used(project, capsys):
    class_folders(project / "data/raw", {"a": 12, "b": 12})
    whole = draw_image(project / "data/raw/a/cut.jpg", 900, size=(200, 160))
    content = whole.read_bytes()
    whole.write_bytes(content[: len(content) // 2] + b"\xff\xd9")
    assert prepare(project)["num_images"] == 25
    assert "1 images look damaged: data/dataset/findings.csv says why" in capsys.readouterr().out
    findings = (project / "data/dataset/findings.csv").read_text()
    assert (
        'data/raw/a/cut.jpg,suspicious,"Corrupt JPEG data: premature end of data segment; ' in findings
    )


def test_only_the_first_ten_are_shown(project):
    raw = class_folders(project / "data/raw", {"a": 5, "b": 5})
    for number in range(12):
        (raw / f"a/{number:02d}.txt").write_text(str(number))
    with pytest.raises(
        ValueError, match=r"12 files cannot be used:(.|\n)*09.txt(.|\n)*and 2 more"
    ) as error:
        prepare(project)
    assert "10.txt" not in str(error.value)


def test_a_training_image_that_is_also_in_test_is_a_leak(project):
    raw = project / "data/raw"
    class_folders(raw / "train", {"a": 5, "b": 5})
    class_folders(raw / "test", {"a": 5, "b": 5}, 50)
    shutil.copy(raw / "test/a/000.png", raw / "train/a/leak.png")
    with pytest.raises(ValueError, match="train/a/leak.png: the same image is in test"):
        prepare(project, test_from="test")
    prepare(project, test_from="test", on_error="exclude")
    assert "data/raw/test/a/000.png" in listed(project, "test")


def test_duplicates_stay_in_one_split(project):
    raw = class_folders(project / "data/raw", {"a": 40, "b": 40})
    for file in list((raw / "a").iterdir()):
        shutil.copy(file, file.with_name("copy" + file.name))
    assert prepare(project)["duplicates"] == 40
    for split in ("train", "val", "test"):
        paths = [p for p in listed(project, split) if "/a/" in p]
        assert sum("copy" in path for path in paths) * 2 == len(paths)


# --- list files, levels, groups ----------------------------------------------------------------------


def write_list_file(project: Path, text: str, name: str = "labels.csv") -> None:
    (project / "data/raw").mkdir(parents=True, exist_ok=True)
    (project / "data/raw" / name).write_text(text, encoding="utf-8")


def test_a_csv_names_images_classes_and_splits(project):
    rows = ["path,label,split,note"]
    for number in range(24):
        name = f"photos/IMG {number}, é.png"
        draw_image(project / "data/raw" / name, number)
        split = ("train", "train", "Validation", "test")[number % 4]
        rows.append(f'"{name}",{("苹果", "pear")[number // 12]},{split},x')
    write_list_file(project, "\n".join(rows) + "\n")
    counts = prepare(project, list="labels.csv", val_from="val", test_from="test")
    assert (counts["train"], counts["val"], counts["test"], counts["num_classes"]) == (12, 6, 6, 2)
    assert listed(project, "val")[0] == "data/raw/photos/IMG 14, é.png"


def test_a_csv_as_spreadsheets_write_it_works(project):
    """A byte order mark, semicolons, Windows line ends, spaces, a comma in a column's name."""
    rows = ["\ufeffPath;Label ;Split;seen, when"]
    for number in range(12):
        draw_image(project / f"data/raw/{number}.png", number)
        rows.append(f"{number}.png; {'ab'[number % 2]} ;{('Training', 'TEST')[number // 8]};x")
    write_list_file(project, "\r\n".join(rows) + "\r\n")
    counts = prepare(project, list="labels.csv", test_from="test")
    assert (counts["num_images"], counts["test"]) == (12, 4)
    assert read_classes(project / "data/dataset/classes.txt") == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("labels.tsv", "{path}\t{label}\n"),
        ("labels.txt", "{path} {label}\n"),
        ("labels.txt", "{path}\t{label}\r\n"),
        ("labels.txt", "{path} {label} \n\n"),
    ],
)
def test_tables_with_tabs_and_mmpretrains_plain_lines_work_too(project, name, line):
    lines = []
    for number in range(20):
        path = f"a, b/{number}.png"
        draw_image(project / "data/raw" / path, number)
        lines.append(line.format(path=path, label="ab"[number % 2]))
    header = "path\tlabel\n" if name.endswith("tsv") else ""
    write_list_file(project, header + "".join(lines), name)
    assert prepare(project, list=name)["num_images"] == 20


def test_a_list_in_an_archive_works(project):
    rows = ["path,label"]
    with zipfile.ZipFile(project / "set.zip", "w") as archive:
        for number in range(20):
            file = draw_image(project / "x.png", number)
            archive.write(file, f"wrapped/images/{number}.png")
            rows.append(f"images/{number}.png,{'ab'[number % 2]}")
        archive.writestr("wrapped/labels.csv", "\n".join(rows))
    assert prepare(project, path="set.zip", list="labels.csv")["num_images"] == 20


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "file,class\n1.png,a\n",
            "labels.csv line 1: found 'file,class'; expected the columns path and label",
        ),
        ("path,label\n1.png,a\ngone.png,b\n", "1 listed images are missing: 'gone.png'"),
        ("path,label\n../../x.png,a\n", "line 2: '../../x.png' leads out of data/raw"),
        ("path,label\n/etc/passwd,a\n", "line 2: '/etc/passwd' leads out of data/raw"),
        ("path,label\n1.png,a\n1.png,b\n", "line 3: '1.png' is also in line 2; expected it once"),
        ("path,label\n1.png,\n", "line 2: path is '1.png', label is ''; expected both"),
        ("path,label,split\n1.png,a,dev\n", "line 2: split is 'dev'; expected train, val or test"),
        (
            "path,label,split\n1.png,a,train\n2.png,b,\n",
            "1 of 2 rows have no split; expected all or none",
        ),
        ("path,label\nx,y.png,a\n", "line 2: another number of columns"),
        ("path,label\n", "lists no image"),
        ("path,label\n1.png,a\n./1.png,b\n", "line 3: './1.png' is also in line 2"),
        ("path,label\n.\\1.png,a\n", "are missing: .*with forward slashes"),
        (f"path,label\n{'x/' * 3000}1.png,a\n", r"are missing: 'x/x/.*' \.\.\. '.*1.png'\. Paths"),
        (f"path,label\n{'x' * 200_000},a\n", "line 2: field larger than field limit"),
        (f"{'x' * 200_000},a\n", r"line 1: found 'xxx.*' \.\.\. 'xxx.*'; expected the columns"),
    ],
)
def test_a_mistake_in_a_list_is_named_with_its_line(project, text, message):
    for number in (1, 2):
        draw_image(project / f"data/raw/{number}.png", number)
    write_list_file(project, text)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        prepare(project, list="labels.csv")


def test_files_that_a_list_does_not_name_are_listed_and_counted(project, capsys):
    raw = class_folders(project / "data/raw", {"a": 6, ".b": 6})
    rows = [f"{folder}/{number:03d}.png,{folder}\n" for folder in ("a", ".b") for number in range(5)]
    write_list_file(project, "path,label\n" + "".join(rows))
    (raw / "notes.txt").write_text("hello")
    assert prepare(project, list="labels.csv")["num_images"] == 10
    unlisted = ["notes.txt", "a/005.png", ".b/005.png"]
    assert findings(project) == dict.fromkeys(unlisted, "not listed")
    assert "3 files are not in dataset.list, and not used" in capsys.readouterr().out


def test_a_wrapped_list_is_found_beside_a_hidden_folder(project):
    for number in range(10):
        draw_image(project / f"data/raw/wrapped/images/{number}.png", number)
    draw_image(project / "data/raw/.old/x.png", 50)
    lines = "".join(f"images/{n}.png,{'ab'[n % 2]}\n" for n in range(10))
    (project / "data/raw/wrapped/labels.csv").write_text("path,label\n" + lines)
    assert prepare(project, list="labels.csv")["num_images"] == 10
    assert findings(project) == {".old/x.png": "not listed"}


@pytest.mark.parametrize("name", ["../labels.csv", "a/../../labels.csv", "{project}/data/labels.csv"])
def test_a_list_outside_of_the_dataset_is_refused_as_dvc_does_not_hash_it(project, name):
    class_folders(project / "data/raw", {"a": 5, "b": 5})
    (project / "data/labels.csv").write_text("path,label\na/000.png,a\nb/000.png,b\n")
    with pytest.raises(FileNotFoundError, match="is not in data/raw; .* in the folder that DVC tracks"):
        prepare(project, list=name.format(project=project))


def test_a_list_may_write_accents_in_another_way_than_the_disk(project):
    for number in range(10):
        name = unicodedata.normalize("NFD", f"é{number}.png")
        draw_image(project / "data/raw" / name, number)
    write_list_file(project, "path,label\n" + "".join(f"é{n}.png,{'ab'[n % 2]}\n" for n in range(10)))
    assert prepare(project, list="labels.csv")["num_images"] == 10
    assert findings(project) == {}


def test_a_list_that_is_not_there_is_named(project):
    class_folders(project / "data/raw", {"a": 5, "b": 5})
    with pytest.raises(FileNotFoundError, match="dataset.list: labels.csv is not in data/raw"):
        prepare(project, list="labels.csv")


def nested(project: Path) -> None:
    for kind, names in {"Fruit": ("Apple", "Pear"), "Vegetable": ("Carrot",)}.items():
        for name in names:
            start = 30 * ("Apple", "Pear", "Carrot").index(name)
            for variant in (1, 2):
                folder = project / "data/raw" / kind / name / f"{name}-{variant}"
                for number in range(5):
                    draw_image(folder / f"{number}.png", start + variant * 10 + number)


@pytest.mark.parametrize(
    ("level", "classes"),
    [
        (1, ["Fruit", "Vegetable"]),
        (2, ["Apple", "Carrot", "Pear"]),
        (-1, ["Apple-1", "Apple-2", "Carrot-1", "Carrot-2", "Pear-1", "Pear-2"]),
    ],
)
def test_any_folder_level_can_name_the_class(project, level, classes):
    nested(project)
    prepare(project, class_level=level)
    assert read_classes(project / "data/dataset/classes.txt") == classes


def test_a_level_above_all_images_is_doubted(project, capsys):
    nested(project)
    prepare(project, class_level=2)
    output = capsys.readouterr().out
    assert "all lie in folders below: 'Apple-1', 'Apple-2', " in output
    assert "set dataset.class_level to 3, or -1" in output
    draw_image(project / "data/raw/Fruit/Apple/x.png", 200)
    prepare(project, class_level=2)
    assert "folders below" not in capsys.readouterr().out


def test_one_class_name_in_two_places_is_refused(project):
    class_folders(project / "data/raw/Fruit", {"Red": 5, "Green": 5})
    class_folders(project / "data/raw/Vegetable", {"Red": 5}, 50)
    with pytest.raises(ValueError, match="two folders are named 'Red': Fruit/Red and Vegetable/Red"):
        prepare(project, class_level=2)


def test_images_of_a_group_stay_in_one_split(project):
    for number in range(120):
        draw_image(project / f"data/raw/{'ab'[number % 2]}/shelf{number // 4}_{number}.png", number)
    prepare(project, group_by=r"(shelf\d+)_")
    split_of = {}
    for split in ("train", "val", "test"):
        assert listed(project, split)
        for path in listed(project, split):
            shelf = path.split("/")[-1].split("_")[0]
            assert split_of.setdefault(shelf, split) == split


def test_a_column_of_the_list_can_name_the_groups(project):
    rows = ["path,label,Patient"]
    for number in range(60):
        draw_image(project / f"data/raw/{number}.png", number)
        rows.append(f"{number}.png,{'ab'[number % 2]},p{number // 3}")
    write_list_file(project, "\n".join(rows))
    prepare(project, list="labels.csv", group_by="patient")
    for split in ("train", "val", "test"):
        patients = [int(Path(path).stem) // 3 for path in listed(project, split)]
        assert all(patients.count(patient) == 3 for patient in patients)


def test_a_group_rule_that_misses_an_image_is_an_error(project):
    class_folders(project / "data/raw", {"a": 5, "b": 5})
    with pytest.raises(ValueError, match="finds nothing in 'a/000.png'; expected a column"):
        prepare(project, group_by=r"patient(\d+)")


# --- duplicates and near-duplicates ------------------------------------------------------------------------


def test_the_same_pixels_in_other_files_are_duplicates(project):
    raw = class_folders(project / "data/raw", {"a": 8, "b": 8})
    Image.open(raw / "a/000.png").save(raw / "a/copy.bmp")
    counts = prepare(project)
    assert counts["duplicates"] == 1
    findings = (project / "data/dataset/findings.csv").read_text()
    assert "data/raw/a/copy.bmp,duplicate,the same image as data/raw/a/000.png,0\n" in findings


def noise(path: Path, seed: int, change: int = 0) -> None:
    """A blurred random image; `change` alters a few pixels of it."""
    image = Image.frombytes("RGB", (16, 16), random.Random(seed).randbytes(768)).resize((160, 160))
    for number in range(change):
        image.putpixel((number, 5), (255, 0, 0))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def test_near_duplicates_stay_in_one_split_and_are_counted(project):
    for number in range(30):
        for version in range(3):
            noise(project / f"data/raw/{'ab'[number % 2]}/{number}-{version}.png", number, version * 3)
    counts = prepare(project, near_duplicates=4)
    assert counts["near_duplicates"] >= 60 and counts["near_duplicates_across_classes"] == 0
    split_of = {}
    for split in ("train", "val", "test"):
        for path in listed(project, split):
            number = Path(path).stem.split("-")[0]
            assert split_of.setdefault(number, split) == split
    assert prepare(project, near_duplicates=0)["near_duplicates"] == 0


def test_near_duplicates_across_classes_and_official_splits_are_counted_and_kept(project):
    for number in range(10):
        noise(project / f"data/raw/train/{'ab'[number % 2]}/{number}.png", number)
        noise(project / f"data/raw/test/{'ab'[number % 2]}/{number}.png", 100 + number)
    noise(project / "data/raw/train/b/like.png", 0, 3)  # of class a
    noise(project / "data/raw/test/a/like.png", 2, 3)  # in train
    counts = prepare(project, test_from="test", near_duplicates=4)
    assert counts["near_duplicates"] == 2 and counts["num_images"] == 22
    assert (counts["near_duplicates_across_classes"], counts["near_duplicates_across_splits"]) == (1, 1)
    findings = (project / "data/dataset/findings.csv").read_text()
    assert "train/b/like.png" in findings and "of class 'a'" in findings and 'in train",0' in findings


def test_many_images_that_near_duplicates_join_are_counted_on_the_terminal(project, capsys):
    """Like the frames of a film."""
    for number in range(30):
        noise(project / f"data/raw/a/{number:02d}.png", 0, number * 5)
        noise(project / f"data/raw/b/{number:02d}.png", 100 + number)
        noise(project / f"data/raw/a/x{number:02d}.png", 200 + number)
    prepare(project, near_duplicates=4)
    output = capsys.readouterr().out
    assert (
        "join 1 sets of 20 images or more, and each stays in one split; the largest has 30, of 'a'"
        in (output)
    )
    rows = (project / "data/dataset/findings.csv").read_text().splitlines()
    assert sum(row.endswith("; so 30 images are joined,0") for row in rows) == 29


def test_an_image_with_many_near_duplicates_names_one_and_prefers_another_class(project):
    """Like frames of a film: each is a near-duplicate of all others."""
    for number in range(12):
        noise(project / f"data/raw/a/{number:02d}.png", 0, number)
    noise(project / "data/raw/b/like.png", 0, 13)
    for number in range(20, 30):
        noise(project / f"data/raw/{'ab'[number % 2]}/{number}.png", number)
    counts = prepare(project, near_duplicates=8)
    assert (counts["near_duplicates"], counts["near_duplicates_across_classes"]) == (12, 1)
