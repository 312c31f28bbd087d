"""Can training read a file? Every file is decoded in full, once for each content."""

import hashlib
import os
import sqlite3
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import imagehash
import numpy as np
import PIL

from stages.core.images.decoding import RULE, decode_with_doubts, read_file
from stages.core.images.doubts import find_doubts

BATCH = 1000
"""Results are saved after this many images, so that an interrupted check resumes from there."""


@dataclass(frozen=True)
class CheckedImage:
    """What a file's content says, as it is cached."""

    sha256: str
    """Of the file's bytes, 64 hex digits; empty when it cannot be read at all."""
    problem: str
    """Why it cannot be used; empty when it can."""
    width: int
    height: int
    pixels: str
    """SHA-256 of the decoded image: equal for exact duplicates, whatever their files' bytes."""
    look: str
    """Perceptual hash, 16 hex digits; a few of its 64 bits differ between near-duplicates."""
    doubt: str = ""
    """What looks damaged, though it can be used; empty when nothing does."""


def check_image(path: Path) -> CheckedImage:
    """Hash and decode one file."""
    return check_content(path, known=None)


def check_images(paths: list[Path], processes: int, cache: Path) -> Iterator[CheckedImage]:
    """`check_image` of every path, in their order, on several processes (0: in this one).

    cache: a folder for the results, safe to delete. A file whose size, mtime and inode are known is not
    opened. A file whose content is known is hashed and not decoded.
    """
    cache.mkdir(parents=True, exist_ok=True)
    database = cache / f"checks-{RULE}-pillow-{PIL.__version__}.sqlite"
    try:
        remove_damaged(database)
        with closing(sqlite3.connect(database, timeout=60)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS contents (sha256 TEXT PRIMARY KEY, problem TEXT, "
                "width INTEGER, height INTEGER, pixels TEXT, look TEXT, doubt TEXT, crc INTEGER)"
            )
            connection.execute(
                "CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, identity TEXT, sha256 TEXT)"
            )
            connection.commit()
            for start in range(0, len(paths), BATCH * 10):
                yield from check_some(paths[start : start + BATCH * 10], processes, connection, database)
    except sqlite3.Error as error:
        raise RuntimeError(
            f"{database}: {error}. It is only a cache of checks: delete it, or make its folder writable."
        ) from error


def remove_damaged(database: Path) -> None:
    """Delete the database unless SQLite finds it sound. Raises sqlite3.Error if it cannot be opened."""
    try:
        with closing(sqlite3.connect(database, timeout=60)) as connection:
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError:  # a full disk, missing rights: nothing is damaged
        raise
    except sqlite3.DatabaseError as error:
        found = str(error)
    if found != "ok":
        print(f"{database} is damaged ({' '.join(found.split())}): checking every image again")
        for suffix in ("", "-wal", "-shm"):
            database.with_name(database.name + suffix).unlink(missing_ok=True)


def check_some(
    paths: list[Path], processes: int, connection: sqlite3.Connection, database: Path
) -> Iterator[CheckedImage]:
    # look the files up
    now = time.time_ns()
    names = [os.fsencode(os.path.abspath(path)) for path in paths]
    identities = [identity(path) for path in paths]
    known = [recall(connection, n, i) for n, i in zip(names, identities, strict=True)]
    new = [path for path, check in zip(paths, known, strict=True) if check is None]

    # check the others, and save the results in batches
    checks = check_new(new, processes, database)
    fresh: list[tuple[bytes, str, CheckedImage]] = []
    try:
        for name, stamp, check in zip(names, identities, known, strict=True):
            if check is None:
                check = next(checks)
                fresh.append((name, stamp, check))
                if len(fresh) == BATCH:
                    remember(connection, fresh, now)
                    fresh.clear()
            yield check
    finally:
        remember(connection, fresh, now)


def check_new(paths: list[Path], processes: int, database: Path) -> Iterator[CheckedImage]:
    if processes == 0 or len(paths) < 64:
        with closing(sqlite3.connect(database)) as known:
            for path in paths:
                yield check_content(path, known)
        return
    try:
        with ProcessPoolExecutor(processes, initializer=open_known, initargs=(database,)) as pool:
            yield from pool.map(check_in_worker, paths, chunksize=16)
    except BrokenProcessPool as error:
        raise RuntimeError(
            "a process that decodes images was killed, most likely for lack of memory. Set "
            "runtime.workers to 1."
        ) from error


known_in_worker: sqlite3.Connection | None = None


def open_known(database: Path) -> None:
    global known_in_worker
    known_in_worker = sqlite3.connect(database, timeout=60)


def check_in_worker(path: Path) -> CheckedImage:
    return check_content(path, known_in_worker)


def check_content(path: Path, known: sqlite3.Connection | None) -> CheckedImage:
    # read
    try:
        content = read_file(path)
    except ValueError as error:
        return CheckedImage("", str(error), 0, 0, "", "")
    except OSError as error:
        return CheckedImage("", f"cannot be read: {error.strerror}", 0, 0, "", "")

    # hash, and look for the result
    sha256 = hashlib.sha256(content).hexdigest()
    if known is not None:
        row = known.execute("SELECT * FROM contents WHERE sha256 = ?", [sha256]).fetchone()
        if check := from_row(row):
            return check

    # decode
    try:
        image, doubts = decode_with_doubts(content)
    except ValueError as error:
        return CheckedImage(sha256, str(error), 0, 0, "", "")
    pixels = np.asarray(image)
    digest = hashlib.sha256(f"{image.size}".encode())
    digest.update(pixels)
    look = np.packbits(imagehash.phash(image).hash).tobytes().hex()  # str() takes ten times as long
    doubt = "; ".join([*doubts, *find_doubts(content, pixels)])
    return CheckedImage(sha256, "", *image.size, digest.hexdigest(), look, doubt)


def identity(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:
        return ""
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ino}"


def recall(connection: sqlite3.Connection, name: bytes, stamp: str) -> CheckedImage | None:
    row = connection.execute(
        "SELECT contents.* FROM files JOIN contents USING (sha256) WHERE path = ? AND identity = ?",
        [name, stamp],
    ).fetchone()
    return from_row(row) if stamp else None


def to_row(check: CheckedImage) -> tuple:
    """With a checksum, as SQLite has none of its own."""
    values = vars(check).values()  # astuple would copy each in depth
    return *values, zlib.crc32(repr((*values,)).encode())


def from_row(row: tuple | None) -> CheckedImage | None:
    """None for a row that is not there or damaged."""
    check = CheckedImage(*row[:-1]) if row else None
    return check if check and to_row(check) == row else None


def remember(
    connection: sqlite3.Connection, fresh: list[tuple[bytes, str, CheckedImage]], now: int
) -> None:
    """Save results in one short transaction, so that two checks at the same time do not wait.

    now: when the files were looked up. A file that changed just before may change again within one tick
    of the clock, so its time is not trusted.
    """
    fresh = [(name, stamp, check) for name, stamp, check in fresh if check.sha256]
    files = [
        (name, stamp, check.sha256)
        for name, stamp, check in fresh
        if stamp and now - int(stamp.split()[1]) > 2 * 10**9
    ]
    with connection:
        connection.executemany(
            "INSERT OR REPLACE INTO contents VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [to_row(check) for _, _, check in fresh],
        )
        connection.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?)", files)
