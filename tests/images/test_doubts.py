"""A decoder's doubts are told: what looks damaged, and can be read."""

import io
import random

import numpy as np
import pytest
from PIL import Image

from stages.core.images.decoding import decode_with_doubts
from stages.core.images.doubts import find_doubts


def scene(size: tuple[int, int] = (320, 240)) -> Image.Image:
    """Like a photo: soft shapes, with noise."""
    draw = random.Random(0)
    soft = Image.frombytes("RGB", (8, 6), draw.randbytes(144)).resize(size, Image.Resampling.BICUBIC)
    noise = Image.frombytes("RGB", size, draw.randbytes(3 * size[0] * size[1]))
    return Image.blend(soft, noise, 0.1)


def saved(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def doubts(content: bytes) -> str:
    image, told = decode_with_doubts(content)
    return "; ".join([*told, *find_doubts(content, np.asarray(image))])


def without_middle(content: bytes) -> bytes:
    """The middle fifth is zeros."""
    start, end = 2 * len(content) // 5, 3 * len(content) // 5
    return content[:start] + bytes(end - start) + content[end:]


JPEGS = [
    {},
    {"optimize": True},
    {"progressive": True},
    {"restart_marker_blocks": 20},
    {"subsampling": 0},
]


@pytest.mark.parametrize("options", JPEGS)
def test_a_jpeg_with_data_lost_is_doubtful(options):
    whole = saved(scene(), "JPEG", **options)
    half = len(whole) // 2
    assert doubts(whole) == ""
    for damaged in (
        whole[:half] + b"\xff\xd9",
        without_middle(whole),
        whole[:half] + whole[half + 500 :],
        whole[:half] + whole[half - 500 :],
        whole[:half] + random.Random(1).randbytes(500).replace(b"\xff", b"\0") + whole[half + 500 :],
    ):
        assert "Corrupt JPEG data" in doubts(damaged)


@pytest.mark.parametrize(("kind", "options"), [("WEBP", {}), ("WEBP", {"lossless": True}), ("AVIF", {})])
def test_a_webp_or_avif_with_its_middle_zeroed_is_doubtful(kind, options):
    whole = saved(scene(), kind, **options)
    assert doubts(whole) == ""
    assert "zeros in a row" in doubts(without_middle(whole))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "PPM"])
def test_a_sound_image_is_not_doubtful(kind):
    flat = Image.new("RGB", (1200, 900), "white")
    flat.paste(scene(), (40, 40))
    assert doubts(saved(flat, kind)) == ""


def test_a_png_is_held_to_its_checksums_and_its_end():
    whole = saved(scene(), "PNG")
    flipped = bytearray(whole)
    flipped[-13] ^= 1  # the last byte before IEND
    assert "the checksum of its chunk 'IDAT' is wrong" in doubts(bytes(flipped))
    assert doubts(whole[:-12]) == "it does not end as a PNG does"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_data_behind_the_image_are_doubtful_and_what_phones_append_is_not(kind):
    whole = saved(scene(), kind)
    assert doubts(whole + b"hello") == "5 bytes follow the end of the image"
    assert doubts(whole + bytes(100)) == ""
    assert doubts(whole + b"film SEFT") == ""


def test_a_gif_is_held_to_its_end():
    whole = saved(scene(), "GIF")
    assert doubts(whole[:-1]) == doubts(whole + b"x") == "it does not end as a GIF does"


@pytest.mark.parametrize("colour", ["black", "white", (128, 128, 128), (200, 100, 50)])
def test_an_image_of_almost_one_colour_is_doubtful(colour):
    assert doubts(saved(Image.new("RGB", (60, 40), colour), "PNG")) == "it is almost one colour"


def test_a_cut_image_that_was_saved_again_is_doubtful():
    image = scene()
    image.paste((128, 128, 128), (0, 180, 320, 240))
    assert doubts(saved(image, "PNG")) == "its lower part is flat grey, as in a JPEG that was cut"
