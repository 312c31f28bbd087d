"""How fast the train stage is: against the network's bare steps, and against `mim train`.

    python benchmarks/training/measure.py
    python benchmarks/training/measure.py --model resnet18_8xb32_in1k --size 224 --batch 16 --rounds 3

Prints the rows of results.md. Every round runs each command once, in turn, in a process of its own.

bare    forward, backward and optimizer step of the same network on one batch in memory: same batch size,
        threads, kernels and memory format; pictures per second
steps   the same in the train stage, with loading, augmentation and hooks, from its second epoch on
stage   `python -m stages.train`, whole, in seconds
mim     `mim train mmpretrain configs/rendered.py`, whole, in seconds
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPO = HERE.parents[1]
sys.path.insert(0, str(REPO / "benchmarks"))

from projects import copy_project, run, set_params  # noqa: E402


def main(arguments: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        project = Path(scratch) / "project"
        copy_project(project)
        image = {"size": arguments.size, "resize": round(arguments.size * 8 / 7)}
        train = {"epochs": arguments.epochs, "batch_size": arguments.batch}
        changes = {"image": image, "train": train}
        if arguments.model:
            changes["weights"] = {"source": "none", "model": arguments.model}
        if arguments.kernels:
            changes["train"]["cpu_kernels"] = arguments.kernels
        set_params(project, changes)
        run(project, "make_sample", "fetch_weights", "prepare_dataset", "render_config")
        mim = ["mim", "train", "mmpretrain", "configs/rendered.py", "--launcher", "none", "--gpus", "0"]
        commands = {
            "bare": [sys.executable, str(HERE / "bare.py")],
            "steps": [sys.executable, str(HERE / "steps.py")],
            "stage": [sys.executable, "-m", "stages.train"],
            "mim": [*mim, "--work-dir", ".work/mim"],
        }
        chosen = {name: commands[name] for name in arguments.only or commands}
        results = {name: [] for name in chosen}
        for _ in range(arguments.rounds):
            for name, command in chosen.items():
                for left in (".work/mim", ".work/train", "data/checkpoints"):
                    shutil.rmtree(project / left, ignore_errors=True)
                results[name].append(timed(command, project))
                print(name, round(results[name][-1], 1), file=sys.stderr, flush=True)
    middle = {name: statistics.median(values) for name, values in results.items()}
    name = arguments.model or "efficientnet_lite0"
    row = [f"{name}, {arguments.size} px, batch {arguments.batch}, {arguments.epochs} epochs"]
    for a, b in (("steps", "bare"), ("stage", "mim")):
        if a in middle and b in middle:
            pairs = [x / y for x, y in zip(results[a], results[b], strict=True)]
            ratios = f"{statistics.median(pairs):.2f} ({min(pairs):.2f} to {max(pairs):.2f})"
            row += [f"{middle[a]:.1f}", f"{middle[b]:.1f}", ratios]
    print("|", " | ".join(row), "|")


def timed(command: list[str], project: Path) -> float:
    """Pictures a second if the command prints them, or its wall time in seconds."""
    environment = os.environ | {"PYTHONWARNINGS": "ignore", "PYTHONPATH": str(project)}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    start = time.perf_counter()
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if done.returncode:
        sys.exit(done.stdout[-3000:] + done.stderr[-3000:])
    rates = [line for line in done.stdout.splitlines() if line.startswith("pictures a second:")]
    return float(rates[-1].rpartition(" ")[2]) if rates else seconds


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="", help="one of MMPretrain's, from random weights")
    parser.add_argument("--size", type=int, default=128, help="pixels")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--kernels", choices=["avx2", "avx2_intel", "native"], help="train.cpu_kernels")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=["bare", "steps", "stage", "mim"])
    main(parser.parse_args())
