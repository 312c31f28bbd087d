"""The rows of a list file: a table with a header, or lines `path label` as MMPretrain has them."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

MAX_BYTES = 250 * 10**6
"""A larger list is refused: its rows would fill the memory. ImageNet's 1.3 million take 50 MB."""
MAX_LINE = 10**5
"""Characters; a longer line is no row of a list."""


def brief(text: str) -> str:
    """A cell for a message: quoted, its middle left out where it is long."""
    return repr(text) if len(text) <= 120 else f"{text[:80]!r} ... {text[-30:]!r}"


def read_rows(path: Path, shown: str) -> Iterator[tuple[int, dict[str, str]]]:
    """(line number, row) of a list file, read as it is used. Raises ValueError with the line."""
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(
            f"{shown} has {path.stat().st_size / 1e6:.0f} MB; at most {MAX_BYTES / 1e6:.0f} MB are "
            "read. Is it the list of the images?"
        )
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:  # spreadsheets write a byte order mark
            header = file.readline(MAX_LINE)
            delimiter = next(
                (s for s in "\t,;" if {"path", "label"} <= set(columns_of(header, s))), None
            )
            if delimiter:
                yield from table_rows(file, columns_of(header, delimiter), delimiter, shown)
            elif path.suffix.lower() in (".csv", ".tsv"):
                raise ValueError(
                    f"{shown} line 1: found {brief(header.rstrip())}; expected the columns path and "
                    "label."
                )
            else:
                file.seek(0)
                yield from plain_rows(file, shown)
    except UnicodeDecodeError as error:
        raise ValueError(f"{shown} is not UTF-8 ({error.reason}). Save it as UTF-8.") from None


def columns_of(header: str, delimiter: str) -> list[str]:
    cells = next(csv.reader([header], delimiter=delimiter), [])
    return [cell.strip().lower() for cell in cells]


def table_rows(
    file: TextIO, columns: list[str], delimiter: str, shown: str
) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows under a header that is read already."""
    reader = csv.DictReader(file, fieldnames=columns, delimiter=delimiter, strict=True)
    try:
        for row in reader:
            line = reader.line_num + 1
            if None in row or None in row.values():
                raise ValueError(
                    f"{shown} line {line}: another number of columns than the first line's "
                    f"{len(columns)}. Quote names that hold {delimiter!r}."
                )
            yield line, row
    except csv.Error as error:
        raise ValueError(f"{shown} line {reader.reader.line_num + 1}: {error}.") from None


def plain_rows(file: TextIO, shown: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Lines of a path and a label, separated by a tab or, if there is none, by a space."""
    number = 0
    while line := file.readline(MAX_LINE):
        number += 1
        if not line.strip():
            continue
        parts = line.rstrip().rsplit("\t" if "\t" in line.rstrip() else " ", 1)
        if len(parts) != 2 or len(line) == MAX_LINE:
            raise ValueError(
                f"{shown} line {number}: found {brief(line.rstrip())}; expected '<path> <label>'."
            )
        yield number, {"path": parts[0], "label": parts[1]}
