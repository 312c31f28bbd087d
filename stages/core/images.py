"""Is a file a picture that training can read? Every one is decoded in full, once."""

import hashlib
import io
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM", "GIF")
"""What both Pillow and OpenCV decode: Pillow checks, MMPretrain's loader reads with OpenCV."""
MAX_PIXELS = 250_000_000
"""A larger picture is taken for a decompression bomb; the largest phone sensors have 200 million."""


@dataclass(frozen=True)
class CheckedImage:
    sha256: str
    """Of the file's bytes, 64 hex digits."""
    width: int
    height: int
    problem: str
    """Why it cannot be used; empty when it can."""


def check_image(path: Path) -> CheckedImage:
    """Hash and decode one file."""
    try:
        content = path.read_bytes()
    except OSError as error:
        return CheckedImage("", 0, 0, f"cannot be read: {error.strerror}")
    sha256 = hashlib.sha256(content).hexdigest()
    width = height = 0
    Image.MAX_IMAGE_PIXELS = None  # the limit is ours, below: Pillow's would refuse real photos
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                problem = f"has {width} x {height} pixels; at most {MAX_PIXELS:,} are accepted"
                return CheckedImage(sha256, width, height, problem)
            image.load()
    except UnidentifiedImageError:
        what = "is empty" if not content else "is not a picture"
        return CheckedImage(sha256, width, height, f"{what} ({', '.join(FORMATS)} are read)")
    except (OSError, SyntaxError, ValueError, EOFError, IndexError) as error:
        return CheckedImage(sha256, width, height, f"cannot be decoded: {error}")
    return CheckedImage(sha256, width, height, "")


def check_images(paths: list[Path], processes: int) -> Iterator[CheckedImage]:
    """`check_image` of every path, in their order, on several processes (0: in this one)."""
    if processes == 0 or len(paths) < 64:
        yield from map(check_image, paths)
        return
    with ProcessPoolExecutor(processes) as pool:
        yield from pool.map(check_image, paths, chunksize=16)
