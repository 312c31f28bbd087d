"""Images that are left out in the open: a CSV in Git, with a path and a reason a row."""

import csv
from dataclasses import dataclass
from pathlib import Path

from stages.core.dataset.label_list import MAX_BYTES, brief
from stages.core.names import unescape


@dataclass(frozen=True)
class Exclusion:
    line: int
    path: str
    """Of the image, from the project's root or from `dataset.path`."""
    reason: str


def read_exclusions(path: Path, shown: str) -> list[Exclusion]:
    """The rows of the file that `dataset.exclude` names. Raises FileNotFoundError or ValueError.

    shown: how messages name it.
    """
    expected = "expected a CSV with the columns path,reason; its header alone excludes nothing"
    if not path.is_file():
        raise FileNotFoundError(f"dataset.exclude: {shown} is no file; {expected}.")
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"dataset.exclude: {shown} has more than {MAX_BYTES / 1e6:.0f} MB; {expected}.")
    rows: dict[str, Exclusion] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = [cell.strip().lower() for cell in next(reader, [])]
            if header != ["path", "reason"]:
                raise ValueError(f"{shown} line 1: found {brief(','.join(header))}; {expected}.")
            for row in reader:
                if not any(row):
                    continue
                where = f"{shown} line {reader.line_num}"
                if len(row) != 2 or not all(cell.strip() for cell in row):
                    raise ValueError(
                        f"{where}: found {brief(','.join(row))}; expected a path and a reason. Quote "
                        "what holds a comma."
                    )
                name = unescape(row[0]).removeprefix("./")
                if name in rows:
                    raise ValueError(
                        f"{where}: {brief(name)} is also in line {rows[name].line}; expected it once."
                    )
                rows[name] = Exclusion(reader.line_num, name, row[1].strip())
    except UnicodeDecodeError as error:
        raise ValueError(f"{shown} is not UTF-8 ({error.reason}). Save it as UTF-8.") from None
    except csv.Error as error:
        raise ValueError(f"{shown} line {reader.line_num}: {error}.") from None
    return list(rows.values())
