"""From a file to pixels, by one rule, wherever an image is read.

What becomes of each kind of pixels, with 8 bits a channel where nothing else is said:

- RGB is taken as it is. Colour profiles, gamma and chromaticities are ignored, in every format.
- Grey of 1, 2, 4, 8, 12 or 16 bits is scaled by its depth (black 0, white 255) and becomes RGB. In a
  PPM the declared maximum is white. A TIFF whose zero is white is inverted.
- 16-bit colour keeps its upper 8 bits. An AVIF of 10 or 12 bits is scaled by its decoder.
- Palettes of 1 to 8 bits become RGB.
- Transparent pixels are composited on white, whether a channel, a palette or one colour says so. Colours
  that were multiplied by their alpha are divided first. A BMP whose alpha is 0 everywhere is opaque.
- CMYK, YCbCr and LAB become RGB as Pillow converts them. Adobe's inverted CMYK JPEG is known.
- The EXIF orientation is applied: the image is turned as a viewer shows it.
- Of an animated file or a TIFF with many pages, the first frame or page is read.

These are refused, because a guess would be silently wrong: signed, 32-bit and floating-point values;
values of 8 bits or fewer stored as 16 bits, which would be black; an uncompressed TIFF of 16 bits in
separate planes, which Pillow misreads; a raw photo, whose first page is a thumbnail.

While it decodes, a process needs at most `BYTES_PER_PIXEL` beside the file's own bytes.
"""

import io
import stat
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import AvifImagePlugin, Image, PngImagePlugin, UnidentifiedImageError

from stages.core.images.kinds import what_it_is

RULE = 3
"""Increase it when files decode to other pixels than before; caches of checks and pixels then expire."""
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "BMP", "TIFF", "PPM", "GIF")
MAX_BYTES = 2 * 10**9
"""A larger file is not read into memory: it is no image, but a film or the like."""
MAX_PIXELS = 200_000_000
"""A larger image is taken for a decompression bomb; the largest phone sensors have 200 million."""
MAX_FRAME_PIXELS = 100_000_000
"""The same for WebP and AVIF, whose decoders hold several copies."""
BYTES_PER_PIXEL = 12
"""The memory that decoding needs at most; 24 for WebP and AVIF. So no image needs more than 2.4 GB."""
MAX_ASPECT = 1000
"""Long side to short side. A longer strip, scaled by its short side, would fill the memory."""
MAX_SCANS = 1000
"""A progressive JPEG has about ten. Each scan passes over the whole image, however few bytes it has."""
STRIP = 2**20
"""Pixels that are converted at a time, so that no conversion holds a second copy of a large image."""
TURNS = {  # EXIF orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

UNREADABLE = (
    OSError,
    SyntaxError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    ValueError,
    OverflowError,
    ZeroDivisionError,
    MemoryError,
    RuntimeError,
    struct.error,
)
"""What Pillow raises for damaged files."""

Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit would refuse such photos; ours is checked in decode()
AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # there is a process for each core already
# Pillow refuses a PNG with more than 1 MB of text or profile, which good files have
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = 64 * 2**20


def read_file(path: Path) -> bytes:
    """The file's bytes. Raises ValueError for a file that could hang its reader or fill the memory."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("is a device or a pipe")
    if status.st_size > MAX_BYTES:
        raise ValueError(f"has {status.st_size / 1e9:.1f} GB; at most {MAX_BYTES / 1e9:.0f} GB are read")
    return path.read_bytes()


class Refused(ValueError):
    """The file is intact, but its size or pixel format is not accepted."""


def decode(content: bytes, reduce: int = 0) -> Image.Image:
    """The file's pixels as an RGB image. Raises ValueError that says what is wrong with the file.

    reduce: the short side that a larger image is scaled down to, in pixels; 0 keeps every pixel. A
    JPEG is then decoded at a half, a quarter or an eighth of its size where that is enough, which takes
    a phone photo a fraction of the time.
    """
    return decode_with_doubts(content, reduce)[0]


def decode_with_doubts(content: bytes, reduce: int = 0) -> tuple[Image.Image, list[str]]:
    """`decode`, and the warnings meanwhile: Pillow's, and those of this file."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        image = read(content, reduce)
    return image, [" ".join(str(warning.message).split()) for warning in caught]


def read(content: bytes, reduce: int) -> Image.Image:
    # read, and convert to RGB
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as file:
            width, height = file.size
            check_size(file)
            check_kind(file, content)
            if reduce:
                file.draft(None, (reduce, reduce))  # at least that; does nothing to other formats
            file.load()
            # not ImageOps.exif_transpose, which writes the EXIF block anew and fails on a broken one
            orientation = file.getexif().get(0x0112)
            image = to_rgb(file, bits_per_channel(file, content))
    except Refused:
        raise
    except UnidentifiedImageError:
        raise ValueError(not_an_image(content)) from None
    except UNREADABLE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"cannot be decoded: {reason}") from error

    # turn
    if orientation in TURNS:
        image = image.transpose(TURNS[orientation])
        if orientation >= 5:
            width, height = height, width

    # reduce
    short = min(width, height)
    if reduce and short > reduce:
        size = (round(width * reduce / short), round(height * reduce / short))
        image = image.resize(size, Image.Resampling.BICUBIC)
    return image


def not_an_image(content: bytes) -> str:
    if not content:
        return "is empty"
    name, advice = what_it_is(content)
    return f"is {name}: {advice}" if name else f"is not an image ({', '.join(FORMATS)} are read)"


# --- what is refused ----------------------------------------------------------------------------------


def check_size(file: Image.Image) -> None:
    width, height = file.size
    limit = MAX_FRAME_PIXELS if file.format in ("WEBP", "AVIF") else MAX_PIXELS
    if width * height > limit:
        raise Refused(f"has {width} x {height} pixels; at most {limit:,} are accepted: reduce it")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise Refused(f"has {width} x {height} pixels; at most {MAX_ASPECT:,} : 1 is accepted")


def check_kind(file: Image.Image, content: bytes) -> None:
    """Refuse what Pillow would read wrongly, and what would take for ever."""
    if file.mode == "F":
        raise Refused("has floating-point pixels; expected 8 or 16 bits")
    if file.format == "TIFF":
        tags = file.tag_v2
        if tags.get(254, 0) & 1 or 50706 in tags or content[8:10] == b"CR":  # NewSubfileType, DNGVersion
            raise Refused("is a raw photo, whose first page is a thumbnail: save it as JPEG or PNG")
        if 32 in tags.get(258, ()):  # BitsPerSample
            raise Refused("has grey of 32 bits; expected 8 or 16 bits")
        if 2 in tags.get(339, ()):  # SampleFormat
            raise Refused("has signed values; expected unsigned ones of 8 or 16 bits")
        # PlanarConfiguration, BitsPerSample, Compression: Pillow would take every second byte
        if tags.get(284) == 2 and 16 in tags.get(258, ()) and tags.get(259, 1) == 1:
            raise Refused(
                "has uncompressed 16 bits in separate planes: save it with interleaved channels"
            )
    if file.format == "PNG" and file.mode == "P" and file.palette is None:
        raise Refused("has no palette")
    if file.info.get("progressive") and content.count(b"\xff\xda") > MAX_SCANS:
        raise Refused(f"has more than {MAX_SCANS:,} scans: save it again")


def check_range(file: Image.Image, bits: int) -> None:
    """Refuse 16-bit values that would all be black, and warn of those that will be dark."""
    if file.mode == "CMYK" or bits < 16:
        return
    if file.mode.startswith("I"):
        highest = max(int(np.asarray(strip).max()) for strip, _ in strips(file))
        black = 0 < highest <= 255
    else:  # Pillow keeps the upper 8 bits
        highest = max(high for _, high in file.getextrema()[:3]) * 256 + 255
        black = highest == 255
    if black:
        raise Refused(
            "has 16 bits and no value above 255, so it would be black: save it with 8 bits, "
            "or scale its values to 65535"
        )
    if 0 < highest < 2**14:
        warnings.warn(
            f"has 16 bits and no value above {highest}, so it is dark: scale its values to 65535",
            stacklevel=2,
        )


# --- from any pixels to RGB ---------------------------------------------------------------------------


def bits_per_channel(file: Image.Image, content: bytes) -> int:
    if file.format == "PNG":
        return content[24]
    if file.format == "TIFF":
        return file.tag_v2.get(258, (1,))[0]
    return 16 if file.mode.startswith("I") else 8


def to_rgb(file: Image.Image, bits: int) -> Image.Image:
    # what holds for all of the image
    check_range(file, bits)
    key = file.info.get("transparency")  # of a PNG, the transparent grey or colour in its own bits
    if file.mode == "L" and bits < 8 and isinstance(key, int):
        file.info["transparency"] = key * 255 // (2**bits - 1)
    if file.mode == "RGB" and bits == 16 and isinstance(key, tuple):
        file.info["transparency"] = tuple(value >> 8 for value in key)
    white = 2**bits - 1
    inverted = file.format == "TIFF" and file.tag_v2.get(262) == 0  # PhotometricInterpretation
    opaque = file.format == "BMP" and file.mode == "RGBA" and file.getextrema()[3][1] == 0

    def converted(image: Image.Image) -> Image.Image:
        if image.mode.startswith("I"):
            return grey_to_rgb(image, white, inverted)
        return image.convert("RGB") if opaque else on_white(image)

    # convert it
    if file.mode == "RGB" and "transparency" not in file.info:
        return file
    if file.width * file.height <= STRIP:
        return converted(file)
    rgb = Image.new("RGB", file.size)
    for strip, box in strips(file):
        rgb.paste(converted(strip), box)
    return rgb


def strips(image: Image.Image) -> Iterator[tuple[Image.Image, tuple[int, int, int, int]]]:
    """Copies of parts of the image from top to bottom, and where they are."""
    rows = max(1, STRIP // image.width)
    for top in range(0, image.height, rows):
        box = (0, top, image.width, min(top + rows, image.height))
        yield image.crop(box), box


def grey_to_rgb(image: Image.Image, white: int, inverted: bool) -> Image.Image:
    """Grey of more than 8 bits."""
    values = np.asarray(image)
    grey = (values.astype(np.uint32) * 255 // white).astype(np.uint8)
    if inverted:  # Pillow inverts 8 bits and fewer
        grey = 255 - grey
    if isinstance(key := image.info.get("transparency"), int):
        grey[values == key] = 255
    return Image.fromarray(grey).convert("RGB")


def on_white(image: Image.Image) -> Image.Image:
    if image.mode == "La":
        image = image.convert("LA")
    if image.mode in ("LA", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")
