"""The store changes when an image is decoded, never its pixels."""

import hashlib

import numpy as np
import pytest
from conftest import draw_image
from damage import DAMAGES, exchanged
from PIL import Image

from stages.core.images.decoding import decode
from stages.core.images.loading import LoadImage
from stages.core.images.store import ImageStore


def photo(path, size=(400, 300), seed=0):
    """A JPEG with structure at every scale."""
    draw = np.random.default_rng(seed)
    small = Image.fromarray(draw.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize(size)
    path.parent.mkdir(parents=True, exist_ok=True)
    small.save(path, quality=92)
    return path


def sha256_of(path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def load(path, sha256="", **options) -> np.ndarray:
    results = {"img_path": str(path), "sha256": sha256 or sha256_of(path)}
    return LoadImage(**options).transform(results)["img"]


def test_the_store_returns_the_pixels_that_decoding_produces(tmp_path):
    path = photo(tmp_path / "a.jpg")
    plain, sha256 = load(path, reduce=100), sha256_of(path)
    first = load(path, reduce=100, store=str(tmp_path / "store"), store_gb=1)
    path.unlink()
    second = load(path, sha256, reduce=100, store=str(tmp_path / "store"), store_gb=1)
    assert plain.shape == (100, 133, 3)
    assert np.array_equal(plain, first) and np.array_equal(plain, second)


def test_a_changed_image_has_another_hash_and_is_decoded_anew(tmp_path):
    options = dict(reduce=100, store=str(tmp_path / "store"), store_gb=1)
    one = load(photo(tmp_path / "a.jpg", seed=1), **options)
    two = load(photo(tmp_path / "a.jpg", seed=2), **options)
    assert not np.array_equal(one, two)


def test_an_image_that_changed_after_it_was_listed_is_refused_and_not_kept(tmp_path):
    """Kept under the listed hash, it would replace the listed image in every later run."""
    listed = sha256_of(photo(tmp_path / "a.jpg", seed=1))
    photo(tmp_path / "a.jpg", seed=2)
    with pytest.raises(ValueError, match="a.jpg is another image than the one listed: run `dvc repro`"):
        load(tmp_path / "a.jpg", listed, reduce=100, store=str(tmp_path / "store"), store_gb=1)
    assert not list((tmp_path / "store").rglob("*.npy"))


def test_a_reduced_image_equals_the_scaled_image_within_a_small_tolerance(tmp_path):
    """Decoding at an eighth, a quarter or a half, then scaling, is close to scaling every pixel."""
    path = photo(tmp_path / "a.jpg", (2000, 1500))
    reduced = np.asarray(decode(path.read_bytes(), reduce=128), dtype=int)
    exact = decode(path.read_bytes()).resize((171, 128), Image.Resampling.BICUBIC)
    assert np.abs(reduced - np.asarray(exact, dtype=int)).mean() < 2


@pytest.mark.parametrize("kind", ["jpg", "png"])
def test_small_images_are_not_scaled_and_kept_as_well(tmp_path, kind):
    path = draw_image(tmp_path / f"a.{kind}", size=(90, 60))
    plain, sha256 = load(path, reduce=0), sha256_of(path)
    options = dict(reduce=100, store=str(tmp_path / "store"), store_gb=1)
    first = load(path, **options)
    path.unlink()
    assert np.array_equal(plain, first) and np.array_equal(plain, load(path, sha256, **options))


def test_orientation_is_applied_to_reduced_images(tmp_path):
    image = Image.open(photo(tmp_path / "a.jpg"))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=exif)
    assert decode((tmp_path / "turned.jpg").read_bytes(), reduce=100).size == (100, 133)


def test_a_full_store_keeps_no_more_and_loses_nothing(tmp_path):
    store = ImageStore(tmp_path, 10, max_gb=1.2e-6)  # 1200 bytes
    store.put("aa", np.zeros((10, 14, 3), np.uint8))  # 579 in its file
    store.put("bb", np.zeros((10, 14, 3), np.uint8))
    assert store.get("aa") is not None and store.get("bb") is None


def test_two_runs_with_two_writers_each_stay_within_the_disk_they_may_use(tmp_path):
    runs = [ImageStore(tmp_path, 10, max_gb=50e-6, writers=2) for _ in range(4)]
    for number in range(100):
        for name, store in enumerate(runs):
            store.put(f"{number:02d}{name}", np.zeros((10, 14, 3), np.uint8))
    used = sum(file.stat().st_size for file in tmp_path.rglob("*.npy"))
    assert 30_000 < used <= 50_000


def test_images_of_another_size_make_room(tmp_path):
    for name in ("aa", "bb"):
        ImageStore(tmp_path, 10, max_gb=1).put(name, np.zeros((10, 14, 3), np.uint8))  # 579 each
    store = ImageStore(tmp_path, 11, max_gb=1.3e-6)
    store.put("aa", np.zeros((11, 14, 3), np.uint8))
    assert store.get("aa").shape == (11, 14, 3)
    assert ImageStore(tmp_path, 11, max_gb=1.3e-6).get("aa") is not None
    assert ImageStore(tmp_path, 10, max_gb=1).get("aa") is None


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_pixels_are_decoded_again_with_a_line(tmp_path, capfd, damage):
    path = photo(tmp_path / "a.jpg")
    options = dict(reduce=100, store=str(tmp_path / "store"), store_gb=1)
    pixels = load(path, **options)
    (kept,) = (tmp_path / "store").rglob("*.npy")
    DAMAGES[damage](kept)
    assert np.array_equal(load(path, **options), pixels)
    assert capfd.readouterr().err == f"{kept} is damaged: the image is decoded again\n"
    assert np.array_equal(load(path, **options), pixels) and not capfd.readouterr().err


def test_pixels_of_another_image_or_size_are_not_taken(tmp_path):
    stores = [ImageStore(tmp_path, reduce, max_gb=1) for reduce in (10, 11)]
    for shade, name in enumerate(("aa", "bb")):
        stores[0].put(name, np.full((10, 14, 3), shade, np.uint8))
    exchanged(stores[0].path("aa"), stores[0].path("bb"))
    stores[1].path("bb").parent.mkdir(parents=True)
    exchanged(stores[1].path("bb"), stores[0].path("bb"))
    assert stores[0].get("aa") is None and stores[1].get("bb") is None
    assert stores[0].get("bb").max() == 1


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path):
    (tmp_path / "file").write_text("")
    store = ImageStore(tmp_path / "file", 10, max_gb=1)
    store.put("aa", np.zeros((10, 14, 3), np.uint8))
    assert store.get("aa") is None
