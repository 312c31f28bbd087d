"""How fast the train stage is: against the network's bare steps, and against `mim train`.

    python benchmarks/training/measure.py
    python benchmarks/training/measure.py --model resnet18_8xb32_in1k --size 224 --batch 16 --rounds 3

Prints the rows of results.md. Every round runs each command once, in turn, in a process of its own.

steps   the stage's steps against the network's bare steps, images a second (steps.py)
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

from projects import copy_project, pixels, run, set_params  # noqa: E402


def main(arguments: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        project = Path(scratch) / "project"
        copy_project(project)
        train = {"epochs": arguments.epochs, "batch_size": arguments.batch}
        changes = {"image": pixels(arguments.size), "train": train}
        if arguments.model:
            changes["weights"] = {"source": "none", "model": arguments.model}
        if arguments.kernels:
            changes["train"]["cpu_kernels"] = arguments.kernels
        set_params(project, changes)
        run(project, "make_sample", "fetch_weights", "prepare_dataset", "render_config")
        mim = ["mim", "train", "mmpretrain", "configs/rendered.py", "--launcher", "none", "--gpus", "0"]
        commands = {
            "steps": [sys.executable, str(HERE / "steps.py")],
            "stage": [sys.executable, "-m", "stages.train"],
            "mim": [*mim, "--work-dir", ".work/mim"],
        }
        chosen = {kind: commands[kind] for kind in arguments.only or commands}
        seconds = {kind: [] for kind in chosen}
        name = arguments.model or "efficientnet_lite0"
        title = f"{name}, {arguments.size} px, batch {arguments.batch}"
        for _ in range(arguments.rounds):
            for kind, command in chosen.items():
                for left in (".work/mim", ".work/train", "data/checkpoints"):
                    shutil.rmtree(project / left, ignore_errors=True)
                start = time.perf_counter()
                printed = output(command, project)
                seconds[kind].append(time.perf_counter() - start)
                if kind == "steps":
                    print(f"| {title}, {printed.splitlines()[-1]}", flush=True)
    if "stage" in chosen and "mim" in chosen:
        pairs = [x / y for x, y in zip(seconds["stage"], seconds["mim"], strict=True)]
        row = [f"{title}, {arguments.epochs} epochs ({arguments.rounds} rounds)"]
        row += [f"{statistics.median(seconds[kind]):.1f}" for kind in ("stage", "mim")]
        row.append(f"{statistics.median(pairs):.2f} ({min(pairs):.2f} to {max(pairs):.2f})")
        print("|", " | ".join(row), "|")


def output(command: list[str], project: Path) -> str:
    environment = os.environ | {"PYTHONWARNINGS": "ignore", "PYTHONPATH": str(project)}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stdout[-3000:] + done.stderr[-3000:])
    return done.stdout


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="", help="one of MMPretrain's, from random weights")
    parser.add_argument("--size", type=int, default=128, help="pixels")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--kernels", choices=["avx2", "avx2_intel", "native"], help="train.cpu_kernels")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=["steps", "stage", "mim"])
    main(parser.parse_args())
