"""How long prepare-dataset takes on generated sets of small JPEGs, alone and under DVC.

    python benchmarks/dataset/measure.py 1000 10000 100000 > benchmarks/dataset/results.md

Each set is made in a temporary clone of this project (--folder names another place; 100,000 images
take 0.5 GB). `alone` is `python -m stages.prepare_dataset`, with its peak memory; the difference to
`dvc repro prepare-dataset` is DVC's own hashing of the folder.
"""

import argparse
import io
import os
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
CLASSES = 20
ROWS = ["first run", "nothing changed", "one image added", "forced"]


def main(counts: list[int], folder: Path | None) -> None:
    print(
        "| images | | alone, s | peak memory, MB | dvc repro, s |\n|---:|---|---:|---:|---:|",
        flush=True,
    )
    for count in counts:
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            measure(count, Path(scratch))


def measure(count: int, scratch: Path) -> None:
    alone, dvc = scratch / "alone", scratch / "dvc"
    for project in (alone, dvc):
        clone(project)
    generate(alone / "data/photos", count)
    shutil.copytree(alone / "data", dvc / "data", dirs_exist_ok=True)
    stage = [sys.executable, "-m", "stages.prepare_dataset"]
    repro = [sys.executable, "-m", "dvc", "repro", "--quiet", "prepare-dataset"]
    for row in ROWS:
        if row == "one image added":
            for project in (alone, dvc):
                (project / "data/photos/class00/new.jpg").write_bytes(jpeg(count))
        seconds, megabytes = timed(alone, stage)
        under_dvc, _ = timed(dvc, repro + ["--force"] * (row == "forced"))
        print(f"| {count:,} | {row} | {seconds:.1f} | {megabytes:.0f} | {under_dvc:.1f} |", flush=True)


def clone(project: Path) -> None:
    subprocess.run(["git", "clone", "--quiet", REPO, project], check=True)
    yaml = YAML()
    params = yaml.load(project / "params.yaml")
    params["dataset"]["path"] = "data/photos"
    yaml.dump(params, project / "params.yaml")


def generate(folder: Path, count: int) -> None:
    """Distinct 96 x 72 JPEGs of some 3 KB, older than the check's mistrust of fresh files."""
    for number in range(CLASSES):
        (folder / f"class{number:02d}").mkdir(parents=True)
    with ProcessPoolExecutor() as pool:
        list(pool.map(partial(write, folder), range(count), chunksize=200))


def write(folder: Path, index: int) -> None:
    path = folder / f"class{index % CLASSES:02d}" / f"{index:06d}.jpg"
    path.write_bytes(jpeg(index))
    os.utime(path, (time.time() - 60,) * 2)


def jpeg(index: int) -> bytes:
    cells = np.random.default_rng(index).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(cells).resize((96, 72), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def timed(project: Path, command: list[str]) -> tuple[float, float]:
    """(seconds, peak megabytes of the largest process) of a command; pending writes are done before."""
    os.sync()
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=project, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{' '.join(map(str, command))} failed in {project}")
    return time.perf_counter() - start, usage.ru_maxrss / 1024


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("counts", type=int, nargs="+", help="images in a set")
    parser.add_argument("--folder", type=Path, help="where the sets are made and deleted")
    arguments = parser.parse_args()
    if not shutil.which("git"):
        sys.exit("git is needed")
    main(arguments.counts, arguments.folder)
