"""Every kind of image becomes 8-bit RGB by the same rule."""

import io
import random
import re
import resource
import struct
import subprocess
import sys
import zlib
from pathlib import Path

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
    for kind in decoding.FORMATS:
        whole = saved(
            noise, kind, **({"exif": exif} if kind in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF") else {})
        )
        for _ in range(200):
            damaged = bytearray(whole)
            for _ in range(3):
                damaged[int(len(damaged) * draw.random() ** 2)] = draw.choice([0, 127, 128, 255])
            try:
                assert decode(bytes(damaged), reduce=8).mode == "RGB"
            except ValueError as error:
                assert str(error).startswith(("cannot be decoded: ", "is ", "has "))


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


# --- each mode and depth, with known values -----------------------------------------------------------


def png(row: bytes, width: int, depth: int, colour: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of one row; colour: 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGBA."""
    header = struct.pack(">IIBBBBB", width, 1, depth, colour, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(b"\0" + row)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )


def tiff(
    data: bytes, width: int, bits: tuple[int, ...], photometric: int, order: str = "<", **tags: int
) -> bytes:
    """A TIFF of one row. photometric: 0 zero is white, 1 grey, 2 RGB, 5 CMYK, 6 YCbCr, 8 LAB. tags: t284=2
    is tag 284 with the value 2."""
    values = {256: [width], 257: [1], 258: bits, 259: [1], 262: [photometric], 277: [len(bits)]}
    values |= {278: [1], 279: [len(data)], 273: [0]}
    values |= {int(tag[1:]): [value] for tag, value in tags.items()}
    start = 8 + 2 + 12 * len(values) + 4
    long, extra = b"", start
    values[273] = [extra + (2 * len(bits) if len(bits) > 2 else 0)]
    entries = struct.pack(order + "H", len(values))
    for tag, numbers in sorted(values.items()):
        packed = struct.pack(order + f"{len(numbers)}H", *numbers)
        if len(packed) > 4:
            long, packed = packed, struct.pack(order + "I", extra)
        entries += struct.pack(order + "HHI", tag, 3, len(numbers)) + packed.ljust(4, b"\0")
    mark = b"II" if order == "<" else b"MM"
    return mark + struct.pack(order + "HI", 42, 8) + entries + bytes(4) + long + data


def bmp(bits: int, compression: int, data: bytes, rest: bytes = b"", header: int = 40) -> bytes:
    """A BMP of two pixels in a row; rest: masks or palette."""
    offset = 14 + header + (len(rest) if header == 40 else 0)
    info = struct.pack("<IiiHHIIiiII", header, 2, 1, 1, bits, compression, len(data), 0, 0, 0, 0)
    rest = rest if header == 40 else rest.ljust(header - 40, b"\0")
    return b"BM" + struct.pack("<IHHI", offset + len(data), 0, 0, offset) + info + rest + data


def words(*values: int, order: str = ">") -> bytes:
    return struct.pack(f"{order}{len(values)}H", *values)


def row(content: bytes) -> list:
    """The pixels of a row, a grey one as one number."""
    image = decode(content)
    pixels = [image.getpixel((x, 0)) for x in range(image.width)]
    return [pixel[0] if len(set(pixel)) == 1 else pixel for pixel in pixels]


PALETTE = (b"PLTE", bytes([10, 20, 30, 40, 50, 60, 70, 80, 90]))
COLOURS = [(10, 20, 30), (40, 50, 60), (70, 80, 90)]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (png(b"\x40", 2, 1, 0), [0, 255]),
        (png(b"\x1b", 4, 2, 0), [0, 85, 170, 255]),
        (png(b"\x07\x8f", 4, 4, 0), [0, 119, 136, 255]),
        (png(words(0, 25700, 65535), 3, 16, 0), [0, 100, 255]),
        (png(bytes([100, 255, 100, 0, 100, 128]), 3, 8, 4), [100, 255, 177]),
        (png(words(25700, 65535, 25700, 0), 2, 16, 4), [100, 255]),
        (png(words(65535, 25700, 0, 1, 2, 3), 2, 16, 2), [(255, 100, 0), 0]),
        (png(words(65535, 25700, 0, 65535, 1, 2, 3, 0), 2, 16, 6), [(255, 100, 0), 255]),
        (png(b"\x40", 2, 1, 3, PALETTE), COLOURS[:2]),
        (png(b"\x18", 3, 2, 3, PALETTE), COLOURS),
        (png(b"\x01\x20", 3, 4, 3, PALETTE), COLOURS),
        (png(b"\0\1\2", 3, 8, 3, PALETTE, (b"tRNS", b"\xff\0\x80")), [COLOURS[0], 255, (162, 167, 172)]),
        # a transparent grey or colour, in the file's own bits
        (png(b"\x40", 2, 1, 0, (b"tRNS", words(0))), [255, 255]),
        (png(b"\x1b", 4, 2, 0, (b"tRNS", words(1))), [0, 255, 170, 255]),
        (png(b"\x07\x8f", 4, 4, 0, (b"tRNS", words(7))), [0, 255, 136, 255]),
        (png(b"\x07\x8f", 2, 8, 0, (b"tRNS", words(7))), [255, 143]),
        (png(words(0, 25700, 65535), 3, 16, 0, (b"tRNS", words(25700))), [0, 255, 255]),
        (png(bytes([9, 8, 7, 1, 2, 3]), 2, 8, 2, (b"tRNS", words(9, 8, 7))), [255, (1, 2, 3)]),
        (
            png(words(0x1264, 25700, 0, 65535, 0, 0), 2, 16, 2, (b"tRNS", words(0x1264, 25700, 0))),
            [255, (255, 0, 0)],
        ),
    ],
)
def test_a_png_of_each_depth_has_known_pixels(content, expected):
    assert row(content) == expected


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("data", "bits", "photometric", "tags", "expected"),
    [
        (b"\x40", (1,), 1, {}, [0, 255]),
        (b"\x40", (1,), 0, {}, [255, 0]),
        (b"\x1b", (2,), 1, {}, [0, 85, 170, 255]),
        (b"\x07\x8f", (4,), 0, {}, [255, 136, 119, 0]),
        (b"\0\x64\xff", (8,), 1, {}, [0, 100, 255]),
        (b"\0\x64\xff", (8,), 0, {}, [255, 155, 0]),
        ([0, 25700, 65535], (16,), 1, {}, [0, 100, 255]),
        (bytes([1, 2, 3, 4, 5, 6]), (8,) * 3, 2, {}, [(1, 2, 3), (4, 5, 6)]),
        ([65535, 25700, 0, 1, 2, 3], (16,) * 3, 2, {}, [(255, 100, 0), 0]),
        ([65535, 25700, 0, 0] * 2, (16,) * 4, 2, {"t338": 2}, [255, 255]),
        (bytes([1, 2, 3, 0]), (8,) * 4, 2, {"t338": 0}, [(1, 2, 3)]),
        (bytes([50, 25, 0, 128]), (8,) * 4, 2, {"t338": 1}, [(177, 152, 127)]),
        (bytes([50, 255, 4, 0]), (8, 8), 1, {"t338": 2}, [50, 255]),
        (bytes([50, 128, 0, 0]), (8, 8), 1, {"t338": 1}, [177, 255]),
        (bytes([0, 255, 255, 0, 0, 0, 0, 255]), (8,) * 4, 5, {}, [(255, 0, 0), 0]),
        (bytes([76, 85, 255, 255, 128, 128]), (8,) * 3, 6, {}, [(254, 0, 0), 255]),
        (bytes([136, 81, 70]), (8,) * 3, 8, {}, [(250, 2, 3)]),
    ],
)
def test_a_tiff_of_each_kind_has_known_pixels(order, data, bits, photometric, tags, expected):
    content = words(*data, order=order) if isinstance(data, list) else data
    assert row(tiff(content, len(expected), bits, photometric, order, **tags)) == expected


def test_16_bits_whose_zero_is_white_are_inverted():
    assert row(tiff(words(0, 25700, 65535, order="<"), 3, (16,), 0)) == [255, 155, 0]


def test_12_bits_are_scaled_by_their_own_white():
    assert row(tiff(bytes([0x00, 0x07, 0xFF, 0xFF, 0xF0, 0x00]), 4, (12,), 1)) == [0, 127, 255, 0]


def test_a_large_image_is_converted_as_a_small_one(monkeypatch):
    draw = random.Random(0)
    image = Image.frombytes("RGBA", (40, 30), draw.randbytes(4800))
    kinds = [saved(image), saved(image.convert("P")), saved(image.convert("CMYK"), "TIFF")]
    kinds += [saved(Image.fromarray(np.arange(1200, dtype=np.uint16).reshape(30, 40) * 50))]
    whole = [decode(content).tobytes() for content in kinds]
    monkeypatch.setattr(decoding, "STRIP", 100)
    assert [decode(content).tobytes() for content in kinds] == whole


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"P1 2 1\n0 1\n", [255, 0]),
        (b"P4 2 1\n\x40", [255, 0]),
        (b"P5 3 1 100\n" + bytes([0, 50, 100]), [0, 128, 255]),
        (b"P5 3 1 1023\n" + words(0, 512, 1023), [0, 127, 255]),
        (b"P5 3 1 65535\n" + words(0, 25700, 65535), [0, 100, 255]),
        (b"P2 3 1 1023\n0 512 1023\n", [0, 127, 255]),
        (b"P6 1 1 1023\n" + words(0, 512, 1023), [(0, 128, 255)]),
        (bmp(1, 0, b"\x40\0\0\0", bytes([30, 20, 10, 0, 60, 50, 40, 0])), COLOURS[:2]),
        (bmp(16, 0, struct.pack("<HH", 0x7C00, 0x03E0)), [(255, 0, 0), (0, 255, 0)]),
        (bmp(32, 0, bytes([3, 2, 1, 0, 6, 5, 4, 255])), [(1, 2, 3), (4, 5, 6)]),
        (bmp(8, 1, bytes([1, 0, 1, 1, 0, 1]), bytes([30, 20, 10, 0, 60, 50, 40, 0] * 128)), COLOURS[:2]),
    ],
)
def test_a_ppm_or_bmp_of_each_depth_has_known_pixels(content, expected):
    assert row(content) == expected


@pytest.mark.parametrize(("alpha", "expected"), [(0, [(1, 2, 3), (4, 5, 6)]), (255, [255, (4, 5, 6)])])
def test_a_bmp_with_alpha_0_everywhere_is_opaque(alpha, expected):
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    assert row(bmp(32, 3, bytes([3, 2, 1, 0, 6, 5, 4, alpha]), masks, header=108)) == expected


@pytest.mark.parametrize("kind", ["WEBP", "AVIF", "GIF", "PNG", "TIFF"])
def test_the_first_frame_is_read_in_each_format_that_has_several(kind):
    first, second = (Image.new("RGB", (32, 32), colour) for colour in ("red", "blue"))
    red, green, blue = pixel(saved(first, kind, save_all=True, append_images=[second]))
    assert red > 240 and green < 12 and blue < 12


def test_a_cmyk_jpeg_is_read_alike_with_and_without_adobe():
    content = saved(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=100)
    assert b"Adobe" in content
    red, green, blue = pixel(content)
    assert red > 245 and green < 10 and blue < 10


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (tiff(words(0, 100, 255, order="<"), 3, (16,), 1), "16 bits and no value above 255"),
        (png(words(0, 100, 255), 1, 16, 2), "16 bits and no value above 255"),
        (tiff(struct.pack("<3I", 0, 100, 255), 3, (32,), 1), "grey of 32 bits"),
        (tiff(words(0, 100, 3000, order="<"), 3, (16,), 1, t339=2), "signed values"),
        (tiff(bytes(3), 3, (8,), 1, t339=2), "signed values"),
        (tiff(words(65535, 1, 25700, 2, 0, 3), 2, (16,) * 3, 2, t284=2), "separate planes"),
        (tiff(bytes(6), 2, (8,) * 3, 2, t254=1), "a raw photo, whose first page is a thumbnail"),
        (
            tiff(words(0, 1, order=">"), 2, (16,), 0, ">"),
            "is a TIFF of a kind that is not read: save it",
        ),
        (png(b"\0\1", 2, 8, 3), "has no palette"),
    ],
)
def test_what_would_be_a_silent_guess_is_refused(content, expected):
    with pytest.raises(ValueError, match=expected):
        decode(content)


def test_values_of_12_bits_in_16_are_doubtful():
    image, doubts = decoding.decode_with_doubts(tiff(words(0, 4095, order="<"), 2, (16,), 1))
    assert image.getpixel((1, 0)) == (15, 15, 15)
    assert doubts == ["has 16 bits and no value above 4095, so it is dark: scale its values to 65535"]


@pytest.mark.parametrize("kind", [b"zTXt", b"iCCP"])
def test_a_png_with_much_text_or_a_large_profile_is_read(kind):
    much = (kind, b"name\0\0" + zlib.compress(random.Random(0).randbytes(3_000_000).hex().encode()))
    assert row(png(bytes([1, 2, 3]), 1, 8, 2, much)) == [(1, 2, 3)]


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (b"\0\0\0\x18ftypheic", "is an HEIC image: .*heif-convert"),
        (b"\0\0\0\x18ftypcrx ", "is a raw photo"),
        (b"\0\0\0\x18ftypisom", "is a video"),
        (b"\xff\x0a\xfa\x7f", "is a JPEG XL image: .*djxl"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "is a JPEG 2000 image"),
        (b'<?xml version="1.0"?>\n<svg xmlns="x">', "is an SVG drawing"),
        (b"%PDF-1.7", "is a PDF document"),
        (b"\n<!DOCTYPE html><html>", "is an HTML page, most likely an error that a server sent"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS.*git lfs pull"),
        (b"PK\3\4", "is an archive: unpack it"),
        (b"8BPS\0\1", "is a Photoshop file"),
        (bytes(100), "is zeros: a copy or download of it failed"),
        (b"just some words of text", "is text"),
        (b"", "is empty"),
        (b"\x91\x92", "is not an image"),
    ],
)
def test_a_file_that_is_no_readable_image_is_named_by_its_first_bytes(head, said):
    with pytest.raises(ValueError, match=said) as error:
        decode(head)
    assert "\n" not in str(error.value)


def test_a_jpeg_with_endless_scans_is_refused():
    content = saved(Image.new("RGB", (16, 16)), "JPEG", progressive=True)
    scan = content[content.rindex(b"\xff\xda") : -2]
    with pytest.raises(ValueError, match="has more than 1,000 scans"):
        decode(content[:-2] + 1000 * scan + content[-2:])


# --- limits -------------------------------------------------------------------------------------------

PEAK = """
import sys
from pathlib import Path
from stages.core.images.decoding import decode
def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
small, content = [Path(path).read_bytes() for path in sys.argv[1:]]
decode(small)
before = peak()
image = decode(content)
print((peak() - before) / (image.width * image.height))
"""


def large_files() -> dict[str, bytes]:
    image = Image.linear_gradient("L").resize((2400, 2000)).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    alpha = image.convert("RGBA")
    alpha.putalpha(image.getchannel(0))
    return {
        "alpha.png": saved(alpha),
        "palette.png": saved(image.quantize(8), transparency=bytes(range(8))),
        "grey16.png": saved(Image.fromarray(np.asarray(image)[:, :, 0].astype(np.uint16) * 257)),
        "cmyk.tif": saved(image.convert("CMYK"), "TIFF"),
        "turned.jpg": saved(image, "JPEG", exif=exif, progressive=True, subsampling=0),
        "alpha.webp": saved(alpha, "WEBP", method=0),
        "alpha.avif": saved(alpha, "AVIF", speed=10),
    }


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from Linux's /proc")
def test_the_memory_that_decoding_needs_is_bounded_for_each_pixel(tmp_path):
    """The peak of a process for each; a byte more for each pixel is what libraries need once."""
    small = tmp_path / "small.png"
    small.write_bytes(saved(Image.new("RGB", (8, 8))))
    for name, content in large_files().items():
        (tmp_path / name).write_bytes(content)
        command = [sys.executable, "-c", PEAK, str(small), str(tmp_path / name)]
        needed = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        frames = name.endswith(("webp", "avif"))
        assert 3 < needed < decoding.BYTES_PER_PIXEL * (2 if frames else 1) + 1, name


def damaged(content: bytes, draw: random.Random) -> bytes:
    """With bits flipped, bytes set, parts removed, swapped or doubled, or the end cut off."""
    parts = bytearray(content)
    for _ in range(draw.randint(1, 4)):
        at, other, length = draw.randrange(len(parts)), draw.randrange(len(parts)), draw.randint(1, 64)
        match draw.randrange(6):
            case 0:
                parts[at] ^= 1 << draw.randrange(8)
            case 1:
                parts[at : at + 4] = draw.choice([b"\xff\xff\xff\xff", bytes(4), b"\x7f\xff\xff\xff"])
            case 2:
                del parts[at + 1 : at + length]
            case 3:
                parts[at : at + length], parts[other : other + length] = (
                    parts[other : other + length],
                    parts[at : at + length],
                )
            case 4:
                parts[at:at] = parts[at : at + length]
            case 5:
                del parts[at + 1 :]
    return bytes(parts)


def test_no_damaged_file_does_more_than_raise_a_value_error_of_one_line():
    draw = random.Random(0)
    image = Image.frombytes("RGB", (32, 24), draw.randbytes(2304))
    alpha, palette = image.convert("RGBA"), image.quantize(8)
    whole = [saved(image, kind) for kind in decoding.FORMATS]
    whole += [saved(image, "JPEG", progressive=True), saved(image.convert("CMYK"), "JPEG")]
    whole += [saved(alpha, kind) for kind in ("PNG", "WEBP", "AVIF", "TIFF")]
    whole += [saved(palette, kind) for kind in ("PNG", "GIF", "BMP")]
    whole += [
        saved(image, kind, save_all=True, append_images=[image]) for kind in ("PNG", "WEBP", "GIF")
    ]
    whole += [saved(image, "TIFF", compression=name) for name in ("tiff_lzw", "packbits")]
    whole += [tiff(words(*range(0, 9000, 1000)), 9, (16,), 1), b"P3 2 1 15\n1 2 3 4 5 6\n"]
    before = peak_memory()
    decoded = 0
    for _ in range(2000):
        try:
            result, doubts = decoding.decode_with_doubts(damaged(draw.choice(whole), draw), reduce=8)
            assert result.mode == "RGB" and not any("\n" in doubt for doubt in doubts)
            decoded += 1
        except ValueError as error:
            assert re.fullmatch(r"(cannot be decoded: |is |has ).+", str(error))
    assert decoded > 200
    assert peak_memory() - before < 400e6


def peak_memory() -> float:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
