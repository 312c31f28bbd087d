"""Every small change of a committed project, generated from its files: none is listed by hand."""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML


@dataclass(frozen=True)
class Mutation:
    name: str
    file: str
    content: bytes | None
    """What the file has then; None when it is deleted."""


def mutations_of_yaml(root: Path, file: str) -> Iterator[Mutation]:
    """Each key, item and value removed, doubled, renamed or set to another."""
    original = YAML(typ="safe").load(root / file)
    for place in places(original):
        for what, change in changes(at(original, place)):
            content = deepcopy(original)
            change(at(content, place[:-1]), place[-1])
            if repr(content) == repr(original):
                continue
            name = f"{file}: {'.'.join(map(str, place))} {what}"
            yield Mutation(name, file, dumped(content, root))


def places(node: object, here: tuple = ()) -> Iterator[tuple]:
    """The path to each value."""
    pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in list(pairs):
        yield (*here, key)
        yield from places(value, (*here, key))


def at(node: object, place: tuple) -> object:
    for key in place:
        node = node[key]
    return node


def changes(value: object) -> Iterator[tuple[str, object]]:
    """The name of each change of a value, and a function of what holds it and of its key there."""
    yield "removed", lambda holder, key: holder.pop(key)
    yield "doubled or renamed", double
    for other in others(value):
        yield f"set to {other!r}", lambda holder, key, other=other: holder.__setitem__(key, other)
    if isinstance(value, dict):
        yield "with an unknown key", lambda holder, key: holder[key].update(unknown=1)
    if isinstance(value, list):
        yield "with an unknown item", lambda holder, key: holder[key].append("unknown")


def double(holder: dict | list, key: object) -> None:
    if isinstance(holder, list):
        holder.append(deepcopy(holder[key]))
    else:
        holder[f"{key}x"] = holder.pop(key)


def others(value: object) -> list:
    """Other values: of the same type, and of others."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int | float):
        return [value + 1, str(value)]
    if isinstance(value, str):
        return [f"{value}x", value[:5], 7]
    return ["x", {} if isinstance(value, dict) else []]


def dumped(content: object, root: Path) -> bytes:
    scratch = root.parent / "scratch.yaml"
    YAML().dump(content, scratch)
    return scratch.read_bytes()


def mutations_of_text(root: Path, file: str) -> Iterator[Mutation]:
    """A file deleted, emptied, cut, extended, with other line ends, or in conflict."""
    content = (root / file).read_bytes()
    yield Mutation(f"{file} deleted", file, None)
    yield Mutation(f"{file} emptied", file, b"")
    yield Mutation(f"{file} cut", file, content[: len(content) // 2])
    yield Mutation(f"{file} in conflict", file, b"<<<<<<< HEAD\n" + content + b"=======\n>>>>>>> x\n")
    yield Mutation(f"{file} of zeros", file, bytes(len(content)))


def mutations_of_source(root: Path, file: str) -> Iterator[Mutation]:
    content = (root / file).read_bytes()
    yield from mutations_of_text(root, file)
    yield Mutation(f"{file} extended", file, content + b"x")
    yield Mutation(f"{file} with a bit flipped", file, bytes([content[0] ^ 1]) + content[1:])
    yield Mutation(f"{file} with CRLF", file, content.replace(b"\n", b"\r\n"))


def mutations_of_ignores(root: Path, file: str, named: list[str]) -> Iterator[Mutation]:
    """Each line removed, and a line for each file that must be seen."""
    lines = (root / file).read_text().splitlines(keepends=True)
    for number, line in enumerate(lines):
        if line.strip() and not line.startswith("#"):
            left = "".join(lines[:number] + lines[number + 1 :])
            yield Mutation(f"{file} without {line.strip()}", file, left.encode())
    for name in named:
        yield Mutation(f"{file} with {name}", file, f"{''.join(lines)}{name}\n".encode())
