"""A file or folder is written whole, or what was there before stays."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPO
from real_dvc import environment

from stages.core.files import (
    first_ten,
    replace_folder,
    together,
    whole_file,
    whole_folder,
    write_csv,
    write_json,
    write_text,
    write_whole,
)


def content_of(folder: Path) -> dict[str, str]:
    """What is in a folder, hidden files too; a link is shown by its target."""
    return {
        str(path.relative_to(folder)): f"-> {os.readlink(path)}"
        if path.is_symlink()
        else path.read_text()
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    }


# --- contents -----------------------------------------------------------------------------------------


def test_text_json_and_csv_are_the_same_bytes_on_every_system(tmp_path):
    write_text(tmp_path / "new/folder/a.txt", "é\n\r\n")
    write_json(tmp_path / "a.json", {"b": 1, "a": [2]})
    write_csv(tmp_path / "a.csv", ["x", "y"], [["1,5", 'q"uote'], ["new\nline", 2]])
    assert (tmp_path / "new/folder/a.txt").read_bytes() == b"\xc3\xa9\n\r\n"
    assert (tmp_path / "a.json").read_bytes() == b'{\n  "a": [\n    2\n  ],\n  "b": 1\n}\n'
    assert (tmp_path / "a.csv").read_bytes() == b'x,y\n"1,5","q""uote"\nnew\\nline,2\n'


def test_a_row_that_fails_leaves_the_table_that_was_there(tmp_path):
    def rows():
        yield [1]
        raise RuntimeError("the second row")

    write_text(tmp_path / "a.csv", "before")
    with pytest.raises(RuntimeError, match="the second row"):
        write_csv(tmp_path / "a.csv", ["x"], rows())
    assert content_of(tmp_path) == {"a.csv": "before"}


# --- links --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_a_rewritten_file_leaves_what_it_was_linked_to_alone(tmp_path, link):
    cached = tmp_path / "cache/ab12"
    write_text(cached, "cached")
    cached.chmod(0o444)  # as DVC's cache
    link(cached, tmp_path / "train.txt")
    write_text(tmp_path / "train.txt", "new")
    assert content_of(tmp_path) == {"cache/ab12": "cached", "train.txt": "new"}
    assert cached.stat().st_mode & 0o777 == 0o444


@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_a_rewritten_folder_leaves_what_its_files_were_linked_to_alone(tmp_path, link):
    write_text(tmp_path / "cache/ab12", "cached")
    (tmp_path / "report").mkdir()
    link(tmp_path / "cache/ab12", tmp_path / "report/page")
    with whole_folder(tmp_path / "report") as folder:
        (folder / "page").write_text("new")
    assert content_of(tmp_path) == {"cache/ab12": "cached", "report/page": "new"}


def test_a_folder_that_is_a_link_is_replaced_and_its_target_stays(tmp_path):
    write_text(tmp_path / "cache/ab12/page", "cached")
    (tmp_path / "report").symlink_to("cache/ab12")
    with whole_folder(tmp_path / "report") as folder:
        (folder / "page").write_text("new")
    assert content_of(tmp_path) == {"cache/ab12/page": "cached", "report/page": "new"}


@pytest.mark.parametrize("target", ["gone", "output"])
def test_a_link_that_leads_nowhere_is_replaced(tmp_path, target):
    for name in ("file", "folder"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "output").symlink_to(target)
    write_text(tmp_path / "file/output", "new")
    with whole_folder(tmp_path / "folder/output") as folder:
        (folder / "page").write_text("new")
    assert content_of(tmp_path) == {"file/output": "new", "folder/output/page": "new"}


# --- errors -------------------------------------------------------------------------------------------


def test_a_file_that_cannot_be_written_is_named_with_what_the_system_said_and_a_way_out(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(
        OSError, match="a.txt could not be written .Not a directory.*: move the file that"
    ):
        write_text(tmp_path / "file/b/a.txt", "text")


def test_a_folder_in_the_place_of_a_file_stays_and_so_does_a_file_in_the_place_of_a_folder(tmp_path):
    write_text(tmp_path / "folder/mine", "mine")
    with pytest.raises(OSError, match="folder could not be written .Is a directory.*: move that folder"):
        write_text(tmp_path / "folder", "text")
    with (
        pytest.raises(OSError, match="mine could not be written .Not a directory.*: move the file"),
        whole_folder(tmp_path / "folder/mine"),
    ):
        pass
    assert content_of(tmp_path) == {"folder/mine": "mine"}


def test_an_error_inside_leaves_the_file_and_the_folder_that_were_there(tmp_path):
    write_text(tmp_path / "a.txt", "before")
    write_text(tmp_path / "folder/a.txt", "before")
    with pytest.raises(KeyboardInterrupt), whole_file(tmp_path / "a.txt") as file:
        file.write(b"half")
        raise KeyboardInterrupt
    with pytest.raises(ZeroDivisionError), whole_folder(tmp_path / "folder") as folder:
        (folder / "new.txt").write_text("half")
        raise ZeroDivisionError
    assert content_of(tmp_path) == {"a.txt": "before", "folder/a.txt": "before"}


def test_an_error_about_another_file_keeps_its_own_words(tmp_path):
    with pytest.raises(FileNotFoundError, match="gone.png"), whole_file(tmp_path / "a.txt"):
        (tmp_path / "gone.png").read_bytes()
    assert content_of(tmp_path) == {}


def test_files_that_are_written_together_are_all_new_or_all_old(tmp_path):
    for name in ("a.txt", "b.txt", "c/old"):
        write_text(tmp_path / name, "before")
    before = content_of(tmp_path)
    with pytest.raises(OSError, match="c could not be written"), together():
        write_text(tmp_path / "a.txt", "new")
        write_text(tmp_path / "b.txt", "new")
        write_text(tmp_path / "c", "a folder is there")
    assert content_of(tmp_path) == before
    with together():
        write_text(tmp_path / "a.txt", "new")
        with whole_folder(tmp_path / "c") as folder:
            (folder / "new").write_text("new")
        assert (tmp_path / "a.txt").read_text() == "before"
    assert content_of(tmp_path) == {"a.txt": "new", "b.txt": "before", "c/new": "new"}


# --- what killed writers leave ------------------------------------------------------------------------

WRITER = """
import sys, time
from pathlib import Path
from stages.core.files import whole_file, whole_folder
with whole_file(Path("a.txt")) as file, whole_folder(Path("folder")) as folder:
    file.write(b"half")
    (folder / "half.txt").write_text("half")
    print("writing", flush=True)
    sys.stdin.readline()
"""


def start_writer(folder: Path) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER],
        cwd=folder,
        env=environment(folder) | {"PYTHONPATH": str(REPO)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "writing\n"
    return process


def write_both(root: Path) -> None:
    write_text(root / "a.txt", "new")
    with whole_folder(root / "folder") as folder:
        (folder / "new.txt").write_text("new")


def test_what_a_killed_writer_left_is_ignored_and_deleted_by_the_next(tmp_path):
    for name in (".gitignore", ".dvcignore"):
        write_text(tmp_path / name, (REPO / name).read_text())
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    process = start_writer(tmp_path)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert len(list(tmp_path.glob(".*.part"))) == 2
    listing = ["git", "ls-files", "--others", "--exclude-standard"]
    unknown = subprocess.run(listing, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert unknown.split() == [".dvcignore", ".gitignore"]
    write_both(tmp_path)
    assert list(tmp_path.glob(".*.part")) == []


def test_a_writer_that_is_at_work_is_not_disturbed(tmp_path):
    process = start_writer(tmp_path)
    write_both(tmp_path)
    assert content_of(tmp_path / "folder") == {"new.txt": "new"}
    process.communicate("go on\n")
    assert process.returncode == 0
    assert content_of(tmp_path) == {"a.txt": "half", "folder/half.txt": "half"}


# --- the rest -----------------------------------------------------------------------------------------


def test_new_files_have_the_rights_that_the_user_s_umask_says(tmp_path):
    before = os.umask(0o027)
    try:
        write_both(tmp_path)
    finally:
        os.umask(before)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o750


def test_a_name_of_255_bytes_is_written(tmp_path):
    path = tmp_path / ("é" * 127 + "x")
    write_text(path, "new")
    assert os.listdir(tmp_path) == [path.name]


def test_a_pipe_is_written_to_and_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_whole(pipe, b"content")
    assert os.read(reader, 100) == b"content" and pipe.is_fifo()
    os.close(reader)


def test_standard_output_as_a_file_is_appended_to_and_not_replaced(tmp_path):
    (tmp_path / "log").write_text("before\n")
    code = "from stages.core.files import *; write_text(Path('/dev/stdout'), 'new')"
    with (tmp_path / "log").open("a") as log:
        subprocess.run([sys.executable, "-c", code], check=True, cwd=REPO, stdout=log)
    assert (tmp_path / "log").read_text() == "before\nnew"
    assert Path("/dev/stdout").is_symlink()


def test_a_folder_takes_the_place_of_the_one_before(tmp_path):
    for name in ("made/new.txt", "output/deep/old.txt"):
        write_text(tmp_path / name, name)
    replace_folder(tmp_path / "made", tmp_path / "output")
    assert [path.name for path in tmp_path.rglob("*")] == ["output", "new.txt"]


def test_long_lists_are_shortened():
    assert first_ten(["a", "b'"]) == """'a', "b'\""""
    assert first_ten(map(str, range(12)), str) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, and 2 more"
