"""What reduced images (image.reduce) and their store (runtime.store_gb) save in training.

    python benchmarks/decoding/measure.py --generate 300
    python benchmarks/decoding/measure.py --photos data/photos

Two times for each case, on the same images: going through the training loader with nothing behind it
(the first epoch, which fills the store, and those after), and the whole train stage. Cases alternate
within a round, and the table has the medians of the rounds. --generate makes photos of 4000 x 3000
pixels; --photos takes a folder of class folders.
"""

import argparse
import io
import json
import shutil
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from PIL import Image

REPO = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPO), str(REPO / "benchmarks")]

from projects import copy_project, run, set_params  # noqa: E402

from stages.core.machine.placement import open_config  # noqa: E402
from stages.core.params import load_params  # noqa: E402

EPOCHS = 2
CASES = {
    "every pixel decoded": {"image": {"reduce": 0}},
    "reduced, not kept": {"image": {"reduce": 256}, "runtime": {"store_gb": 0.0}},
    "reduced and kept": {"image": {"reduce": 256}, "runtime": {"store_gb": 10.0}},
}


def main(photos: Path | None, count: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        project = Path(scratch) / "project"
        copy_project(project)
        if photos is None:
            photos = Path(scratch) / "photos"
            generate(photos, count)
        (project / "data/photos").symlink_to(photos.absolute())
        set_params(project, {"dataset": {"path": "data/photos", "on_error": "exclude"}})
        run(project, "fetch_weights", "prepare_dataset")
        counts = json.loads((project / "metrics/dataset.json").read_text())
        set_params(project, {"train": {"epochs": EPOCHS, "warmup_epochs": 1}})
        print(
            f"{counts['train']} training and {counts['val']} val images, {rounds} rounds\n", flush=True
        )
        times = {name: [] for name in CASES}
        for number in range(rounds):
            for name, changes in CASES.items():
                set_params(project, changes)
                run(project, "render_config")
                store = project / ".work/images"
                shutil.rmtree(store, ignore_errors=True)
                first, *later = load_epochs(project, 3)
                shutil.rmtree(store, ignore_errors=True)
                start = time.perf_counter()
                run(project, "train")
                times[name].append((first, statistics.mean(later), time.perf_counter() - start))
                kept = sum(file.stat().st_size for file in store.rglob("*.npy")) / 1e6
                row = ", ".join(f"{seconds:.1f} s" for seconds in times[name][-1])
                print(f"round {number + 1}, {name}: {row}; {kept:.0f} MB kept", file=sys.stderr)
        print(
            "| | loading: first epoch, s | loading: a later epoch, s | train stage, "
            f"{EPOCHS} epochs, s |\n|---|---:|---:|---:|"
        )
        for name, rows in times.items():
            first, later, stage = (statistics.median(column) for column in zip(*rows, strict=True))
            print(f"| {name} | {first:.1f} | {later:.1f} | {stage:.1f} |")


def load_epochs(project: Path, epochs: int) -> list[float]:
    """Seconds for each pass over the training loader."""
    runtime = load_params(project / "params.yaml").runtime
    cfg = open_config(project / "configs/rendered.py", project, runtime, "cpu", training=True)
    init_default_scope(cfg.default_scope)
    loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
    seconds = []
    for epoch in range(epochs):
        loader.sampler.set_epoch(epoch)
        start = time.perf_counter()
        for _ in loader:
            pass
        seconds.append(time.perf_counter() - start)
    return seconds


def generate(folder: Path, count: int) -> None:
    for name in ("a", "b", "c"):
        (folder / name).mkdir(parents=True)
    with ProcessPoolExecutor() as pool:
        list(pool.map(partial(write, folder), range(count)))


def write(folder: Path, index: int) -> None:
    """12 megapixels of soft shapes under grain, 2 to 3 MB, as phones make them."""
    draw = np.random.default_rng(index)
    shapes = Image.fromarray(draw.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    pixels = np.asarray(shapes.resize((4000, 3000), Image.Resampling.BICUBIC), dtype=np.int16)
    grain = draw.integers(-8, 9, (3000, 4000, 1), dtype=np.int16)
    buffer = io.BytesIO()
    Image.fromarray((pixels + grain).clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=90)
    (folder / "abc"[index % 3] / f"{index:04d}.jpg").write_bytes(buffer.getvalue())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, help="a folder of class folders")
    parser.add_argument("--generate", type=int, default=300, help="how many photos to generate instead")
    parser.add_argument(
        "--rounds", type=int, default=3, help="alternating repetitions; medians are printed"
    )
    arguments = parser.parse_args()
    main(arguments.photos, arguments.generate, arguments.rounds)
