"""YAML that people and DVC wrote: read within a second, or refused with a sentence.

A few lines can stand for billions of values: an alias (`*name`) repeats what an anchor (`&name`) names.
So the text is looked through before anything is made of it.
"""

from collections.abc import Iterator
from pathlib import Path

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

LARGEST, LARGEST_PARAMS = 10_000_000, 100_000
"""Bytes of a file of DVC, and of params.yaml."""
DEEPEST = 50
LONGEST = 3000
"""Characters of one value: Python prints a number of up to 4,300 digits."""
MOST = 100_000
"""Values, with those that aliases repeat."""
Parser = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml_text(path: Path, params: bool = False) -> str:
    """The text of a file that can safely be read as YAML. Raises ValueError.

    params: whether it is params.yaml, which is small and has no aliases, as commands edit it.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} {'is no file' if path.exists() else 'does not exist'}. Run from the project's "
            "folder, or restore it with git."
        )
    size, largest = path.stat().st_size, LARGEST_PARAMS if params else LARGEST
    if size > largest:
        raise ValueError(f"{path} has {size / 1e6:.1f} MB; expected at most {largest / 1e6:g} MB.")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise ValueError(f"{path} line {line} is not UTF-8; save the file as UTF-8.") from None
    check_yaml(text, path, aliases=not params)
    return text


def check_project(root: Path) -> None:
    """Raise ValueError for a file that DVC would read for hours, or not at all."""
    for name in ("params.yaml", "dvc.yaml", "dvc.lock", "*.dvc", "*/*.dvc"):
        for path in sorted(root.glob(name)):
            if path.is_file():
                read_yaml_text(path, params=name == "params.yaml")


def check_yaml(text: str, path: Path, aliases: bool = True) -> None:
    """Raise ValueError for YAML that is conflicting, too deep, or stands for too much.

    Other mistakes of syntax are left to the reader, which names them.
    """
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("<<<<<<< "):
            raise ValueError(
                f"{path} line {number} has a conflict marker of Git ({line[:7]}): resolve the conflict."
            )
    try:
        for line, problem in problems(text, aliases):
            raise ValueError(f"{path} line {line} {problem}.")
    except yaml.YAMLError:
        return


def problems(text: str, aliases: bool) -> Iterator[tuple[int, str]]:
    """The line and the words of what is too much in the text, as soon as it is met."""
    sizes: dict[str, int] = {}  # of what each anchor names
    open_nodes: list[list] = [[None, 0]]  # the anchor, and the number of values so far
    for event in yaml.parse(text, Loader=Parser):
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            if not aliases:
                yield line, f"has an alias (*{event.anchor}); expected the value itself"
            if event.anchor not in sizes:
                yield line, f"has an alias (*{event.anchor}) of no value above it"
            open_nodes[-1][1] += sizes[event.anchor]
        elif isinstance(event, yaml.ScalarEvent):
            if (length := len(event.value)) > LONGEST:
                yield line, f"has a value of {length:,} characters; expected at most {LONGEST:,}"
            open_nodes[-1][1] += 1
            sizes[event.anchor] = 1
        elif isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append([event.anchor, 1])
            if len(open_nodes) > DEEPEST:
                yield line, f"is more than {DEEPEST} levels deep"
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, size = open_nodes.pop()
            open_nodes[-1][1] += size
            sizes[anchor] = size
        if open_nodes[-1][1] > MOST:
            yield line, f"brings the values to more than {MOST:,}, with those that aliases repeat"


def load_yaml(text: str, path: Path) -> object:
    """The values of a checked text. Raises ValueError with the line of a mistake."""
    try:
        return YAML(typ="safe").load(text)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1
        raise ValueError(f"{path} line {line} is not valid YAML: {error.problem}.") from None
    except Exception as error:  # ruamel lets through what int(), date() and so on raise
        raise ValueError(f"{path} is not valid YAML: {' '.join(str(error).split())}.") from None
