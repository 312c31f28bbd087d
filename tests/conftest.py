"""A project in a temporary folder: the parameters of tests/params.yaml, changed as a test needs them."""

import colorsys
import os
import shutil
import signal
from pathlib import Path

import pytest
from filelock import FileLock
from PIL import Image, ImageDraw
from ruamel.yaml import YAML

from stages.core.machine.kernels import pin_kernels

TESTS = Path(__file__).parent
REPO = TESTS.parent
PARAMS = TESTS / "params.yaml"
"""What the tests start from: the values in the project's own params.yaml are its team's."""

pin_kernels(PARAMS)  # before torch computes anything; stages/__init__.py took the project's own

if "PYTEST_XDIST_WORKER" in os.environ:  # the workers share the cores
    import torch

    torch.set_num_threads(1)

# a shell that runs the tests in the background has Ctrl-C ignored, and what they start inherits that
signal.signal(signal.SIGINT, signal.default_int_handler)


def write_params(root: Path, **sections) -> None:
    """tests/params.yaml with values replaced, as params.yaml: write_params(root, train={"epochs": 1})."""
    yaml = YAML()
    content = yaml.load(PARAMS)
    for section, values in sections.items():
        if isinstance(values, dict):
            content[section].update(values)
        else:
            content[section] = values
    yaml.dump(content, root / "params.yaml")
    exclude = root / content["dataset"]["exclude"]
    if not exclude.exists():
        exclude.parent.mkdir(parents=True, exist_ok=True)
        exclude.write_text("path,reason\n", encoding="utf-8")


def draw_image(path: Path, variant: int = 0, hue: float = 0.0, size: tuple[int, int] = (40, 30)) -> Path:
    """A small image, another one for each variant: a bar of the given hue on grey."""
    path.parent.mkdir(parents=True, exist_ok=True)
    grey = 60 + variant % 120
    image = Image.new("RGB", size, (grey, grey, 255 - variant // 120 % 256))
    colour = tuple(int(255 * part) for part in colorsys.hsv_to_rgb(hue, 1, 1))
    left = 2 + variant % 11
    ImageDraw.Draw(image).rectangle([left, 4, left + size[0] // 2, size[1] - 6], fill=colour)
    image.save(path)
    return path


def class_folders(folder: Path, classes: dict[str, int], start: int = 0) -> Path:
    """A folder of images for each class, so many of each, all different."""
    for index, (name, count) in enumerate(classes.items()):
        for number in range(count):
            draw_image(folder / name / f"{number:03d}.png", start + number, hue=index / len(classes))
    return folder


@pytest.fixture(scope="session")
def small_run(tmp_path_factory) -> Path:
    """The real pipeline, run by real DVC at small settings: once, and each worker has a copy.

    What a test changes in it, it puts back.
    """
    from real_dvc import SMALL, clone, commit, repro

    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "small"
    with FileLock(f"{shared}.lock"):
        if not shared.exists():
            folder = clone(tmp_path_factory.mktemp("first") / "project", **SMALL)
            (folder.parent / "repro.log").write_text(repro(folder), encoding="utf-8")
            commit(folder)
            folder.parent.rename(shared)
    return shutil.copytree(shared, tmp_path_factory.mktemp("copy") / "small", symlinks=True) / "project"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write_params(tmp_path)
    return tmp_path
