"""What DVC writes about a file or folder, and whether that is what is there.

A record is an entry of dvc.lock or of a .dvc file: a path, its md5, its size, and a folder's number of
files. DVC itself compares the md5 only, and hashes no file whose date it knows.
"""

import os
import re
import stat
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

from dvc.exceptions import DvcException
from dvc.output import Output
from dvc.stage import PipelineStage, Stage
from dvc_data.hashfile.build import IgnoreInCollectedDirError, build
from dvc_data.hashfile.db import HashFileDB
from dvc_data.hashfile.hash import file_md5
from dvc_data.hashfile.meta import Meta
from dvc_data.hashfile.obj import HashFile
from dvc_data.hashfile.tree import Tree

from stages.core.files import first_ten
from stages.core.provenance.problems import RECORD, REPRO, path_of

UNREADABLE = (DvcException, OSError, IgnoreInCollectedDirError)
FIELDS = {"path", "md5", "hash", "size", "nfiles", "isexec"}
OF_CLOUDS = {"etag", "checksum", "version_id", "cloud", "files"}
"""Fields of data that a cloud versions, and not DVC."""


# --- the form of a record -----------------------------------------------------------------------------


def form_causes(stage: Stage, records: list[dict], file: str) -> Iterator[tuple[str, str]]:
    """What DVC would not have written. file: dvc.lock or the .dvc file."""
    counts = Counter(record["path"] for record in records)
    yield from ((f"{file} lists {path} {n} times", RECORD) for path, n in counts.items() if n > 1)
    remotes = stage.repo.config["remote"].values()
    if stage.is_partial_import or any(r.get("version_aware") or r.get("worktree") for r in remotes):
        return
    for record in records:
        for key, expected in wrong_fields(record, of_pointer=not isinstance(stage, PipelineStage)):
            found = f"{key} {record[key]!r}" if key in record else f"no {key}"
            remedy = "" if key == "hash" else RECORD
            yield f"{record['path']}: {file} has {found}; expected {expected}", remedy


def wrong_fields(record: dict, of_pointer: bool) -> Iterator[tuple[str, str]]:
    """(field, what is expected) of each that DVC would not have written for a file or folder."""
    md5 = record.get("md5")
    folder = isinstance(md5, str) and md5.endswith(".dir")
    if not isinstance(md5, str) or not re.fullmatch(r"[0-9a-f]{32}(\.dir)?", md5):
        yield "md5", "32 hex digits, and .dir after those of a folder"
    if record.get("hash") != "md5":
        yield "hash", "md5 (`dvc cache migrate --dvc-files` writes it into files of DVC 2)"
    for key in ("size", "nfiles") if folder else ("size",):
        if type(record.get(key)) is not int or record[key] < 0:
            yield key, "a whole number"
    if record.get("isexec", True) is not True:
        yield "isexec", "true, or no isexec"
    # a .dvc file also holds what its owner wrote, such as desc
    foreign = record.keys() & OF_CLOUDS if of_pointer else record.keys() - FIELDS
    if not folder and "nfiles" in record:
        foreign.add("nfiles")
    yield from ((key, "no such field") for key in sorted(foreign))


def import_causes(source: dict, data: dict, file: str) -> Iterator[tuple[str, str]]:
    """Compare the record of what was imported with that of the data: they are the same bytes."""
    same = source.get("md5") == data.get("md5")
    for key in ("size", "nfiles", "hash"):
        if source.get(key) != data.get(key) and (same or key in source):
            yield (
                f"{file} has {key} {source.get(key)} for the source of {data['path']}, "
                f"{data.get(key)} for the data. Restore it, or run `dvc update {file}`",
                "",
            )


def version_causes(dep: Output, out: Output, owner: str, wrote: str) -> Iterator[tuple[str, str]]:
    """Compare the records of one path: of the stage that read it, and of `owner`, which wrote it."""
    path = path_of(dep)
    if dep.hash_info.value != out.hash_info.value:
        hashes = [entry.hash_info.value[:8] for entry in (out, dep)]
        yield f"{path}: {owner} {wrote} {hashes[0]}, this stage read {hashes[1]}", REPRO
        return
    for key in ("size", "nfiles", "isexec"):
        one, other = getattr(out.meta, key), getattr(dep.meta, key)
        if one != other:
            yield f"{path}: {owner} has {key} {one}, this stage has {other}", RECORD


# --- what is there ------------------------------------------------------------------------------------


def file_causes(
    entry: Output, new: str, modified: str, remedy: str = REPRO, by_date: bool = False
) -> Iterator[tuple[str, str]]:
    """Compare a record with the file or folder.

    new, modified: the words for one without a record, and for one that differs from it. remedy: a key
    of TO_DO. by_date: whether DVC's record of dates is trusted, and only what has another is read.
    """
    path = path_of(entry)
    if not entry.exists:
        yield f"{path} is missing: restore it with git, or make it with `dvc repro`", ""
        return
    if not entry.hash_info:
        yield f"{path} {new}", REPRO
        return
    try:
        meta, found = built(entry, entry.fs_path, by_date)
        other = found.hash_info.value != entry.hash_info.value
        unseen = other and entry.use_cache and not entry.workspace_status()
        names = different_files(entry, found) if other else []
    except UNREADABLE as error:
        yield f"{path} cannot be read: {' '.join(str(error).split()).rstrip('.')}", ""
        return
    if unseen:
        yield unseen_cause(entry, names), ""
    elif other:
        yield f"{path} {modified}{names and f': {first_ten(names, str)}' or ''}", remedy
    else:
        yield from ((f"{path}: {difference}", RECORD) for difference in differences(entry.meta, meta))


def differences(recorded: Meta, found: Meta) -> Iterator[str]:
    """Fields in which a record differs from a file or folder of the same md5.

    A file that anybody may execute needs no isexec: some file systems know no other.
    """
    for key in ("size", "nfiles"):
        one, other = getattr(recorded, key), getattr(found, key)
        if one is not None and one != other:
            yield f"its record has {key} {one}; it has {other}"
    if recorded.isexec and not found.isexec:
        yield "its record has isexec true; it cannot be executed"


def built(entry: Output, path: str, by_date: bool = False) -> tuple[Meta, HashFile]:
    """DVC's description of what is under `path`, in the repository's current revision.

    Everything is read and hashed, unless by_date: then only what DVC does not know by its date.
    """
    cache, ignore = entry.local_cache, entry.repo.dvcignore
    local = entry.protocol == "local"
    fs = entry.repo.fs if local else entry.fs  # the repository's: that of a commit, where one is asked
    if special := special_file(path):
        raise OSError(f"{special} is no regular file")
    cache = cache if by_date else HashFileDB(cache.fs, cache.path)
    return build(cache, path, fs, "md5" if local else entry.hash_name, dry_run=True, ignore=ignore)[1:]


def special_file(path: str) -> str:
    """A pipe, socket or device, which nobody can hash; empty if there is none."""
    inside = (os.path.join(at, name) for at, _, files in os.walk(path) for name in files)
    for file in [path] if not os.path.isdir(path) else inside:
        with suppress(OSError):
            if not stat.S_ISREG(os.stat(file).st_mode):
                return file
    return ""


def different_files(entry: Output, found: HashFile) -> list[str]:
    """The files of a folder that differ from its record; none where only the record's md5 is known."""
    if not entry.hash_info.isdir:
        return []
    before = entry.get_obj() if entry.use_cache else committed_folder(entry)
    if before is None:
        return []
    different = hashes_in(before).items() ^ hashes_in(found).items()
    return sorted({f"{path_of(entry)}/{name}" for name, _ in different})


def committed_folder(folder: Output) -> HashFile | None:
    """A folder in Git as its record knew it.

    DVC records one hash for a folder. So the commits are asked whose folder may have this hash: one
    where the hash came into dvc.lock, or HEAD. None of them has it in a shallow clone, for example.
    """
    repo, recorded, path = folder.repo, folder.hash_info, path_of(folder)
    lock = folder.stage.dvcfile._lockfile.path
    command = ["git", "log", "--reverse", "--format=%H", f"-S{recorded.value}", "--", lock]
    done = subprocess.run(command, cwd=repo.root_dir, capture_output=True, text=True)
    for commit in [*done.stdout.split(), "HEAD"]:
        with suppress(DvcException, OSError), repo.switch(commit):
            before = built(folder, repo.fs.join(repo.root_dir, path))[1]
            if before.hash_info == recorded:
                return before
    return None


def hashes_in(entry: HashFile) -> dict[str, str]:
    """The hash of each file of a folder; none when a file has taken its place."""
    return {"/".join(key): md5.value for key, _, md5 in entry} if isinstance(entry, Tree) else {}


def unseen_cause(entry: Output, names: list[str]) -> str:
    """What to do about bytes that changed while DVC's record of their date did not.

    DVC checks out a damaged object of its cache without reading it.
    """
    path = path_of(entry)
    known = hashes_in(entry.get_obj()) if entry.hash_info.isdir else {"": entry.hash_info.value}
    wanted = [md5 for name, md5 in known.items() if not names or f"{path}/{name}" in names]
    copies = {md5: entry.cache.oid_to_path(md5) for md5 in wanted}
    damaged = [
        os.path.relpath(copy, entry.repo.root_dir)
        for md5, copy in copies.items()
        if os.path.exists(copy) and file_md5(copy) != md5
    ]
    what = f"{path} was damaged{names and f' ({first_ten(names, str)})' or ''}, and DVC does not see it"
    if damaged:
        return (
            f"{what}: DVC's cache has the same damage. Delete {path} and {first_ten(damaged, str)}, "
            "then run `dvc repro --pull`"
        )
    return f"{what}: delete {path}, then run `dvc checkout {path}`"
