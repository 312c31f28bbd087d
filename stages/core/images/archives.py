"""Zip and tar archives of images, unpacked beside the project's outputs.

An archive is unpacked into a derived folder that any stage can make again, so a fresh clone needs the
archive alone. Nothing in an archive can write outside that folder.
"""

import errno
import json
import lzma
import os
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath

import zstandard
from filelock import FileLock

from stages.core.files import replace_folder, write_json
from stages.core.layout import Layout

ENCRYPTED, UTF8 = 0x1, 0x800
"""Flags of a zip member."""
SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zstandard.ZstdError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,  # a compression that Python's zipfile does not know
    OSError,
)
NAME_ERRORS = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG)
"""Errors that names in an archive cause. Others, such as a full disk, have causes outside of it."""
MAX_UNPACKED_BYTES = 500 * 10**9
"""A larger archive is taken for a decompression bomb; ImageNet unpacks to 150 GB."""

MAX_HEADER_BYTES = 10**6


def is_archive(path: Path) -> bool:
    return path.name.lower().endswith(SUFFIXES) and not path.is_dir()


def unpacked_folder(root: Path, archive: Path) -> Path:
    """Where the archive's content is: `.work/unpacked/<path of the archive>`."""
    path, base = Path(os.path.abspath(archive)), os.path.abspath(root)
    return Layout(root).unpacked / path.relative_to(base if path.is_relative_to(base) else "/")


def unpack(root: Path, archive: Path) -> Path:
    """Unpack the archive unless its content is there already; returns the folder.

    Raises FileNotFoundError, or ValueError for a damaged or a hostile archive. After a failure, no
    unpacked file is left.
    """
    if not archive.is_file():
        raise FileNotFoundError(
            f"{archive} does not exist. If DVC tracks it, run `dvc pull {archive}.dvc`."
        )
    folder = unpacked_folder(root, archive)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):  # two stages at once, e.g. of two `dvc repro`
        if not is_unpacked(archive, folder):
            unpack_whole(archive, folder)
    return folder


def identity(archive: Path) -> dict[str, int]:
    status = archive.stat()
    return {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "inode": status.st_ino}


def marker_of(folder: Path) -> Path:
    """This file is written last: it shows that the folder is complete, and from which archive."""
    return folder.with_name(folder.name + ".json")


def is_unpacked(archive: Path, folder: Path) -> bool:
    marker = marker_of(folder)
    return folder.is_dir() and marker.is_file() and json.loads(marker.read_text()) == identity(archive)


def unpack_whole(archive: Path, folder: Path) -> None:
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)  # left by a run that was killed
    partial.mkdir()
    try:
        if archive.name.lower().endswith(".zip"):
            unpack_zip(archive, partial)
        else:
            unpack_tar(archive, partial)
        marker_of(folder).unlink(missing_ok=True)
        replace_folder(partial, folder)
        write_json(marker_of(folder), identity(archive))
    except DAMAGE as error:
        if isinstance(error, OSError) and error.errno not in (None, *NAME_ERRORS):
            raise
        raise ValueError(
            f"{archive} cannot be unpacked ({error}). It is damaged or not of the kind that its name "
            "says: replace it, then run `dvc add` or `dvc update` on it."
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def unpack_zip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as content:
        members = [m for m in content.infolist() if not m.filename.endswith(("/", "\\"))]
        check_size(archive, folder, sum(member.file_size for member in members))
        for member, name in zip(members, zip_names(members), strict=True):
            if stat.S_ISLNK(member.external_attr >> 16):
                raise ValueError(f"{archive}: {name!r} is a link; expected files only. Refused.")
            if member.flag_bits & ENCRYPTED:
                raise ValueError(
                    f"{archive}: {name!r} is encrypted. Unpack it, and pack it again without encryption."
                )
            target = safe_target(archive, folder, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            with content.open(member) as source, target.open("xb") as file:
                shutil.copyfileobj(source, file, 1 << 20)


def zip_names(members: list[zipfile.ZipInfo]) -> list[str]:
    """The members' names. Old zips do not say their encoding: UTF-8 if all fit, else GB 18030.

    Python reads such names as cp437, which turns the names of a Chinese Windows into box drawings.
    """
    raw = [m.orig_filename.encode("cp437") for m in members if not m.flag_bits & UTF8]
    encoding = next(e for e in ("utf-8", "gb18030", "cp437") if decodes(raw, e))
    return [
        member.filename
        if member.flag_bits & UTF8
        else member.orig_filename.encode("cp437").decode(encoding)
        for member in members
    ]


def decodes(names: list[bytes], encoding: str) -> bool:
    try:
        for name in names:
            name.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


class StrictTarInfo(tarfile.TarInfo):
    """Raises an error for a damaged header, which Python's tarfile takes for the end of the archive.

    A header of megabytes is an error, too, because tarfile would read it into memory.
    """

    @classmethod
    def frombuf(cls, buf: bytes, encoding: str, errors: str) -> tarfile.TarInfo:
        try:
            info = super().frombuf(buf, encoding, errors)
        except tarfile.EOFHeaderError:
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"{error} of a member") from error
        if info.size > MAX_HEADER_BYTES and not info.isreg():
            raise tarfile.ReadError(f"header of {info.size / 1e6:.0f} MB of a member")
        return info


def open_tar(archive: Path) -> AbstractContextManager[tarfile.TarFile]:
    if archive.name.lower().endswith(".zst"):
        stream = zstandard.open(archive, "rb")
        return tarfile.open(fileobj=stream, mode="r|", tarinfo=StrictTarInfo)
    return tarfile.open(archive, tarinfo=StrictTarInfo)


def unpack_tar(archive: Path, folder: Path) -> None:
    with open_tar(archive) as content:
        total = 0
        for member in content:
            total += member.size
            check_size(archive, folder, total, remaining=member.size)
            safe_target(archive, folder, member.name)
            if member.isdir():
                continue
            if not member.isreg():
                raise ValueError(
                    f"{archive}: {member.name!r} is a link or a device; expected files only. Refused."
                )
            content.extract(member, folder, set_attrs=False, filter="data")


def safe_target(archive: Path, folder: Path, name: str) -> Path:
    """The path that a member is unpacked to. Raises ValueError if it leads out of the folder."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    absolute = re.match(r"[/\\]|[A-Za-z]:[/\\]", name)
    if absolute or ".." in parts or not parts or "\0" in name:
        raise ValueError(
            f"{archive}: {name!r} leads out of the archive. Refused: get it from a source you trust."
        )
    return folder.joinpath(*parts)


def check_size(archive: Path, folder: Path, total: int, remaining: int | None = None) -> None:
    if total > MAX_UNPACKED_BYTES:
        raise ValueError(
            f"{archive} unpacks to {total / 1e9:.0f} GB or more; at most "
            f"{MAX_UNPACKED_BYTES / 1e9:.0f} GB are accepted. Refused."
        )
    free = shutil.disk_usage(folder).free
    needed = total if remaining is None else remaining
    if needed > free:
        raise RuntimeError(
            f"{archive} needs {needed / 1e9:.1f} GB more to unpack, and {folder.parent} has "
            f"{free / 1e9:.1f} GB free."
        )


def ensure_images(root: Path, paths: Iterable[str]) -> None:
    """Unpack again the archives that listed images came from; paths are from the project's root.

    Raises FileNotFoundError if an image is missing.
    """
    unpacked = Layout(root).unpacked
    archives = {archive_of(root, unpacked, root / path) for path in paths} - {None}
    for archive in sorted(archives):
        unpack(root, archive)
    missing = [path for path in paths if not (root / path).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} listed images are missing, first {missing[0]}. "
            "Run `dvc pull` or restore them, then `dvc repro`."
        )


def archive_of(root: Path, unpacked: Path, path: Path) -> Path | None:
    """The archive that an unpacked image came from; None for an image in a folder."""
    if not path.is_relative_to(unpacked):
        return None
    inside = path.relative_to(unpacked)
    for parent in reversed(inside.parents):
        if parent.name.lower().endswith(SUFFIXES):
            for base in (root, Path("/")):
                if (base / parent).is_file():
                    return base / parent
    first = next(p for p in reversed(inside.parents) if p.name.lower().endswith(SUFFIXES))
    raise FileNotFoundError(f"{first} does not exist. If DVC tracks it, run `dvc pull {first}.dvc`.")
