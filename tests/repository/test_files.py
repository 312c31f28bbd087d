"""A file or folder is written whole, or what was there before stays."""

import os

import pytest

from stages.core.files import first_ten, replace_folder, write_csv, write_json, write_text, write_whole


def test_text_json_and_csv_are_the_same_bytes_on_every_system(tmp_path):
    write_text(tmp_path / "new/folder/a.txt", "é\n\r\n")
    write_json(tmp_path / "a.json", {"b": 1, "a": [2]})
    write_csv(tmp_path / "a.csv", ["x", "y"], [["1,5", 'q"uote'], ["new\nline", 2]])
    assert (tmp_path / "new/folder/a.txt").read_bytes() == b"\xc3\xa9\n\r\n"
    assert (tmp_path / "a.json").read_bytes() == b'{\n  "a": [\n    2\n  ],\n  "b": 1\n}\n'
    assert (tmp_path / "a.csv").read_bytes() == b'x,y\n"1,5","q""uote"\nnew\\nline,2\n'


def test_nothing_else_is_left_beside_a_file(tmp_path):
    (tmp_path / "a.txt.part").write_text("what a killed process left")
    write_text(tmp_path / "a.txt", "new")
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_row_that_fails_leaves_the_table_that_was_there(tmp_path):
    def rows():
        yield [1]
        raise RuntimeError("the second row")

    write_text(tmp_path / "a.csv", "before")
    with pytest.raises(RuntimeError, match="the second row"):
        write_csv(tmp_path / "a.csv", ["x"], rows())
    assert (tmp_path / "a.csv").read_text() == "before" and os.listdir(tmp_path) == ["a.csv"]


def test_a_file_that_cannot_be_written_is_named_with_what_the_system_said(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="a.txt could not be written .*: 0.0 MB .* writable and run"):
        write_text(tmp_path / "file/a.txt", "text")


def test_a_device_is_written_to_and_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_whole(pipe, b"content")
    assert os.read(reader, 100) == b"content" and pipe.is_fifo()
    os.close(reader)


def test_a_folder_takes_the_place_of_the_one_before(tmp_path):
    for name in ("made/new.txt", "output/deep/old.txt"):
        write_text(tmp_path / name, name)
    replace_folder(tmp_path / "made", tmp_path / "output")
    assert [path.name for path in tmp_path.rglob("*")] == ["output", "new.txt"]


def test_long_lists_are_shortened():
    assert first_ten(["a", "b'"]) == """'a', "b'\""""
    assert first_ten(map(str, range(12)), str) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, and 2 more"
