"""From a file to pixels, by one rule, wherever an image is read.

- The EXIF orientation is applied: the image is turned as a viewer shows it.
- Greyscale and palettes become RGB; transparent pixels are composited on white.
- 16-bit grey is scaled to 8 bits (65535 becomes 255); 16-bit colour keeps its upper 8 bits. An image
  with more bits, or with floating-point pixels, is refused.
- CMYK becomes RGB as Pillow converts it, without colour profiles.
- Of an animated file or a TIFF with many pages, the first frame or page is read.
"""

import io
import stat
import struct
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

RULE = 2
"""Increase it when files decode to other pixels than before; caches of checks and pixels then expire."""
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM", "GIF")
MAX_BYTES = 2 * 10**9
"""A larger file is not read into memory: it is no image, but a film or the like."""
MAX_PIXELS = 250_000_000
"""A larger image is taken for a decompression bomb; the largest phone sensors have 200 million."""
MAX_ASPECT = 1000
"""Long side to short side. A longer strip, scaled by its short side, would fill the memory."""
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
    TypeError,
    ValueError,
    OverflowError,
    struct.error,
)
"""What Pillow raises for damaged files."""

Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit would refuse such photos; ours is checked in decode()


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
    # read, and convert to RGB
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as file:
            width, height = file.size
            check_size(width, height)
            if reduce:
                file.draft(None, (reduce, reduce))  # at least that; does nothing to other formats
            file.load()
            # not ImageOps.exif_transpose, which writes the EXIF block anew and fails on a broken one
            orientation = file.getexif().get(0x0112)
            image = to_rgb(file)
    except Refused:
        raise
    except UnidentifiedImageError:
        kinds = ", ".join(FORMATS)
        raise ValueError(f"is not an image ({kinds} are read)" if content else "is empty") from None
    except UNREADABLE as error:
        raise ValueError(f"cannot be decoded: {error}") from error

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


def check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise Refused(f"has {width} x {height} pixels; at most {MAX_PIXELS:,} are accepted")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise Refused(f"has {width} x {height} pixels; at most {MAX_ASPECT:,} : 1 is accepted")


def to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits, in a mode of 16 or 32
        grey = np.asarray(image)
        if grey.min() < 0 or grey.max() > 65535:
            raise Refused("has grey of 32 bits; expected 8 or 16 bits")
        return Image.fromarray((grey // 257).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise Refused("has floating-point pixels; expected 8 or 16 bits")
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")
