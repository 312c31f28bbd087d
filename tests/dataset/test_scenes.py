"""prepare-dataset with dataset.scenes: no scene is in two splits, and official splits are examined."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from conftest import write_params
from PIL import Image

from stages import prepare_dataset
from stages.core.images.lists import read_list

pytestmark = pytest.mark.slow


def prepare(root: Path, **dataset) -> dict:
    write_params(root, dataset={"path": "data/raw", "near_duplicates": 0, "scenes": 0.8, **dataset})
    prepare_dataset.main(root)
    return json.loads((root / "metrics/dataset.json").read_text())


def series(folder: Path, name: str, hue: float, scenes: int) -> None:
    """Of each scene, four images that differ a little."""
    for scene in range(scenes):
        for shot in range(4):
            draw_scene(folder / name / f"{scene}-{shot}.png", hue, scene, shot)


def draw_scene(path: Path, hue: float, scene: int, shot: int) -> None:
    """A pattern that the scene decides, a little brighter in each shot."""
    random = np.random.default_rng(scene)
    cells = random.integers(0, 200, (4, 4, 3)) + np.array([55 * hue, 0, 0]) + 3 * shot
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(cells.clip(0, 255).astype(np.uint8))
    image.resize((64, 64), Image.Resampling.NEAREST).save(path)


def scene_names(path: Path) -> set[str]:
    return {image.path.rpartition("-")[0] for image in read_list(path)}


def test_images_of_one_scene_stay_in_one_split(project):
    for name, hue in (("a", 0.0), ("b", 1.0)):
        series(project / "data/raw", name, hue, scenes=8)
    prepare(project)
    lists = [scene_names(project / f"data/dataset/{split}.txt") for split in ("train", "val", "test")]
    assert sum(map(len, lists)) == len(set.union(*lists)) == 16
    assert all(lists)


def test_test_images_of_a_trained_scene_are_counted_and_named(project, capsys):
    raw = project / "data/raw"
    for name, hue in (("a", 0.0), ("b", 1.0)):
        series(raw / "train", name, hue, scenes=4)
        draw_scene(raw / f"test/{name}/seen.png", hue, scene=0, shot=9)
        draw_scene(raw / f"test/{name}/new.png", hue, scene=20, shot=0)
    counts = prepare(project, test_from="test")
    assert counts["shared_scenes"] == 2
    assert "2 of 4 test images show a scene that train shows" in capsys.readouterr().out
    with (project / "data/dataset/findings.csv").open(encoding="utf-8", newline="") as file:
        rows = [row["path"] for row in csv.DictReader(file) if row["finding"] == "shared scene"]
    assert rows == [f"data/raw/test/{name}/seen.png" for name in "ab"]


def test_a_class_of_too_few_scenes_is_split_by_content_and_named(project, capsys):
    series(project / "data/raw", "a", 0.0, scenes=8)
    for shot in range(12):
        draw_scene(project / f"data/raw/b/{shot}.png", 1.0, 0, shot)
    prepare(project)
    assert "1 classes have too few scenes" in capsys.readouterr().out
    for split in ("train", "val", "test"):
        assert {image.label for image in read_list(project / f"data/dataset/{split}.txt")} == {0, 1}
