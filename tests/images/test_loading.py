"""The rendered config reads list files."""

import hashlib

import pytest
from conftest import draw_image

from stages.core.images.lists import ListedImage, write_list
from stages.core.images.loading import ListedImages


def test_a_label_without_a_class_is_refused(tmp_path):
    write_list(tmp_path / "list.txt", [ListedImage("a.png", label, "0" * 64) for label in (0, 2)])
    options = dict(ann_file=str(tmp_path / "list.txt"), pipeline=[])
    assert len(ListedImages(metainfo={"classes": ["x", "y", "z"]}, **options)) == 2
    with pytest.raises(ValueError, match="has labels up to 2, and .* 2 classes.*Run `dvc repro`"):
        ListedImages(metainfo={"classes": ["x", "y"]}, **options)


def test_listed_images_reads_list_files_with_any_name(tmp_path):
    names = ["a b.png", "火龙果.png", "new\nline.png"]
    images = []
    for label, name in enumerate(names):
        sha256 = hashlib.sha256(draw_image(tmp_path / "data" / name, label).read_bytes()).hexdigest()
        images.append(ListedImage(f"data/{name}", label, sha256))
    write_list(tmp_path / "list.txt", images)
    dataset = ListedImages(
        data_root=str(tmp_path),
        ann_file="list.txt",
        metainfo={"classes": ["x", "y", "z"]},
        pipeline=[{"type": "LoadImage"}],
    )
    for label, name in enumerate(names):
        sample = dataset[label]
        assert sample["img"].shape == (30, 40, 3)
        assert (sample["listed_path"], sample["gt_label"]) == (f"data/{name}", label)
