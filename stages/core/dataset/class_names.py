"""Class names that are most likely a mistake. They can be used, so each gets a sentence and no error."""

import unicodedata
from collections import defaultdict

from stages.core.files import first_ten

NO_CLASSES = {"image", "images", "img", "imgs", "jpegimages", "photos", "pictures", "data", "dataset"}
NO_CLASSES |= {"mask", "masks", "label", "labels", "annotation", "annotations"}
"""Names of folders around classes, or beside images."""


def doubts(names: list[str]) -> list[str]:
    """A sentence for each kind of doubt about these class names."""
    same: dict[str, list[str]] = defaultdict(list)
    for name in names:
        same[bare(name)].append(name)
    alike = [name for some in same.values() if len(some) > 1 for name in some]
    invisible = [name for name in names if name != name.strip() or not all(map(visible, name))]
    no_classes = [name for name in names if name.casefold() in NO_CLASSES]
    leftovers = [name for name in names if name[0] in "@#$~"]
    sentences = {
        "differ only in case, spaces or characters that are not seen; are they one class?": alike,
        "begin or end with a space, or hold characters that are not seen": invisible,
        "look like no classes; if classes are folders in them, set dataset.class_level": no_classes,
        "look like the folders of a system or NAS; if so, remove them": leftovers,
    }
    return [
        f"{len(some)} class names {sentence}: {first_ten(sorted(some))}"
        for sentence, some in sentences.items()
        if some
    ]


def bare(name: str) -> str:
    """The name without what is hard to see: case, spaces, invisible characters, ways to write é."""
    text = unicodedata.normalize("NFKC", name).casefold()
    return "".join(letter for letter in text if letter != " " and visible(letter))


def visible(letter: str) -> bool:
    return letter == " " or unicodedata.category(letter)[0] not in "ZC"
