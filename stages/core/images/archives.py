"""Zip and tar archives of images, unpacked beside the project's outputs.

An archive is unpacked into a derived folder that any stage can make again, so a fresh clone needs the
archive alone. Nothing in an archive can write outside that folder.
"""

import errno
import io
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
from hashlib import sha256
from pathlib import Path, PurePosixPath

import zstandard
from filelock import FileLock

from stages.core.files import replace_folder, write_json
from stages.core.layout import Layout

ENCRYPTED, UTF8 = 0x1, 0x800
"""Flags of a zip member."""
SUFFIXES = (".zip", ".tar", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst")
SUFFIXES += (".tgz", ".tbz2", ".txz", ".tzst")
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
MAX_FILES = 2 * 10**6
"""ImageNet has 1.4 million images. An archive of a few MB can name more files than a disk can hold."""
MAX_DIRECTORY_BYTES = 250 * 10**6
"""Of a zip: what it says about its files, which zipfile reads into memory at once."""
MAX_ZIP_END = 66_000
"""A zip's last record and its comment."""
MAX_DEPTH = 100
"""Folders in folders; some functions of Python's own call themselves for each."""
MAX_NAME = 2000
REPACK = "Unpack it, for example with 7-Zip, and pack it again as zip or tar."

METHODS = {
    zipfile.ZIP_STORED: "",
    zipfile.ZIP_DEFLATED: "",
    zipfile.ZIP_BZIP2: "",
    zipfile.ZIP_LZMA: "",
    9: "Deflate64, as Windows does with large files",
    93: "Zstandard",
    95: "xz",
    98: "PPMd",
}
"""The compression methods of zip files; those without a name are read."""
TAR_LABEL, TAR_BACKUP = b"V", b"D"
"""Types of tar members: of `tar --label`, and of an incremental backup, whose names tarfile misreads."""
TAR_HEADERS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
BEGINNINGS = {
    b"PK": "a zip",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"<": "a web page",
    b"version https://git-lfs": "a Git LFS pointer (`git lfs pull` fetches the file)",
}
"""What a file is, by its first bytes."""


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
        found = "is no file" if os.path.lexists(archive) else "does not exist"
        raise FileNotFoundError(f"{archive} {found}. If DVC tracks it, run `dvc pull {archive}.dvc`.")
    folder = unpacked_folder(root, archive)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):  # two stages at once, e.g. of two `dvc repro`
        if not is_unpacked(archive, folder):
            unpack_whole(archive, folder)
    return folder


def identity(archive: Path, folder: Path) -> dict[str, int | str]:
    """What changes when the archive, or what was unpacked from it, is changed."""
    status = archive.stat()
    files = sha256()
    for path, folders, names in os.walk(folder):
        folders.sort()
        inside = os.path.relpath(path, folder)
        for name in sorted(names):
            file = os.lstat(os.path.join(path, name))
            stamp = f"{inside!r} {name!r} {file.st_size} {file.st_mtime_ns} {file.st_ino}\n"
            files.update(stamp.encode())
    return {
        "size": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "inode": status.st_ino,
        "files": files.hexdigest(),
    }


def marker_of(folder: Path) -> Path:
    """This file is written last: it shows that the folder is complete, and from which archive."""
    return folder.with_name(folder.name + ".json")


def is_unpacked(archive: Path, folder: Path) -> bool:
    try:
        known = json.loads(marker_of(folder).read_text())
    except (OSError, ValueError):  # there is none, or it is damaged
        return False
    if known == identity(archive, folder):
        return True
    print(f"{archive}, or what was unpacked from it, has changed: unpacking it again")
    return False


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
        write_json(marker_of(folder), identity(archive, folder))
    except DAMAGE as error:
        if isinstance(error, OSError) and error.errno not in (None, *NAME_ERRORS):
            raise OSError(
                error.errno,
                f"{archive} could not be unpacked into {folder}: {error.filename or 'a file'}: "
                f"{error.strerror}. The archive must be readable, and the folder writable with room.",
            ) from error
        cause = " ".join(str(error).split())
        raise ValueError(
            f"{archive} cannot be unpacked ({cause}). {what_it_is(archive)}It is damaged or not of the "
            "kind that its name says: replace it, then run `dvc add` or `dvc update` on it."
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def what_it_is(archive: Path) -> str:
    """A sentence on a file that could not be unpacked."""
    with archive.open("rb") as file:
        start = file.read(100)
        file.seek(max(0, archive.stat().st_size - MAX_ZIP_END))
        end = file.read()
    at = end.rfind(b"PK\5\6")
    if at >= 0 and end[at + 4 : at + 6] not in (b"\0\0", b"\xff\xff"):  # its number among the parts
        return (
            "It is the last part of a split zip: with all parts beside it, "
            f"`zip -s 0 {archive.name} --out whole.zip` joins them. "
        )
    found = next((kind for begins, kind in BEGINNINGS.items() if start.startswith(begins)), "")
    return f"It begins like {found}. " if found else ""


def unpack_zip(archive: Path, folder: Path) -> None:
    with ZipReader(archive) as file, zipfile.ZipFile(file) as content:
        members = [m for m in content.infolist() if not m.filename.endswith(("/", "\\"))]
        check_size(archive, folder, sum(member.file_size for member in members), len(members))
        targets = set()
        for member, name in zip(members, zip_names(archive, members), strict=True):
            refuse_member(archive, member, name)
            target = safe_target(archive, folder, name)
            if target in targets:
                raise ValueError(f"{archive} holds {name!r} twice. {REPACK}")
            targets.add(target)
            target.parent.mkdir(parents=True, exist_ok=True)
            with content.open(member) as source, target.open("xb") as file:
                shutil.copyfileobj(source, file, 1 << 20)


class ZipReader(io.FileIO):
    def read(self, size: int = -1) -> bytes:
        if size > MAX_DIRECTORY_BYTES:
            raise ValueError(f"{self.name} holds more than {MAX_FILES:,} files. Refused.")
        return super().read(size)


def refuse_member(archive: Path, member: zipfile.ZipInfo, name: str) -> None:
    """Raise ValueError for what is no plain file, or cannot be read."""
    if stat.S_ISLNK(member.external_attr >> 16):
        raise ValueError(
            f"{archive}: {name!r} is a link; expected files only. Refused: `zip` without --symlinks "
            "packs what links lead to."
        )
    if member.flag_bits & ENCRYPTED:
        raise ValueError(
            f"{archive}: {name!r} is encrypted. Unpack it, and pack it again without encryption."
        )
    method = METHODS.get(member.compress_type, f"method {member.compress_type}")
    if method:
        raise ValueError(f"{archive}: {name!r} is compressed by {method}, which is not read. {REPACK}")


def zip_names(archive: Path, members: list[zipfile.ZipInfo]) -> list[str]:
    """The members' names. Old zips do not say their encoding, and Python reads all as cp437.

    They are UTF-8 if all fit, and GB 18030, as of a Chinese Windows, if most letters are common Chinese.
    """
    stored = [m.orig_filename.encode("cp437") for m in members if not m.flag_bits & UTF8]
    encoding = next(e for e in ("utf-8", "gb18030", "cp437") if is_encoded(stored, e))
    names = [
        member.filename
        if member.flag_bits & UTF8
        else member.orig_filename.encode("cp437").decode(encoding)
        for member in members
    ]
    if encoding != "utf-8":
        example = next(name for name in names if not name.isascii())
        print(
            f"{archive} does not say how its names are encoded. They are read as {encoding}, such as "
            f"{example!r}. If that is wrong, pack it again with a program that writes UTF-8."
        )
    return names


def is_encoded(names: list[bytes], encoding: str) -> bool:
    try:
        letters = [letter for name in names for letter in name.decode(encoding) if letter > "\x7f"]
    except UnicodeDecodeError:
        return False
    if encoding != "gb18030":
        return True
    # other encodings decode, too, but to rare letters, which GB 2312 does not have
    common = sum(bool(letter.encode("gb2312", "ignore")) for letter in letters)
    return common > len(letters) / 2


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
        if info.size > MAX_HEADER_BYTES and info.type in TAR_HEADERS:
            raise tarfile.ReadError(f"header of {info.size / 1e6:.0f} MB of a member")
        return info


def open_tar(archive: Path) -> AbstractContextManager[tarfile.TarFile]:
    if archive.name.lower().endswith("zst"):
        reader = zstandard.ZstdDecompressor().stream_reader
        stream = reader(archive.open("rb"), read_across_frames=True)
        return tarfile.open(fileobj=stream, mode="r|", tarinfo=StrictTarInfo)
    return tarfile.open(archive, tarinfo=StrictTarInfo)


def unpack_tar(archive: Path, folder: Path) -> None:
    with open_tar(archive) as content:
        total = 0
        for number, member in enumerate(content, 1):
            if member.isdir() or member.type == TAR_LABEL:
                continue
            if member.type == TAR_BACKUP:
                raise ValueError(f"{archive} is an incremental backup, which is not read. {REPACK}")
            target = safe_target(archive, folder, member.name)
            linked = safe_target(archive, folder, member.linkname) if member.islnk() else None
            size = linked.stat().st_size if linked and linked.is_file() else member.size
            total += size
            check_size(archive, folder, total, number, remaining=size)
            if linked and linked.is_file():  # tar packs one file with two names as a file and a link
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(linked, target)
            elif member.isreg():
                content.extract(member, folder, set_attrs=False, filter="data")
            else:
                raise ValueError(
                    f"{archive}: {member.name!r} is a link or a device; expected files only. Refused: "
                    "`tar --dereference` packs what links lead to."
                )
            content.members.clear()  # tarfile would keep all in memory


def safe_target(archive: Path, folder: Path, name: str) -> Path:
    """The path that a member is unpacked to. Raises ValueError if it leads out of the folder."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if len(parts) > MAX_DEPTH or len(name) > MAX_NAME:
        raise ValueError(
            f"{archive}: {name[:60]!r}... lies {len(parts) - 1} folders deep and has {len(name)} "
            f"characters; at most {MAX_DEPTH} and {MAX_NAME} are accepted. Refused."
        )
    absolute = re.match(r"[/\\]|[A-Za-z]:[/\\]", name)
    if absolute or ".." in parts or not parts or "\0" in name:
        raise ValueError(
            f"{archive}: {name!r} leads out of the archive. Refused: get it from a source you trust."
        )
    return folder.joinpath(*parts)


def check_size(
    archive: Path, folder: Path, total: int, files: int, remaining: int | None = None
) -> None:
    if files > MAX_FILES:
        raise ValueError(f"{archive} holds more than {MAX_FILES:,} files. Refused.")
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
