"""What a stage reads of a folder is what DVC hashes, or less; what it leaves out is named."""

import inspect
import os
import sys
from pathlib import Path

import pytest
from conftest import REPO, class_folders, draw_image
from dvc.repo import Repo

from stages.core.dataset.folders import LEFTOVERS, walk


def files_read(folder: Path, **how) -> list[str]:
    return [file.relative_to(folder).as_posix() for file in walk(folder, **how)[0].all_files()]


def files_left(folder: Path, **how) -> dict[str, str]:
    return {one.file.relative_to(folder).as_posix(): one.kind for one in walk(folder, **how)[1]}


def files_hashed(project: Path, path: str) -> list[str]:
    """The files that DVC hashes for a dependency, asked of DVC itself."""
    (project / "dvc.yaml").write_text(f"stages: {{s: {{cmd: 'true', deps: [{path}]}}}}")
    with Repo.init(str(project), no_scm=True) as repo:
        (dependency,) = repo.stage.load_one(str(project / "dvc.yaml"), "s").deps
        dependency.save()
        return sorted("/".join(key) for key, _, _ in dependency.get_obj())


@pytest.mark.parametrize("where", ["data/raw", "elsewhere"])
@pytest.mark.parametrize("hidden", [False, True])
def test_every_file_that_is_read_is_hashed_by_dvc(tmp_path, monkeypatch, where, hidden):
    """With data/raw a folder, or a link to a folder elsewhere."""
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    raw = class_folders(tmp_path / where, {"a": 2, "b": 2, "b~": 1, "__pycache__": 1, "skipped": 1})
    for name in ("a/x.swp", "a/y.png~", "a/skip.png", "nested/z.png", ".22LR/1.png", "c/.git/1.png"):
        (raw / name).parent.mkdir(parents=True, exist_ok=True)
        draw_image(raw / "a/new.png").rename(raw / name)
    (raw / "nested/.dvc").mkdir()
    (raw / "a/link.png").symlink_to("../b/000.png")
    (raw / "b/outside.png").symlink_to(draw_image(tmp_path / "outside.png", 9))
    if where != "data/raw":
        (tmp_path / "data").mkdir()
        (tmp_path / "data/raw").symlink_to(raw)
    (tmp_path / ".dvcignore").write_text((REPO / ".dvcignore").read_text() + "skipped/\n")
    (tmp_path / "data/.dvcignore").write_text("skip.png\n")

    hashed = files_hashed(tmp_path, "data/raw")
    read = files_read(tmp_path / "data/raw", dvc=True, hidden=hidden)
    plain = ["a/000.png", "a/001.png", "a/link.png", "b/000.png", "b/001.png", "b/outside.png"]
    assert read == [".22LR/1.png"] * hidden + plain and set(read) <= set(hashed)
    left = files_left(tmp_path / "data/raw", dvc=True, hidden=hidden)
    assert {name for name, kind in left.items() if kind == "ignored"} == {
        *("a/skip.png", "a/x.swp", "a/y.png~", "b~", "nested", "skipped")
    }


def test_a_folder_that_dvc_does_not_hash_is_read_whatever_dvcignore_says(tmp_path):
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvcignore").write_text("b\n")
    raw = class_folders(tmp_path / "raw", {"a": 1, "b": 1})
    assert files_read(raw) == ["a/000.png", "b/000.png"] and files_read(raw, dvc=True) == ["a/000.png"]


@pytest.mark.parametrize("target", ["../c", "b", ".", "..", "/"])
def test_a_link_to_a_folder_is_refused_by_name(tmp_path, target):
    raw = class_folders(tmp_path / "raw", {"a": 1, "b": 1})
    class_folders(tmp_path, {"c": 1})
    (raw / "link").symlink_to(target)
    with pytest.raises(ValueError, match="raw holds 1 links to folders: 'link'. DVC does not follow"):
        walk(raw)


def test_folders_that_link_to_each_other_are_looked_at_once(tmp_path):
    """Followed, twelve such folders hold more than a billion files."""
    names = [f"class{number}" for number in range(12)]
    raw = class_folders(tmp_path / "raw", dict.fromkeys(names, 1))
    for one in names:
        for other in names:
            (raw / one / other).symlink_to(f"../{other}")
    with pytest.raises(ValueError, match="raw holds 144 links to folders: .* and 134 more"):
        walk(raw)


def test_files_that_are_no_files_are_found_and_not_opened(tmp_path):
    """A pipe that nobody writes to would block whoever opens it. `check_image` names them."""
    raw = class_folders(tmp_path / "raw", {"a": 1})
    os.mkfifo(raw / "a/pipe")
    (raw / "a/null").symlink_to("/dev/null")
    (raw / "a/self").symlink_to("self")
    (raw / "a/gone").symlink_to("nowhere")
    assert files_read(raw) == ["a/000.png", "a/gone", "a/null", "a/pipe", "a/self"]


def test_folders_are_walked_however_deep_they_are(tmp_path):
    """Python stops functions that call themselves too often; here 100 times is too often."""
    folder = tmp_path.joinpath("raw", *"d" * 300)
    folder.mkdir(parents=True)
    (folder / "x.png").touch()
    before = sys.getrecursionlimit()
    try:
        sys.setrecursionlimit(len(inspect.stack(0)) + 100)
        found = walk(tmp_path / "raw")[0].all_files()
    finally:
        sys.setrecursionlimit(before)
    assert found == [folder / "x.png"]


def test_a_path_that_is_too_long_for_the_system_is_an_error(tmp_path, monkeypatch):
    monkeypatch.chdir((tmp_path / "raw").mkdir() or tmp_path / "raw")
    for _ in range(20):
        os.mkdir("d" * 250)
        os.chdir("d" * 250)
    with pytest.raises(OSError, match="cannot be listed .File name too long"):
        walk(tmp_path / "raw")


def test_a_folder_that_cannot_be_listed_is_named(tmp_path):
    with pytest.raises(OSError, match="gone cannot be listed .No such file.*; expected a folder"):
        walk(tmp_path / "gone")


@pytest.mark.parametrize(
    "name",
    [
        *(".DS_Store", "._IMG_1.jpg", "__MACOSX", "Icon\r", "Temporary Items", ".Spotlight-V100"),
        *("Thumbs.db", "ehthumbs.db", "Desktop.ini", "$RECYCLE.BIN", "System Volume Information"),
        *("a.jpg:Zone.Identifier", "FOUND.000", "~$list.xlsx", "Picasa.ini", "lost+found"),
        *(".Trash-1000", ".nfs0000000000a1", ".fuse_hidden0001", ".directory", ".thumbnails"),
        *("#recycle", "#snapshot", "@eaDir", "@tmp", "@Recycle", "@Recently-Snapshot", ".@__thumb"),
        *("~snapshot", ".snapshot", ".zfs", ".stfolder", ".stversions", ".syncthing.a.jpg.tmp"),
        *(".dropbox.cache", ".nomedia", ".trashed-1700000000-IMG.jpg", ".ipynb_checkpoints"),
        *(".gitignore", ".gitkeep", ".git", ".svn"),
    ],
)
def test_names_of_leftovers_are_known(name):
    assert LEFTOVERS.fullmatch(name)


@pytest.mark.parametrize(
    "name",
    [
        *("recycled", "trash", "thumbs", "icon", "temporary", "found", "#x %s", "@home", ".22LR"),
        *("$100 bill", "~90 degrees", "cvs", "desktop", "git", "snapshot", ".jpg", "a.jpg", "sync"),
    ],
)
def test_names_of_classes_and_images_are_no_leftovers(name):
    assert not LEFTOVERS.fullmatch(name)
