"""What a folder holds, found in one walk that sees the files that DVC hashes, and opens none of them.

DVC follows links to files, and hashes what they lead to. It does not follow links to folders, and skips
what `.dvcignore` names. A walk that read more than DVC hashed would not notice when that changes.
"""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from stages.core.files import first_ten

LEFTOVERS = re.compile(
    r"""
    # macOS
    \.ds_store | \._.* | __macosx | icon\r | \.apdisk | \.localized | \.appledouble | \.appledb
    | \.appledesktop | \.spotlight-v100 | \.fseventsd | \.trashes | \.temporaryitems | temporary\ items
    | network\ trash\ folder | \.documentrevisions-v100 | \.volumeicon\.icns | \.com\.apple\..*
    # Windows, also seen from WSL
    | (eh)?thumbs(_vista)?\.db | .*:(zone\.identifier|encryptable) | desktop\.ini | \$recycle\.bin
    | system\ volume\ information | wpsettings\.dat | found\.\d{3}
    | \.?picasa\.ini | \.picasaoriginals | ~\$.*
    # Linux
    | lost\+found | \.trash(-\d+)? | \.nfs[0-9a-f]+ | \.fuse_hidden.* | \.directory | \.thumbnails
    | \.~lock\..*\#
    # NAS: Synology, QNAP, Asustor, Western Digital, Buffalo, NetApp, ZFS, btrfs, Samba
    | \#recycle | \#snapshot | @eadir | @synoeastream | @synoresource | @synofile.* | synofile_thumb.*
    | @tmp | @sharebin | @recycle | @recently-snapshot | @snapshots? | \.@__.* | \.@.* | \.streams
    | \.wdmc | \.wd_.* | ~snapshot | \.snapshots? | \.zfs | \.recycle
    # programs that synchronise, and Android
    | \.stfolder.* | \.stversions | \.stignore | [.~]syncthing[.~].* | \.sync | \.dropbox(\..*)?
    | \.sync_.*\.db.* | \.owncloudsync\.log | \.csync_journal\.db.* | \.tmp\.drive(down|up)load
    | \.nomedia | \.trashed-.* | \.pending-.*
    # programmers' tools
    | \.ipynb_checkpoints | __pycache__ | \.git | \.git(ignore|attributes|keep|modules) | \.keep
    | \.dvc | \.dvcignore | \.hg | \.svn | \.idea | \.vscode
    """,
    re.IGNORECASE | re.VERBOSE,
)
"""Names that systems, disks and tools give to what they leave beside images."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file, or a folder with all that it holds, that is not read."""

    file: Path
    kind: str
    """A key of `findings.SKIPPED`."""
    reason: str = ""
    """Why, if it is not the reason of all of its kind."""


@dataclass(slots=True)
class Folder:
    path: Path
    folders: list["Folder"] = field(default_factory=list)
    """Sorted by name, as are the files."""
    files: list[Path] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.path.name

    def below(self) -> Iterator["Folder"]:
        """This folder and all below it."""
        pending = [self]
        while pending:
            folder = pending.pop()
            yield folder
            pending += folder.folders

    def all_files(self) -> list[Path]:
        return sorted(file for folder in self.below() for file in folder.files)


def walk(path: Path, dvc: bool = False, hidden: bool = False) -> tuple[Folder, list[Skipped]]:
    """The folder's content, and what in it is not read: leftovers, and what is hidden or ignored.

    dvc: DVC hashes this folder, so what its `.dvcignore` names is ignored. hidden: names that start with
    a dot are read. Raises ValueError for a link to a folder, and OSError for a folder that cannot be
    listed.
    """
    ignored = dvc_ignore(path) if dvc else nothing_ignored
    top, skipped, links = Folder(path), [], []
    pending = [top]
    while pending:
        folder = pending.pop()
        # what is in it
        entries = entries_of(folder.path)
        folders = {entry.name for entry in entries if is_folder(entry)}
        files = [entry.name for entry in entries if entry.name not in folders]
        unseen = ignored(folder.path, sorted(folders), files)

        # what of it is read
        for entry in entries:
            file = Path(entry)
            if LEFTOVERS.fullmatch(entry.name):
                skipped.append(Skipped(file, "leftover"))
            elif entry.name in unseen:
                skipped.append(Skipped(file, "ignored"))
            elif entry.name.startswith(".") and not hidden:
                skipped.append(Skipped(file, "hidden"))
            elif entry.name not in folders:
                folder.files.append(file)
            elif entry.is_symlink():
                links.append(file.relative_to(path).as_posix())
            else:
                folder.folders.append(Folder(file))
        pending += folder.folders
    if links:
        raise ValueError(
            f"{path} holds {len(links)} links to folders: {first_ten(sorted(links))}. DVC does not "
            "follow them, so it would not notice a change behind them. Put the folders in their place."
        )
    return top, sorted(skipped, key=lambda one: one.file)


def entries_of(folder: Path) -> list[os.DirEntry]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise OSError(
            error.errno,
            f"{folder} cannot be listed ({error.strerror}); expected a folder that you may read. "
            "Change its permissions, or remove it.",
        ) from error


def is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself: reported when it is read as a file
        return False


def nothing_ignored(folder: Path, folders: list[str], files: list[str]) -> set[str]:
    return set()


def dvc_ignore(path: Path) -> Callable[[Path, list[str], list[str]], set[str]]:
    """A function of a folder below `path`, its folders and files: the names that DVC ignores."""
    top = os.path.abspath(path)
    project = next((p for p in Path(top).parents if (p / ".dvc").is_dir()), None)
    if project is None:
        return nothing_ignored
    from dvc.fs import localfs  # here, as only a project with DVC has something to ignore
    from dvc.ignore import DvcIgnoreFilter

    accepts = DvcIgnoreFilter(localfs, str(project))

    def ignored(folder: Path, folders: list[str], files: list[str]) -> set[str]:
        kept_folders, kept_files = accepts(os.path.abspath(folder), folders, files)
        return {*folders, *files}.difference(kept_folders, kept_files)

    return ignored
