"""A copy of this project in a temporary folder, to measure in."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from ruamel.yaml import YAML

REPO = Path(__file__).resolve().parents[1]
YAML_FILE = YAML()


def copy_project(project: Path) -> None:
    """This work tree as Git knows it, uncommitted changes included."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=REPO, check=True, capture_output=True).stdout.decode()
    for name in filter(None, names.split("\0")):
        if (REPO / name).is_file():
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(REPO / name, project / name)


def copy_classes(photos: Path, folder: Path, classes: Path | None) -> None:
    """Class folders of `photos`: those that the file `classes` lists, or all."""
    names = classes.read_text().split() if classes else [path.name for path in photos.iterdir()]
    for name in names:
        shutil.copytree(photos / name, folder / name)


def set_params(project: Path, changes: dict) -> None:
    """Values of the project's params.yaml: {"train": {"epochs": 1}, "seed": 2}."""
    params = YAML_FILE.load(project / "params.yaml")
    for section, values in changes.items():
        if isinstance(values, dict):
            params[section].update(values)
        else:
            params[section] = values
    YAML_FILE.dump(params, project / "params.yaml")


def pixels(size: int) -> dict:
    """The image section for a image size; the short side is that of 256 for 224, as is usual."""
    resize = round(size * 8 / 7)
    return {"size": size, "resize": resize, "reduce": max(256, resize)}


def run(project: Path, *stages: str) -> None:
    for stage in stages:
        command = [sys.executable, "-m", f"stages.{stage}"]
        environment = os.environ | {"PYTHONWARNINGS": "ignore"}
        subprocess.run(command, cwd=project, check=True, stdout=subprocess.DEVNULL, env=environment)
