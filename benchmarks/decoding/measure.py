"""What reduced pictures (image.reduce) and their store (runtime.store_gb) save in training.

    python benchmarks/decoding/measure.py --generate 300 > benchmarks/decoding/results.md
    python benchmarks/decoding/measure.py --photos data/photos

Times the train stage with one epoch and with three, on the same pictures, one after the other; an epoch
is half the difference, so that starting up, and filling the store in the first epoch, are apart.
--generate makes photos of 4000 x 3000 pixels; --photos takes a folder of class folders.
"""

import argparse
import io
import json
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from ruamel.yaml import YAML

REPO = Path(__file__).resolve().parents[2]
CASES = {
    "every pixel decoded": {"image": {"reduce": 0}},
    "reduced, not kept": {"image": {"reduce": 256}, "runtime": {"store_gb": 0.0}},
    "reduced and kept": {"image": {"reduce": 256}, "runtime": {"store_gb": 10.0}},
}
YAML_FILE = YAML()


def main(photos: Path | None, count: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        project = Path(scratch) / "project"
        subprocess.run(["git", "clone", "--quiet", REPO, project], check=True)
        if photos is None:
            photos = Path(scratch) / "photos"
            generate(photos, count)
        (project / "data/photos").symlink_to(photos.absolute())
        set_params(project, {"dataset": {"path": "data/photos", "on_error": "exclude"}})
        for stage in ("fetch_weights", "prepare_dataset"):
            run(project, stage)
        counts = json.loads((project / "metrics/dataset.json").read_text())
        print(f"{counts['train']} training and {counts['val']} val pictures\n")
        print("| | start and one epoch, s | a further epoch, s | test top-1, % |\n|---|---:|---:|---:|")
        times = {name: [] for name in CASES}
        for _ in range(rounds):
            for name, changes in CASES.items():
                set_params(project, changes)
                one, three = train(project, 1), train(project, 3)
                times[name].append((one, (three - one) / 2))
                run(project, "evaluate")
                top1 = json.loads((project / "metrics/evaluation.json").read_text())["top1"]
                times[name][-1] += (top1,)
        for name, rows in times.items():
            first, epoch, top1 = (sorted(column)[len(column) // 2] for column in zip(*rows, strict=True))
            print(f"| {name} | {first:.1f} | {epoch:.1f} | {top1:.1f} |")


def train(project: Path, epochs: int) -> float:
    set_params(project, {"train": {"epochs": epochs, "warmup_epochs": 0}})
    run(project, "render_config")
    shutil.rmtree(project / ".work/pictures", ignore_errors=True)
    start = time.perf_counter()
    run(project, "train")
    return time.perf_counter() - start


def run(project: Path, stage: str) -> None:
    subprocess.run(
        [sys.executable, "-m", f"stages.{stage}"], cwd=project, check=True, stdout=subprocess.DEVNULL
    )


def set_params(project: Path, changes: dict) -> None:
    params = YAML_FILE.load(project / "params.yaml")
    for section, values in changes.items():
        params[section].update(values)
    YAML_FILE.dump(params, project / "params.yaml")


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
        "--rounds", type=int, default=1, help="alternating repetitions; medians are printed"
    )
    arguments = parser.parse_args()
    main(arguments.photos, arguments.generate, arguments.rounds)
