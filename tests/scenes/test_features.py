"""What the fixed network sees, computed once for each content."""

import hashlib
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from conftest import draw_image

from stages.core.machine.kernels import is_x86
from stages.core.scenes import features as module
from stages.core.scenes.features import DIMENSIONS, scene_features

pytestmark = pytest.mark.slow


def by_content(*files: Path) -> dict[str, Path]:
    return {hashlib.sha256(file.read_bytes()).hexdigest(): file for file in files}


@pytest.fixture(scope="module")
def computed(tmp_path_factory) -> tuple[Path, dict[str, Path], dict[str, np.ndarray]]:
    """Folder, files, and their features."""
    folder = tmp_path_factory.mktemp("features")
    names = {"red.png": 0.0, "red-too.png": 0.01, "green.png": 0.35}
    files = by_content(
        *(draw_image(folder / name, hue=hue, size=(60, 40)) for name, hue in names.items())
    )
    return folder, files, dict(scene_features(files, 1, folder / "work"))


def test_like_images_have_like_features(computed):
    _, files, features = computed
    red, too, green = (features[sha256].astype(float) for sha256 in files)
    assert red.shape == (DIMENSIONS,)
    assert np.linalg.norm(red - too) < np.linalg.norm(red - green) / 2


@pytest.mark.skipif(not is_x86(), reason="the bytes are those of x86-64")
def test_the_features_have_the_same_bytes_on_any_cpu(computed):
    """A change here moves images between the splits of every user's dataset with scenes."""
    content = b"".join(row.tobytes() for row in computed[2].values())
    assert hashlib.sha256(content).hexdigest()[:16] == "8cd44d6aeeb63c96"


def test_they_do_not_depend_on_the_other_images(computed, tmp_path):
    _, files, features = computed
    last = list(files)[-1]
    alone = dict(scene_features({last: files[last]}, 1, tmp_path))
    assert (alone[last] == features[last]).all()


def test_they_are_computed_once(computed, monkeypatch):
    folder, files, features = computed
    monkeypatch.setattr(module, "network", None)
    again = dict(scene_features(files, 0, folder / "work"))
    assert all((again[sha256] == features[sha256]).all() for sha256 in files)


def test_damaged_ones_are_computed_again(computed):
    folder, files, features = computed
    (database,) = (folder / "work").glob("*.sqlite")
    with sqlite3.connect(database) as connection:
        (content,) = connection.execute("SELECT sealed FROM features").fetchone()
        connection.execute("UPDATE features SET sealed = ?", [bytes([content[0] ^ 1]) + content[1:]])
    connection.close()
    again = dict(scene_features(files, 1, folder / "work"))
    assert all((again[sha256] == features[sha256]).all() for sha256 in files)


def test_a_file_that_changed_meanwhile_is_refused(tmp_path):
    file = draw_image(tmp_path / "a.png")
    files = by_content(file)
    draw_image(file, variant=7)
    with pytest.raises(ValueError, match=r"a\.png has changed while"):
        list(scene_features(files, 1, tmp_path / "work"))
