"""List files keep every name, and say where they are damaged."""

import pytest

from stages.core.images.lists import ListedImage, read_classes, read_list, write_classes, write_list

NAMES = [
    "a.jpg",
    "a b.jpg",
    "火龙果/猕.jpg",
    "new\nline",
    "back\\slash\\n",
    "cr\r.jpg",
    " lead",
    "-dash",
    "\\",
    "🍎",
]


def test_what_is_written_is_read_back_whatever_the_names(tmp_path):
    images = [ListedImage(name, label, f"{label:064x}") for label, name in enumerate(NAMES)]
    write_list(tmp_path / "list.txt", images)
    assert read_list(tmp_path / "list.txt") == images
    write_classes(tmp_path / "classes.txt", NAMES)
    assert read_classes(tmp_path / "classes.txt") == NAMES


def test_a_line_is_hash_label_path(tmp_path):
    write_list(tmp_path / "list.txt", [ListedImage("a b.jpg", 3, "ff" * 32)])
    assert (tmp_path / "list.txt").read_bytes() == b"ff" * 32 + b" 3 a b.jpg\n"


def test_a_damaged_line_is_named(tmp_path):
    (tmp_path / "list.txt").write_text(f"{'0' * 64} 1 a.jpg\nnonsense\n")
    with pytest.raises(
        ValueError, match=r"list.txt line 2: found 'nonsense'; expected '<sha256> <label>"
    ):
        read_list(tmp_path / "list.txt")


def test_an_empty_list_is_empty(tmp_path):
    write_list(tmp_path / "list.txt", [])
    assert read_list(tmp_path / "list.txt") == []
