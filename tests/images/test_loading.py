"""The rendered config reads list files."""

import hashlib

from conftest import picture

from stages.core.images.lists import ListedImage, write_list
from stages.core.images.loading import ListedImages


def test_listed_images_reads_list_files_with_any_name(tmp_path):
    names = ["a b.png", "火龙果.png", "new\nline.png"]
    images = []
    for label, name in enumerate(names):
        sha256 = hashlib.sha256(picture(tmp_path / "data" / name, label).read_bytes()).hexdigest()
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
