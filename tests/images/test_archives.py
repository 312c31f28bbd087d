"""Archives are unpacked completely, and write nothing outside their folder."""

import io
import os
import shutil
import subprocess
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import zstandard

from stages.core.images import archives
from stages.core.images.archives import ensure_images, is_archive, unpack


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def tarred(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as file:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path


def zstandard_tarred(path: Path, members: dict[str, bytes]) -> Path:
    plain = tarred(path.with_suffix(".plain"), members)
    path.write_bytes(zstandard.compress(plain.read_bytes()))
    plain.unlink()
    return path


tar_says = subprocess.run(["tar", "--version"], capture_output=True, text=True).stdout
needs_gnu_tar = pytest.mark.skipif("GNU tar" not in tar_says, reason="tar is not GNU tar")


def class_file(path: Path, size: int) -> Path:
    path.parent.mkdir(parents=True)
    path.write_bytes(os.urandom(size))
    return path


def files_in(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize(
    ("suffix", "mode"),
    [
        (".zip", ""),
        (".tar", "w:"),
        (".tar.gz", "w:gz"),
        (".tgz", "w:gz"),
        (".tar.bz2", "w:bz2"),
        (".tar.xz", "w:xz"),
        (".TBZ2", "w:bz2"),
        (".txz", "w:xz"),
    ],
)
def test_every_kind_of_archive_is_unpacked(tmp_path, suffix, mode):
    members = {"fruit/train/火龙果/1.jpg": b"one", "fruit/val/a b/é'\",.jpg": b"two"}
    path = tmp_path / f"set{suffix}"
    archive = tarred(path, members, mode) if mode else zipped(path, members)
    assert is_archive(archive)
    assert files_in(unpack(tmp_path, archive)) == members


def test_a_zstandard_tar_is_unpacked_and_checked_like_the_others(tmp_path):
    members = {"fruit/火龙果/1.jpg": b"one" * 1000, "fruit/b/2.jpg": b"two"}
    for name in ("a.tar.zst", "a.tzst"):
        assert files_in(unpack(tmp_path, zstandard_tarred(tmp_path / name, members))) == members
    with pytest.raises(ValueError, match="leads out of the archive"):
        unpack(tmp_path, zstandard_tarred(tmp_path / "evil.tar.zst", {"../x": b""}))
    frames = tmp_path / "frames.tar.zst"  # as of `pzstd`
    plain = tarred(tmp_path / "plain.tar", members).read_bytes()
    frames.write_bytes(b"".join(zstandard.compress(p) for p in (plain[:4096], plain[4096:])))
    assert files_in(unpack(tmp_path, frames)) == members
    broken = zstandard_tarred(tmp_path / "cut.tar.zst", members)
    broken.write_bytes(broken.read_bytes()[:-40])
    with pytest.raises(ValueError, match="cut.tar.zst cannot be unpacked"):
        unpack(tmp_path, broken)


def test_an_archive_is_unpacked_once_and_again_after_it_changed(tmp_path):
    archive = zipped(tmp_path / "data" / "set.zip", {"a/1.jpg": b"old"})
    folder = unpack(tmp_path, archive)
    assert folder == tmp_path / ".work/unpacked/data/set.zip"
    inode = (folder / "a/1.jpg").stat().st_ino
    assert (unpack(tmp_path, archive) / "a/1.jpg").stat().st_ino == inode

    zipped(archive, {"a/2.jpg": b"new content"})
    assert files_in(unpack(tmp_path, archive)) == {"a/2.jpg": b"new content"}


@pytest.mark.parametrize(
    "name", ["../out.jpg", "a/../../out.jpg", "/tmp/out.jpg", "..\\out.jpg", "C:\\out.jpg"]
)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_member_that_leads_out_is_refused_and_nothing_is_left(tmp_path, kind, name):
    make = zipped if kind == "zip" else tarred
    archive = make(tmp_path / f"evil.{kind}", {"ok/1.jpg": b"fine", name: b"evil"})
    with pytest.raises(ValueError, match="leads out of the archive"):
        unpack(tmp_path, archive)
    assert [path.name for path in tmp_path.rglob("*.jpg")] == []


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path, kind):
    archive = tmp_path / "evil.tar"
    with tarfile.open(archive, "w") as file:
        info = tarfile.TarInfo("a/1.jpg")
        info.type, info.linkname = kind, "/etc/passwd"
        file.addfile(info)
    with pytest.raises(ValueError, match="link or a device|leads out of the archive"):
        unpack(tmp_path, archive)


@needs_gnu_tar
def test_what_tar_itself_makes_of_a_folder_is_unpacked(tmp_path):
    """`.` as the first member, `./` before the names, a label, and one file with two names."""
    folder = tmp_path / "photos"
    for name in ("a/1.jpg", "b/é 2.jpg"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(name.encode())
    os.link(folder / "a/1.jpg", folder / "b/same.jpg")
    with (folder / "b/sparse.jpg").open("wb") as file:
        file.truncate(100_000)
    ways = ["", "--label=set", "--sparse", "--sparse --format=posix"]
    ways += ["--zstd"] if shutil.which("zstd") else []
    for number, options in enumerate(ways):
        archive = tmp_path / f"{number}.tar{'.zst' * (options == '--zstd')}"
        command = ["tar", "--create", "--file", archive, *options.split(), "-C", folder, "."]
        subprocess.run(command, check=True)
        assert files_in(unpack(tmp_path, archive)) == files_in(folder)
    made = shutil.make_archive(str(tmp_path / "made"), "gztar", folder)
    assert files_in(unpack(tmp_path, Path(made))) == files_in(folder)


@needs_gnu_tar
def test_an_incremental_backup_is_refused(tmp_path):
    """Python's tarfile reads times in its headers as parts of the names."""
    (tmp_path / "photos/a").mkdir(parents=True)
    (tmp_path / "photos/a/1.jpg").write_bytes(b"1")
    options = ["--listed-incremental", tmp_path / "state", "--file", tmp_path / "backup.tar"]
    subprocess.run(["tar", "--create", *options, "-C", tmp_path, "photos"], check=True)
    with pytest.raises(ValueError, match="backup.tar is an incremental backup, which is not read"):
        unpack(tmp_path, tmp_path / "backup.tar")


@pytest.mark.parametrize("linked", ["../secret", "/etc/passwd", "a/later.jpg"])
def test_a_hard_link_in_a_tar_leads_to_an_earlier_file_or_is_refused(tmp_path, linked):
    (tmp_path / ".work/unpacked").mkdir(parents=True)
    (tmp_path / ".work/unpacked/secret").write_text("secret")
    archive = tmp_path / "evil.tar"
    with tarfile.open(archive, "w") as file:
        link = tarfile.TarInfo("a/1.jpg")
        link.type, link.linkname = tarfile.LNKTYPE, linked
        file.addfile(link)
        file.addfile(tarfile.TarInfo("a/later.jpg"))
    with pytest.raises(ValueError, match="leads out of the archive|is a link or a device"):
        unpack(tmp_path, archive)


def test_a_tar_may_hold_a_newer_version_of_a_file(tmp_path):
    """As `tar --append` leaves it. What was linked to the older version keeps it."""
    archive = tmp_path / "appended.tar"
    with tarfile.open(archive, "w") as file:
        for content in (b"old", b"newer"):
            info = tarfile.TarInfo("a/1.jpg")
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
            if content == b"old":
                link = tarfile.TarInfo("b/link.jpg")
                link.type, link.linkname = tarfile.LNKTYPE, "a/1.jpg"
                file.addfile(link)
    assert files_in(unpack(tmp_path, archive)) == {"a/1.jpg": b"newer", "b/link.jpg": b"old"}


def test_a_link_in_a_zip_is_refused(tmp_path):
    archive = tmp_path / "evil.zip"
    with zipfile.ZipFile(archive, "w") as file:
        info = zipfile.ZipInfo("a/1.jpg")
        info.create_system, info.external_attr = 3, 0o120777 << 16
        file.writestr(info, "/etc/passwd")
    with pytest.raises(ValueError, match="is a link"):
        unpack(tmp_path, archive)


@pytest.mark.parametrize("make", [zipped, tarred])
def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch, make):
    monkeypatch.setattr(archives, "MAX_UNPACKED_BYTES", 10)
    archive = make(
        tmp_path / ("big.zip" if make is zipped else "big.tar"), {"a": b"x" * 6, "b": b"x" * 6}
    )
    with pytest.raises(ValueError, match="at most"):
        unpack(tmp_path, archive)
    assert not (tmp_path / ".work/unpacked" / archive.name).exists()


def test_a_tar_whose_headers_would_fill_the_memory_is_refused(tmp_path):
    archive = tmp_path / "wordy.tar.gz"
    with tarfile.open(archive, "w:gz", pax_headers={"comment": "x" * 3_000_000}) as file:
        file.addfile(tarfile.TarInfo("a/1.jpg"))
    with pytest.raises(ValueError, match="(?s)cannot be unpacked .*header of 3 MB of a member"):
        unpack(tmp_path, archive)


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz"])
def test_a_damaged_archive_is_named_and_leaves_nothing(tmp_path, suffix):
    archive = tmp_path / f"broken{suffix}"
    archive.write_bytes(b"<html>404</html>")
    with pytest.raises(ValueError, match=r"broken.* cannot be unpacked"):
        unpack(tmp_path, archive)
    assert [p.name for p in (tmp_path / ".work/unpacked").iterdir()] == [f"broken{suffix}.lock"]


def test_a_truncated_archive_is_named(tmp_path):
    archive = zipped(tmp_path / "cut.zip", {"a/1.jpg": os.urandom(5000)})
    archive.write_bytes(archive.read_bytes()[:3000])
    with pytest.raises(ValueError, match="cut.zip cannot be unpacked"):
        unpack(tmp_path, archive)


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
def test_chinese_names_without_the_utf8_flag_are_read(tmp_path, capsys, encoding):
    """As zip programs of Windows and older macOS write them."""
    name = "火龙果/猕猴桃.jpg"
    stored = name.encode(encoding)
    placeholder = "x" * len(stored)  # same length, so that the zip's structure stays
    archive = zipped(tmp_path / "old.zip", {placeholder: b"1"})
    archive.write_bytes(archive.read_bytes().replace(placeholder.encode(), stored))
    assert files_in(unpack(tmp_path, archive)) == {name: b"1"}
    said = capsys.readouterr().out
    assert ("They are read as gb18030, such as '火龙果/猕猴桃.jpg'" in said) == (encoding != "utf-8")


@pytest.mark.parametrize("name", ["Äpfel/1.jpg", "über/Straße.jpg", "été/pêche.jpg", "año/piña.jpg"])
def test_european_names_of_an_old_zip_are_not_taken_for_chinese(tmp_path, capsys, name):
    """As programs of DOS and Windows write them; each of these is also valid GB 18030 or nearly so."""
    stored = name.encode("cp437")
    archive = zipped(tmp_path / "old.zip", {"x" * len(stored): b"1"})
    archive.write_bytes(archive.read_bytes().replace(b"x" * len(stored), stored))
    assert files_in(unpack(tmp_path, archive)) == {name: b"1"}
    assert f"read as cp437, such as {name!r}" in capsys.readouterr().out


def test_a_zip_with_backslashes_for_folders_is_read(tmp_path):
    """As some Windows programs write them, with entries for the folders, too."""
    members = {"set\\": b"", "set\\a\\": b"", "set\\a\\1.jpg": b"1", "set\\b: c\\2.jpg": b"2"}
    archive = zipped(tmp_path / "windows.zip", members)
    assert files_in(unpack(tmp_path, archive)) == {"set/a/1.jpg": b"1", "set/b: c/2.jpg": b"2"}


def test_an_encrypted_zip_says_so(tmp_path):
    archive = zipped(tmp_path / "locked.zip", {"a/1.jpg": b"1"})
    content = bytearray(archive.read_bytes())
    for header, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(header) + flags] |= 1
    archive.write_bytes(content)
    with pytest.raises(ValueError, match=r"locked.zip: 'a/1.jpg' is encrypted"):
        unpack(tmp_path, archive)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a", "a/1.jpg"], "odd.zip cannot be unpacked"),
        (["a/1.jpg", "a/1.jpg"], "odd.zip holds 'a/1.jpg' twice. Unpack it, for example with 7-Zip"),
        (["a/1.jpg", "./a/1.jpg"], "odd.zip holds './a/1.jpg' twice"),
        ([f"a/{'long' * 80}.jpg"], "odd.zip cannot be unpacked .*File name too long"),
        (["d/" * 3000 + "1.jpg"], r"'d/d/.*\.\.\. lies 3000 folders deep and has 6005 characters"),
        (["d/" * 150 + "1.jpg"], r"lies 150 folders deep and has 305 characters; at most 100"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_zip_whose_names_cannot_all_be_files_is_refused(tmp_path, names, message):
    with zipfile.ZipFile(tmp_path / "odd.zip", "w") as file:
        for name in names:
            file.writestr(name, "1")
    with pytest.raises(ValueError, match=message):
        unpack(tmp_path, tmp_path / "odd.zip")


@pytest.mark.parametrize("number, name", [(9, "Deflate64"), (93, "Zstandard"), (77, "method 77")])
def test_a_zip_of_an_unknown_compression_says_how_to_pack_it_again(tmp_path, number, name):
    archive = zipped(tmp_path / "set.zip", {"a/1.jpg": b"1"})
    content = bytearray(archive.read_bytes())
    for header, method in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        content[content.index(header) + method] = number
    archive.write_bytes(content)
    with pytest.raises(ValueError, match=f"compressed by {name}.* and pack it again as zip or tar"):
        unpack(tmp_path, archive)


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
        (b"Rar!\x1a\x07\x01", "a RAR archive"),
        (b"<!DOCTYPE html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1", "a Git LFS pointer"),
    ],
)
@pytest.mark.parametrize("suffix", ["zip", "tar", "tar.gz", "tar.zst"])
def test_a_file_of_another_kind_is_recognised(tmp_path, suffix, start, kind):
    (tmp_path / f"set.{suffix}").write_bytes(start + bytes(2000))
    with pytest.raises(ValueError, match=f"cannot be unpacked .*It begins like {kind}"):
        unpack(tmp_path, tmp_path / f"set.{suffix}")


@pytest.mark.skipif(not shutil.which("zip"), reason="zip is not installed")
def test_one_part_of_a_split_zip_says_so(tmp_path):
    folder = class_file(tmp_path / "a/1.jpg", 200_000).parent
    command = ["zip", "-q", "-r", "-s", "64k", tmp_path / "parts.zip", folder.name]
    subprocess.run(command, cwd=tmp_path, check=True)
    with pytest.raises(
        ValueError, match="last part of a split zip: .*zip -s 0 parts.zip --out whole.zip"
    ):
        unpack(tmp_path, tmp_path / "parts.zip")


@pytest.mark.parametrize("make", [zipped, tarred])
def test_an_archive_of_too_many_files_is_refused(tmp_path, monkeypatch, make):
    archive = make(
        tmp_path / ("many.zip" if make is zipped else "many.tar"), dict.fromkeys("abcdefgh", b"")
    )
    for limit in ("MAX_FILES", "MAX_DIRECTORY_BYTES") if make is zipped else ("MAX_FILES",):
        with monkeypatch.context() as patch:
            patch.setattr(archives, limit, 7)
            with pytest.raises(ValueError, match="holds more than .* files. Refused"):
                unpack(tmp_path, archive)
    assert len(files_in(unpack(tmp_path, archive))) == 8


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_a_damaged_tar_is_never_unpacked_in_part(tmp_path, mode):
    """Python's tarfile silently takes a damaged header for the end of the archive."""
    members = {f"a/{number}.jpg": os.urandom(700) for number in range(9)}
    archive = tarred(tmp_path / ("cut.tar" + mode[1:].replace(":", ".")), members, mode)
    whole = archive.read_bytes()
    for at in range(40, len(whole), len(whole) // 40):
        for damaged in (whole[:at], whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :]):
            archive.write_bytes(damaged)
            try:
                names = set(files_in(unpack(tmp_path, archive)))
            except ValueError as error:
                assert "cannot be unpacked" in str(error)
            else:
                assert len(names) == len(members)


def test_an_archive_beside_the_project_is_unpacked_in_it(tmp_path, monkeypatch):
    (tmp_path / "a/project").mkdir(parents=True)
    zipped(tmp_path / "set.zip", {"x/1.jpg": b"1"})
    monkeypatch.chdir(tmp_path / "a/project")
    folder = unpack(Path(), Path("../../set.zip"))
    assert folder.resolve().is_relative_to(Path(".work/unpacked").resolve())
    listed = (folder / "x/1.jpg").as_posix()
    shutil.rmtree(folder)
    ensure_images(Path(), [listed])
    assert Path(listed).read_bytes() == b"1"


def test_a_missing_archive_says_how_to_get_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"dvc pull .*set.zip.dvc"):
        unpack(tmp_path, tmp_path / "set.zip")


@pytest.mark.parametrize("damage", ["changed", "cut", "removed", "added", "moved", "marker"])
def test_what_was_unpacked_and_is_damaged_is_unpacked_again(tmp_path, capsys, damage):
    members = {"a/1.jpg": b"one", "b/2.jpg": b"two"}
    archive = zipped(tmp_path / "set.zip", members)
    folder = unpack(tmp_path, archive)
    if damage == "changed":
        (folder / "a/1.jpg").write_bytes(b"ONE")
    if damage == "cut":
        os.truncate(folder / "a/1.jpg", 1)
    if damage == "removed":
        (folder / "a/1.jpg").unlink()
    if damage == "added":
        (folder / "a/3.jpg").touch()
    if damage == "moved":
        (folder / "a/1.jpg").rename(folder / "b/1.jpg")
    if damage == "marker":
        os.truncate(tmp_path / ".work/unpacked/set.zip.json", 10)
    assert files_in(unpack(tmp_path, archive)) == members
    said = capsys.readouterr().out
    assert damage == "marker" or "set.zip, or what was unpacked from it, has changed" in said


def test_ensure_images_unpacks_what_is_missing(tmp_path):
    archive = zipped(tmp_path / "data" / "set.zip", {"a/1.jpg": b"1"})
    path = ".work/unpacked/data/set.zip/a/1.jpg"
    ensure_images(tmp_path, [path])
    assert (tmp_path / path).read_bytes() == b"1"

    archive.unlink()
    with pytest.raises(FileNotFoundError, match="set.zip does not exist"):
        ensure_images(tmp_path, [path])


def test_ensure_images_names_a_missing_image(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"1 listed images are missing, first data/x/1.jpg"):
        ensure_images(tmp_path, ["data/x/1.jpg"])


def test_two_processes_at_the_same_time_unpack_once(tmp_path):
    members = {f"a/{number}.jpg": b"x" * 1000 for number in range(300)}
    archive = zipped(tmp_path / "set.zip", members)
    with ThreadPoolExecutor(4) as pool:
        folders = list(pool.map(lambda _: unpack(tmp_path, archive), range(4)))
    assert files_in(folders[0]) == members and len(set(folders)) == 1
    kept = sorted(path.name for path in (tmp_path / ".work/unpacked").iterdir())
    assert kept == ["set.zip", "set.zip.json", "set.zip.lock"]
