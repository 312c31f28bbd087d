"""What a file is that decoding.py does not read, by its first bytes, and what to do about it."""

import re

CONVERT = "save it as JPEG or PNG"
LIBHEIF = f"{CONVERT}, such as with `heif-convert photo.heic photo.jpg`"
RAW = f"develop it: {CONVERT}"
BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), ("a damaged AVIF image", "download or export it again")),
    **dict.fromkeys(
        (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"),
        ("an HEIC image", LIBHEIF),
    ),
    b"crx ": ("a raw photo (CR3)", RAW),
}
"""By the brand in an ISO media file, the container of films and of some images."""
KINDS: list[tuple[str, str, str]] = [
    (
        r"\xff\x0a|\0\0\0\x0cJXL ",
        "a JPEG XL image",
        f"{CONVERT}, such as with `djxl photo.jxl photo.png`",
    ),
    (r"\0\0\0\x0cjP  |\xff\x4f\xff\x51", "a JPEG 2000 image", CONVERT),
    (r"FUJIFILMCCD-RAW|II[RU][OS\0]|MMOR", "a raw photo", RAW),
    (
        r"II\*\0|MM\0\*|II\+\0|MM\0\+",
        "a TIFF of a kind that is not read",
        f"{CONVERT}, or as 8-bit RGB TIFF",
    ),
    (r"8BPS", "a Photoshop file", CONVERT),
    (r"\x76\x2f\x31\x01|#\?RADIANCE", "an HDR image", CONVERT),
    (r"\0\0[\x01\x02]\0[^\0]\0|icns", "an icon", CONVERT),
    (r"DDS |qoif|P7\n|SIMPLE  =|.{128}DICM", "an image of a kind that is not read", CONVERT),
    (
        r"(\xef\xbb\xbf)?\s*(<\?xml.*)?(<!--.*)?<svg",
        "an SVG drawing",
        f"{CONVERT}, such as with Inkscape",
    ),
    (r"%PDF", "a PDF document", f"{CONVERT}, such as with `pdftoppm -png`"),
    (r"%!PS|\xc5\xd0\xd3\xc6", "a PostScript drawing", CONVERT),
    (
        r"(\xef\xbb\xbf)?\s*(<!--.*)?<(!doctype\s+html|html|head|body)",
        "an HTML page, most likely an error that a server sent",
        "download it again",
    ),
    (
        r"....ftyp|\x1a\x45\xdf\xa3|RIFF....AVI |\0\0\x01[\xba\xb3]|FLV\x01",
        "a video",
        "save frames of it as JPEG, such as with ffmpeg",
    ),
    (
        r"version https://git-lfs\.github\.com/spec/",
        "a pointer of Git LFS, not the image itself",
        "run `git lfs pull`",
    ),
    (r"\0\x05\x16[\0\x07]", "what macOS keeps beside a file", "remove it"),
    (r"PK\x03\x04|\x1f\x8b|7z\xbc\xaf|Rar!|BZh|\xfd7zXZ", "an archive", "unpack it"),
    (r"RIFF....WEBP", "a damaged WebP image", "download or export it again"),
    (r"\xff\xd8|\x89PNG|GIF8|BM|P[1-6]\s", "a damaged image", "download or export it again"),
    (r"\0{32}", "zeros: a copy or download of it failed", "copy or download it again"),
    (r"(\xef\xbb\xbf)?[\t\n\r -~]{16}", "text", "remove it"),
]
"""A pattern of the first bytes, what such a file is, and what to do. The first that matches counts."""
HEAD = 512


def what_it_is(content: bytes) -> tuple[str, str]:
    """What a file is that is no readable image, and what to do about it; ("", "") if unknown."""
    head = content[:HEAD]
    if head[4:8] == b"ftyp" and head[8:12] in BRANDS:
        return BRANDS[head[8:12]]
    for pattern, name, advice in KINDS:
        if re.match(pattern.encode("latin-1"), head, re.DOTALL | re.IGNORECASE):
            return name, advice
    return "", ""
