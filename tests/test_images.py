"""Every file is decoded in full, and what cannot be used says why."""

import hashlib
import os

import pytest
from conftest import picture
from PIL import Image

from stages.core import images
from stages.core.images import check_image, check_images


def test_a_good_picture_gives_its_size_and_the_hash_of_its_bytes(tmp_path):
    path = picture(tmp_path / "a.png", size=(40, 30))
    checked = check_image(path)
    assert (checked.width, checked.height, checked.problem) == (40, 30, "")
    assert checked.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp", "tif", "ppm", "gif"])
def test_formats_that_training_reads_are_accepted(tmp_path, suffix):
    assert check_image(picture(tmp_path / f"a.{suffix}")).problem == ""


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
    [(b"", "is empty"), (b"hello", "is not a picture"), (b"\x89PNG\r\n\x1a\n" + b"0" * 50, "")],
)
def test_what_is_not_a_picture_says_so(tmp_path, content, problem):
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    found = check_image(path).problem
    assert found != "" and problem in found


def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "MAX_PIXELS", 1000)
    path = picture(tmp_path / "a.png", size=(40, 30))
    assert check_image(path).problem == "has 40 x 30 pixels; at most 1,000 are accepted"


def test_a_broken_link_is_found(tmp_path):
    (tmp_path / "a.jpg").symlink_to(tmp_path / "gone.jpg")
    assert check_image(tmp_path / "a.jpg").problem.startswith("cannot be read")


def test_the_number_of_processes_changes_nothing(tmp_path):
    paths = [picture(tmp_path / f"{n}.png", n) for n in range(70)]
    assert list(check_images(paths, 0)) == list(check_images(paths, 3))
