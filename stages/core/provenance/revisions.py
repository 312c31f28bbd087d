"""What changed between two revisions, as sections of Markdown. DVC computes the differences."""

import math
from itertools import chain

from stages.core.layout import PATHS
from stages.core.provenance.markdown import cell, line_chart, table

Changes = dict[str, dict[str, dict]]
"""File -> name -> {"old": ..., "new": ..., "diff": ...}, as DVC returns it."""


def metrics_section(changes: Changes, base: str) -> str:
    rows = [
        [file, name, change["old"], change["new"], difference(change)]
        for file, name, change in changed(changes)
    ]
    if not rows:
        return ""
    return "### Metrics\n\n" + table(["file", "metric", cell(base), "now", "change"], rows)


def params_section(changes: Changes, tracked: Changes, base: str) -> str:
    rows = changed(changes)
    if not rows:
        return ""
    text = table(
        ["file", "parameter", cell(base), "now"],
        [[file, name, as_yaml(change["old"]), as_yaml(change["new"])] for file, name, change in rows],
    )
    others = [name for file, name, _ in rows if name not in tracked.get(file, {})]
    if others:
        text += f"\nNo stage depends on {', '.join(map(cell, others))}.\n"
    return "### Parameters\n\n" + text


def data_section(data: dict[str, list[dict]], base: str) -> str:
    rows = []
    for kind in ("added", "deleted", "modified", "renamed"):
        for entry in data.get(kind, []):
            path, md5 = entry["path"], entry["hash"]
            if isinstance(path, dict):
                path = f"{path['old']} -> {path['new']}"
            if not isinstance(md5, dict):
                md5 = {
                    "old": md5 if kind != "added" else None,
                    "new": md5 if kind != "deleted" else None,
                }
            rows.append([path, kind, *((md5[side] or "")[:8] or None for side in ("old", "new"))])
    if not rows:
        return ""
    return "### Data\n\n" + table(
        ["path", "", f"MD5 in {cell(base)}", "MD5 now"], sorted(rows, key=lambda row: row[0])
    )


def curves_section(history: dict, commit: str, base: str) -> str:
    """Charts of metrics/training.csv. `base` is drawn, too, if its run had the same epochs."""
    now, before = (read_curves(history.get(revision, {})) for revision in ("workspace", commit))
    if not now:
        return (
            f"No curves: {PATHS['history']} has fewer than two epochs, or a value that is no number.\n"
        )
    epochs = [int(epoch) for epoch in now["epoch"]]
    top1 = {"now": now["val_top1"]}
    if before.get("epoch") == now["epoch"]:
        top1[cell(base)] = before["val_top1"]
    charts = [
        line_chart("val top-1, percent", "epoch", epochs, top1),
        line_chart("loss", "epoch", epochs, {"training": now["loss"], "val": now["val_loss"]}),
    ]
    return "### Learning curves\n\n" + "\n".join(charts)


def read_curves(plots: dict) -> dict[str, list[float]]:
    """The columns to draw. Empty when one is missing, holds no numbers, or has a single row."""
    rows = plots.get("sources", {}).get("data", {}).get(PATHS["history"], {}).get("data", [])
    names = ("epoch", "loss", "val_loss", "val_top1")
    try:
        columns = {name: [float(row[name]) for row in rows] for name in names}
    except (KeyError, TypeError, ValueError):
        return {}
    finite = all(map(math.isfinite, chain(*columns.values())))
    return columns if finite and len(rows) >= 2 else {}


def unreadable(diff: dict, commit: str, base: str) -> list[str]:
    """One sentence for each file that DVC could not read."""
    sentences = []
    for revision, errors in diff.get("errors", {}).items():
        where = f"in {cell(base)}" if revision == commit else "now"
        for file, error in errors.items() if isinstance(errors, dict) else [("dvc.yaml", errors)]:
            if isinstance(error, FileNotFoundError):
                sentences.append(f"{cell(file)} does not exist {where}.")
            else:
                sentences.append(f"{cell(file)} cannot be read {where}: {cell(str(error))}")
    return sentences


def changed(changes: Changes) -> list[tuple[str, str, dict]]:
    """(file, name, change) of all that changed, in order. NaN equals NaN."""
    return [
        (file, name, change)
        for file in sorted(changes)
        for name, change in sorted(changes[file].items())
        if change["old"] != change["new"] and not (is_nan(change["old"]) and is_nan(change["new"]))
    ]


def is_new(changes: Changes) -> bool:
    return all(change["old"] is None for names in changes.values() for change in names.values())


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def difference(change: dict) -> str | None:
    if is_number(change["old"]) and is_number(change["new"]):
        return f"{change['diff']:+.6g}"
    return None


def as_yaml(value: object) -> object:
    """A value as params.yaml has it: a string that looks like a number or a YAML word is quoted."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and value in ("true", "false", "null", "-") or looks_like_number(value):
        return repr(value)
    return value


def looks_like_number(value: object) -> bool:
    try:
        return isinstance(value, str) and math.isfinite(float(value))
    except ValueError:
        return False
