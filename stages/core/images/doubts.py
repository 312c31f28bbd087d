"""What looks damaged in a file that can be read all the same.

Decoders fill what is missing and go on. So each format is asked for what its decoder does not say: the
warnings of libjpeg, the checksums and the end of a PNG, the end of a GIF or WebP, and what lies behind
the end. WebP and AVIF have neither warnings nor checksums, but write long runs of zeros only for large
flat images. At last, the pixels may show that an image was cut before it was saved.
"""

import os
import re
import sys
import tempfile
import zlib
from collections.abc import Iterator
from functools import cache
from typing import BinaryIO

import cv2
import numpy as np

BLANK = 2.0
"""Standard deviation of a channel, of 255. Below it in each, the image is almost one colour."""
CUT_SHARE = 0.1
"""The share of an image's height that is flat grey in one that was cut."""
CUT_GREY = 128
"""What decoders fill the rest of a cut JPEG with."""
ZEROS = 128
"""Bytes of 0 in a row that compressed data may hold, and one more for each `PIXELS_PER_ZERO`: a flat
WebP has one for about 10,000 pixels."""
PIXELS_PER_ZERO = 2560
TRAILERS = (b"MPF\0", b"MotionPhoto", b"MicroVideo", b"SEFT")
"""Phones keep more behind a photo's end, and say so by one of these: a second image or a film."""
PADDING = b"\0\xff \r\n"

MARKER = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")
"""The next of a JPEG's markers; within compressed data, the one that ends them."""


def find_doubts(content: bytes, pixels: np.ndarray) -> list[str]:
    """What is doubtful. pixels: (H, W, 3), what the file was decoded to."""
    if content.startswith(b"\xff\xd8"):
        doubts = [libjpeg_warning(content), behind_jpeg(content)]
    elif content.startswith(b"\x89PNG"):
        doubts = list(png_doubts(content))
    elif content.startswith(b"GIF8"):
        doubts = [] if content.rstrip(b"\0").endswith(b";") else ["it does not end as a GIF does"]
    elif content.startswith(b"RIFF"):
        doubts = [behind(content, 8 + int.from_bytes(content[4:8], "little"))]
        doubts += [zeros(data, pixels) for data in webp_data(content)]
    elif content[4:8] == b"ftyp":
        doubts = [zeros(content[content.find(b"mdat") :], pixels)]
    else:
        doubts = []
    return [doubt for doubt in [*doubts, *pixel_doubts(pixels)] if doubt]


def libjpeg_warning(content: bytes) -> str:
    """Pillow drops the warnings of libjpeg; OpenCV writes the first one to the process's stderr."""
    sys.stderr.flush()
    told = opened_by(os.getpid())
    stderr = os.dup(2)
    os.dup2(told.fileno(), 2)
    try:
        # all of the data is read, but only an eighth of the pixels is computed
        decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_8)
    except cv2.error:
        decoded = None
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
    if told.seek(0, os.SEEK_END):
        told.seek(0)
        warning = " ".join(told.read().decode("ascii", "replace").split())
        told.seek(0)
        told.truncate()
        return warning
    return "" if decoded is not None else "OpenCV cannot decode it"


@cache
def opened_by(process: int) -> BinaryIO:
    """A file for what a process writes; opening one for each image would take longer than decoding."""
    return tempfile.TemporaryFile(buffering=0)


def behind_jpeg(content: bytes) -> str:
    """Data behind the end of the image, unless they are what phones append, or padding."""
    if content.count(b"\xff\xd9") == 1 and content.rstrip(PADDING).endswith(b"\xd9"):
        return ""  # the only end is the file's: no need to look at each marker before it
    position = 2
    while position + 4 <= len(content):
        marker = MARKER.search(content, position)
        if not marker:
            return ""
        if content[marker.end() - 1] == 0xD9:
            return behind(content, marker.end())
        position = marker.end() + int.from_bytes(content[marker.end() : marker.end() + 2], "big")
    return ""


def behind(content: bytes, end: int) -> str:
    rest = content[end:]
    if not rest.strip(PADDING) or any(trailer in content for trailer in TRAILERS):
        return ""
    return f"{len(rest):,} bytes follow the end of the image"


def png_doubts(content: bytes) -> Iterator[str]:
    position = 8
    while position + 12 <= len(content):
        end = position + 12 + int.from_bytes(content[position : position + 4], "big")
        kind = content[position + 4 : position + 8]
        checksum = int.from_bytes(content[end - 4 : end], "big")
        if end > len(content) or zlib.crc32(content[position + 4 : end - 4]) != checksum:
            yield f"the checksum of its chunk {ascii(kind.decode('latin-1'))} is wrong"
        position = end
        if kind == b"IEND":
            yield behind(content, end)
            return
    yield "it does not end as a PNG does"


def webp_data(content: bytes) -> Iterator[bytes]:
    """What is compressed, and no metadata."""
    position = 12
    while position + 8 <= len(content):
        end = position + 8 + int.from_bytes(content[position + 4 : position + 8], "little")
        if content[position : position + 4] in (b"VP8 ", b"VP8L", b"ALPH", b"ANMF"):
            yield content[position + 8 : end]
        position = end + end % 2


def zeros(data: bytes, pixels: np.ndarray) -> str:
    height, width, _ = pixels.shape
    limit = ZEROS + height * width // PIXELS_PER_ZERO
    return (
        f"its compressed data hold more than {limit} zeros in a row" if bytes(limit + 1) in data else ""
    )


def pixel_doubts(pixels: np.ndarray) -> Iterator[str]:
    # almost one colour
    if cv2.meanStdDev(pixels)[1].max() < BLANK:
        yield "it is almost one colour"
        return

    # cut, and saved again
    rows = int(len(pixels) * CUT_SHARE)
    lower = pixels[len(pixels) - rows :]
    corner = abs(int(pixels[-1, 0, 0]) - CUT_GREY) <= 2  # spares a look at the rest
    if rows >= 4 and corner and lower.min() >= CUT_GREY - 2 and lower.max() <= CUT_GREY + 2:
        yield "its lower part is flat grey, as in a JPEG that was cut"
