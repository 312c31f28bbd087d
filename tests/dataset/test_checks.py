"""Every file is decoded in full, and what cannot be used says why."""

import hashlib
import os
import sqlite3
import time
from pathlib import Path

import PIL
import pytest
from conftest import draw_image
from PIL import Image

from stages.core.dataset import checks
from stages.core.dataset.checks import check_image, check_images
from stages.core.images.decoding import RULE


def test_a_good_image_has_its_size_and_the_hash_of_its_bytes(tmp_path):
    path = draw_image(tmp_path / "a.png", size=(40, 30))
    checked = check_image(path)
    assert (checked.width, checked.height, checked.problem) == (40, 30, "")
    assert checked.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp", "tif", "ppm", "gif"])
def test_formats_that_training_reads_are_accepted(tmp_path, suffix):
    assert check_image(draw_image(tmp_path / f"a.{suffix}")).problem == ""


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16", "CMYK"])
def test_every_colour_mode_decodes(tmp_path, mode):
    suffix = "jpg" if mode == "CMYK" else "png"
    path = tmp_path / f"a.{suffix}"
    Image.new(mode, (20, 20)).save(path)
    assert check_image(path).problem == ""


def test_a_truncated_jpeg_is_found(tmp_path):
    path = tmp_path / "cut.jpg"
    Image.frombytes("RGB", (200, 200), os.urandom(120000)).save(path)
    path.write_bytes(path.read_bytes()[:-2000])
    assert "truncated" in check_image(path).problem


@pytest.mark.parametrize(
    ("content", "problem"),
    [(b"", "is empty"), (b"hello", "is not an image"), (b"\x89PNG\r\n\x1a\n" + b"0" * 50, "")],
)
def test_what_is_not_an_image_says_so(tmp_path, content, problem):
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    found = check_image(path).problem
    assert found != "" and problem in found


def test_a_broken_link_is_found(tmp_path):
    (tmp_path / "a.jpg").symlink_to(tmp_path / "gone.jpg")
    assert check_image(tmp_path / "a.jpg").problem.startswith("cannot be read")


def test_the_number_of_processes_changes_nothing(tmp_path):
    paths = [draw_image(tmp_path / f"{n}.png", n) for n in range(70)]
    one = list(check_images(paths, 0, tmp_path / "one"))
    assert one == list(check_images(paths, 3, tmp_path / "three")) == [check_image(p) for p in paths]


def test_a_pipe_and_a_film_are_named_and_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    assert check_image(tmp_path / "pipe.jpg").problem == "is a device or a pipe"
    film = tmp_path / "film.jpg"
    with film.open("wb") as file:
        file.truncate(3 * 10**9)  # takes no room on the disk
    assert check_image(film).problem == "has 3.0 GB; at most 2 GB are read"


def test_a_second_check_does_not_wait_for_the_first(tmp_path):
    paths = [draw_image(tmp_path / f"{n}.png", n) for n in range(5)]
    first = check_images(paths, 0, tmp_path / "cache")
    next(first)
    assert len(list(check_images(paths, 0, tmp_path / "cache"))) == 5
    assert len(list(first)) == 4


def test_what_was_found_before_an_interruption_is_kept(tmp_path, monkeypatch):
    paths = [draw_image(tmp_path / f"{n}.png", n) for n in range(5)]
    interrupted = check_images(paths, 0, tmp_path / "cache")
    before = [next(interrupted) for _ in range(3)]
    interrupted.close()
    monkeypatch.delattr(checks, "decode_with_doubts")
    again = check_images(paths, 0, tmp_path / "cache")
    assert [next(again) for _ in range(3)] == before
    with pytest.raises(NameError):  # the fourth is to be decoded
        next(again)


@pytest.mark.parametrize("damage", ["other bytes", "cut", "a flipped bit", "a number"])
def test_a_damaged_cache_is_not_used(tmp_path, capsys, damage):
    path = aged(draw_image(tmp_path / "a.png"))
    (before,) = check_images([path], 0, tmp_path / "cache")
    (database,) = (tmp_path / "cache").glob("*.sqlite")
    content = database.read_bytes()
    if damage == "other bytes":
        database.write_bytes(b"not a database" * 100)
    if damage == "cut":
        os.truncate(database, len(content) // 2)
    if damage == "a flipped bit":
        flipped = before.look.replace(before.look[3], chr(ord(before.look[3]) ^ 1))
        assert content.count(before.look.encode()) == 1
        database.write_bytes(content.replace(before.look.encode(), flipped.encode()))
    if damage == "a number":
        with sqlite3.connect(database) as connection:
            connection.execute("UPDATE contents SET width = 41")
    assert list(check_images([path], 0, tmp_path / "cache")) == [before]
    said = capsys.readouterr().out
    assert ("is damaged" in said) == (damage in ("other bytes", "cut"))


def test_a_cache_that_cannot_be_opened_says_what_to_do(tmp_path):
    path = draw_image(tmp_path / "a.png")
    (tmp_path / "cache" / f"checks-{RULE}-pillow-{PIL.__version__}.sqlite").mkdir(parents=True)
    with pytest.raises(RuntimeError, match=r"checks-.*sqlite: unable to open .*delete it, or make"):
        list(check_images([path], 0, tmp_path / "cache"))


def aged(path: Path) -> Path:
    """Written long enough ago for its time stamp to be trusted."""
    os.utime(path, (time.time() - 60,) * 2)
    return path


def test_a_known_file_is_not_opened_again(tmp_path):
    path = aged(draw_image(tmp_path / "a.png"))
    (before,) = check_images([path], 0, tmp_path / "cache")
    status = path.stat()
    with path.open(
        "r+b"
    ) as file:  # other bytes with the same size, time and inode, which no program does
        file.write(b"broken")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert list(check_images([path], 0, tmp_path / "cache")) == [before]


def test_a_changed_file_is_checked_again(tmp_path):
    path = aged(draw_image(tmp_path / "a.png", 1))
    (before,) = check_images([path], 0, tmp_path / "cache")
    aged(draw_image(path, 2))
    (after,) = check_images([path], 0, tmp_path / "cache")
    assert after != before and after == check_image(path)


def test_a_file_that_just_changed_is_not_trusted_by_its_time(tmp_path):
    path = draw_image(tmp_path / "a.png", 1)
    list(check_images([path], 0, tmp_path / "cache"))
    status = path.stat()
    draw_image(path, 2)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert list(check_images([path], 0, tmp_path / "cache")) == [check_image(path)]


def test_a_moved_file_is_hashed_and_not_decoded_again(tmp_path, monkeypatch):
    path = aged(draw_image(tmp_path / "a.png"))
    (before,) = check_images([path], 0, tmp_path / "cache")
    moved = path.rename(tmp_path / "b.png")
    monkeypatch.delattr(checks, "decode_with_doubts")
    assert list(check_images([moved], 0, tmp_path / "cache")) == [before]


def test_exact_duplicates_have_equal_pixels_and_near_duplicates_similar_hashes(tmp_path):
    shades = Image.frombytes("L", (6, 5), bytes((n * 83) % 256 for n in range(30))).resize((180, 150))
    files = [tmp_path / f"a.{kind}" for kind in ("png", "bmp", "jpg")]
    for file in files:
        shades.save(file)
    one, same, alike = map(check_image, files)
    assert one.sha256 != same.sha256 and one.pixels == same.pixels != alike.pixels
    assert (int(one.look, 16) ^ int(alike.look, 16)).bit_count() <= 3


def test_an_image_that_looks_damaged_is_known_with_the_reason(tmp_path):
    whole = draw_image(tmp_path / "a.jpg", size=(200, 160)).read_bytes()
    (tmp_path / "a.jpg").write_bytes(whole[: len(whole) // 2] + b"\xff\xd9")
    for _ in range(2):  # checked, then known
        check = next(check_images([tmp_path / "a.jpg"], 0, tmp_path / "cache"))
        assert (check.problem, check.width) == ("", 200)
        assert "Corrupt JPEG data: premature end of data segment" in check.doubt
