"""Every kind of image becomes 8-bit RGB by the same rule."""

import io
import random

import numpy as np
import pytest
from PIL import Image

from stages.core.images import decoding
from stages.core.images.decoding import decode


def saved(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixel(content: bytes, at: tuple[int, int] = (0, 0)) -> tuple[int, int, int]:
    image = decode(content)
    assert image.mode == "RGB"
    return image.getpixel(at)


def test_plain_pixels_are_unchanged():
    image = Image.new("RGB", (3, 2))
    image.putpixel((2, 1), (10, 20, 30))
    assert decode(saved(image)).size == (3, 2)
    assert pixel(saved(image), (2, 1)) == (10, 20, 30)


@pytest.mark.parametrize(
    ("orientation", "corner"),
    [
        (1, (0, 0)),
        (2, (5, 0)),
        (3, (5, 3)),
        (4, (0, 3)),
        (5, (0, 0)),
        (6, (3, 0)),
        (7, (3, 5)),
        (8, (0, 5)),
    ],
)
def test_exif_orientation_is_applied(orientation, corner):
    """A white pixel, stored at the top left, is where a viewer shows it."""
    image = Image.new("RGB", (6, 4))
    image.putpixel((0, 0), (255, 255, 255))
    exif = Image.Exif()
    exif[0x0112] = orientation
    shown = decode(saved(image, exif=exif))
    assert shown.size == ((6, 4) if orientation < 5 else (4, 6))
    assert shown.getpixel(corner) == (255, 255, 255)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_reduced_image_is_turned_like_the_whole_one(kind, orientation):
    image = Image.new("RGB", (60, 40))
    image.paste((255, 255, 255), (0, 0, 12, 8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = saved(image, kind, exif=exif)
    whole, reduced = decode(content), decode(content, reduce=20)
    assert reduced.size == (whole.width // 2, whole.height // 2)
    change = np.asarray(whole.resize(reduced.size), int) - np.asarray(reduced, int)
    assert np.abs(change).mean() < 3


def test_the_orientation_survives_a_broken_exif_block():
    exif = Image.Exif()
    exif[0x0112], exif[0x011A] = 6, 72.0
    content = saved(Image.new("RGB", (6, 4)), "JPEG", exif=exif)
    entry = content.index(bytes.fromhex("011a0005"))  # a tag, and that it is a fraction
    text = content[: entry + 3] + b"\x02" + content[entry + 4 :]  # now it claims to be text
    assert decode(text).size == (4, 6)


def test_of_a_phone_file_with_two_images_the_first_is_read():
    first, second = (Image.new("RGB", (20, 10), colour) for colour in ("red", "blue"))
    red, green, blue = pixel(saved(first, "MPO", save_all=True, append_images=[second]))
    assert red > 245 and green < 10 and blue < 10


def test_a_damaged_file_of_any_format_decodes_or_raises_a_value_error():
    draw = random.Random(0)
    noise = Image.frombytes("RGB", (16, 12), draw.randbytes(576))
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x011A] = 6, "maker", 72.0
    for kind in ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM", "GIF"):
        whole = saved(noise, kind, **({"exif": exif} if kind in ("JPEG", "PNG", "WEBP", "TIFF") else {}))
        for _ in range(200):
            damaged = bytearray(whole)
            for _ in range(3):
                damaged[int(len(damaged) * draw.random() ** 2)] = draw.choice([0, 127, 128, 255])
            try:
                assert decode(bytes(damaged), reduce=8).mode == "RGB"
            except ValueError as error:
                assert str(error).startswith(("cannot be decoded: ", "is not an image", "has "))


def test_greyscale_and_palettes_become_rgb():
    assert pixel(saved(Image.new("L", (2, 2), 77))) == (77, 77, 77)
    assert pixel(saved(Image.new("1", (2, 2), 1))) == (255, 255, 255)
    assert pixel(saved(Image.new("RGB", (2, 2), (250, 10, 5)).quantize(4))) == (250, 10, 5)


@pytest.mark.parametrize(("alpha", "expected"), [(255, (200, 0, 0)), (0, (255, 255, 255))])
def test_transparent_pixels_become_white(alpha, expected):
    assert pixel(saved(Image.new("RGBA", (2, 2), (200, 0, 0, alpha)))) == expected


def test_a_transparent_palette_colour_becomes_white():
    image = Image.new("P", (2, 2), 1)
    image.putpalette([0, 0, 0, 9, 9, 9])
    assert pixel(saved(image, transparency=1)) == (255, 255, 255)


@pytest.mark.parametrize(("value", "expected"), [(0, 0), (65535, 255), (257 * 100, 100)])
def test_sixteen_bit_grey_is_scaled(value, expected):
    image = Image.fromarray(np.full((2, 2), value, np.uint16))
    assert pixel(saved(image)) == pixel(saved(image, "TIFF")) == (expected,) * 3


def test_cmyk_becomes_rgb():
    red, green, blue = pixel(saved(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=100))
    assert red > 245 and green < 10 and blue < 10


def test_of_an_animation_the_first_frame_is_read():
    frames = [Image.new("RGB", (2, 2), colour) for colour in ("red", "blue")]
    assert pixel(saved(frames[0], "GIF", save_all=True, append_images=frames[1:])) == (255, 0, 0)


def test_floating_point_pixels_are_refused():
    with pytest.raises(ValueError, match="has floating-point pixels; expected 8 or 16 bits"):
        decode(saved(Image.fromarray(np.zeros((2, 2), np.float32)), "TIFF"))


def test_grey_of_more_than_16_bits_is_refused_and_not_truncated():
    with pytest.raises(ValueError, match="has grey of 32 bits; expected 8 or 16 bits"):
        decode(saved(Image.fromarray(np.full((2, 2), 2**20, np.int32)), "TIFF"))


def test_a_panorama_is_read_and_an_endless_strip_refused():
    assert decode(saved(Image.new("L", (3000, 10)))).size == (3000, 10)
    with pytest.raises(ValueError, match="has 3000 x 2 pixels; at most 1,000 : 1 is accepted"):
        decode(saved(Image.new("L", (3000, 2))))


def test_a_decompression_bomb_is_refused_before_it_is_decoded(monkeypatch):
    monkeypatch.setattr(decoding, "MAX_PIXELS", 1000)
    with pytest.raises(ValueError, match="has 40 x 30 pixels; at most 1,000 are accepted"):
        decode(saved(Image.new("RGB", (40, 30))))
