"""From a file to pixels, by one rule, wherever a picture is read.

- The EXIF orientation is applied: the picture stands as a viewer shows it.
- Greyscale and palettes become RGB; transparent pixels are laid on white.
- 16-bit grey is scaled to 8 bits (65535 becomes 255); 16-bit colour keeps its upper 8 bits.
- CMYK becomes RGB as Pillow converts it, without colour profiles.
- Of an animated file or a TIFF of many pages the first counts.
"""

import io

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

RULE = 1
"""To be raised when a file decodes to other pixels than before: what was found is then found anew."""
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM", "GIF")
MAX_PIXELS = 250_000_000
"""A larger picture is taken for a decompression bomb; the largest phone sensors have 200 million."""

Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit would refuse such photos; ours stands in decode()


def decode(content: bytes, reduce: int = 0) -> Image.Image:
    """The file's pixels as an RGB picture. Raises ValueError that says what is wrong with the file.

    reduce: the short side that a larger picture is scaled down to, in pixels; 0 keeps every pixel. A
    JPEG is then decoded at a half, a quarter or an eighth of its size where that is enough, which takes
    a phone photo a fraction of the time.
    """
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise ValueError(f"has {width} x {height} pixels; at most {MAX_PIXELS:,} are accepted")
            if image.getexif().get(0x0112) in (5, 6, 7, 8):  # orientation: turned by a quarter
                width, height = height, width
            if reduce:
                image.draft(None, (reduce, reduce))  # at least that; does nothing to other formats
            image.load()
            picture = to_rgb(ImageOps.exif_transpose(image))
    except UnidentifiedImageError:
        what = "is not a picture" if content else "is empty"
        raise ValueError(f"{what} ({', '.join(FORMATS)} are read)") from None
    except (OSError, SyntaxError, EOFError, IndexError, TypeError, OverflowError) as error:
        raise ValueError(f"cannot be decoded: {error}") from error
    short = min(width, height)
    if reduce and short > reduce:
        size = (round(width * reduce / short), round(height * reduce / short))
        picture = picture.resize(size, Image.Resampling.BICUBIC)
    return picture


def to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits, in a mode of 16 or 32
        grey = np.asarray(image).clip(0, 65535) // 257
        return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ValueError("has floating-point pixels; expected 8 or 16 bits")
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")
