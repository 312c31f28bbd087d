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
    first, seal = (tmp_path / "list.txt").read_bytes().splitlines(keepends=True)
    assert first == b"ff" * 32 + b" 3 a b.jpg\n" and seal.startswith(b"# checksum of all above: ")


IMAGES = [ListedImage(f"{number}.jpg", number % 3, f"{number:064x}") for number in range(19)]
WRONG = {
    "in a line": lambda text: text[: len(text) // 2],
    "at a line's end": lambda text: "".join(text.splitlines(keepends=True)[:9]),
    "without its last line": lambda text: "".join(text.splitlines(keepends=True)[:-1]),
    "another label": lambda text: text.replace(" 2 2.jpg", " 1 2.jpg"),
    "a line more": lambda text: text.replace("# check", f"{'0' * 64} 1 a.jpg\n# check"),
    "line ends of Windows": lambda text: text.replace("\n", "\r\n"),
    "not UTF-8": lambda text: text.replace("2.jpg", "\udcff.jpg"),
    "empty": lambda text: "",
}


@pytest.mark.parametrize("how", WRONG)
def test_a_list_that_was_cut_or_edited_is_refused(tmp_path, how):
    path = tmp_path / "test.txt"
    write_list(path, IMAGES)
    path.write_bytes(WRONG[how](path.read_text()).encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match="test.txt is not as it was written.*`dvc repro prepare-data"):
        read_list(path)


def test_class_names_that_were_edited_are_refused(tmp_path):
    path = tmp_path / "classes.txt"
    write_classes(path, ["apple", "pear"])
    path.write_text(path.read_text().replace("apple", "maple"))
    with pytest.raises(ValueError, match="classes.txt is not as it was written"):
        read_classes(path)


def test_a_list_in_the_place_of_another_is_refused(tmp_path):
    write_list(tmp_path / "train.txt", IMAGES)
    (tmp_path / "train.txt").rename(tmp_path / "test.txt")
    with pytest.raises(ValueError, match="test.txt is not as it was written"):
        read_list(tmp_path / "test.txt")


def test_an_empty_list_is_empty(tmp_path):
    write_list(tmp_path / "list.txt", [])
    assert read_list(tmp_path / "list.txt") == []
