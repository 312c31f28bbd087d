"""Compare a rerun with dvc.lock: each output, and the stage where a difference begins."""

from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from tabulate import tabulate

SAME, DIFFERS, NOT_MADE, NEW = "same", "differs", "not made", "not in the other"

Lock = dict[str, dict]
"""The stages of dvc.lock: cmd, deps, params and outs of each, by its name."""


@dataclass(frozen=True)
class ComparedOutput:
    stage: str
    path: str
    verdict: str
    """SAME, DIFFERS, NOT_MADE (by the rerun) or NEW (only the rerun made it)."""


def read_lock(path: Path) -> Lock:
    """Raises FileNotFoundError, or ValueError for a file that is no lock."""
    try:
        return lock_of(path.read_bytes(), path.name)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path.name} does not exist. Run `dvc repro` and commit it.") from None


def lock_of(content: bytes, name: str = "dvc.lock") -> Lock:
    """Raises ValueError for the content of a file that is no lock."""
    try:
        return YAML(typ="safe").load(content.decode("utf-8"))["stages"]
    except (YAMLError, UnicodeDecodeError, KeyError, TypeError):
        raise ValueError(f"{name} cannot be read. `python -m stages check` says where.") from None


def compare_outputs(before: Lock, after: Lock) -> list[ComparedOutput]:
    """Every output of either lock, in the rerun's order."""
    compared = []
    for stage in {**after, **before}:
        old, new = hashes(before, stage, "outs"), hashes(after, stage, "outs")
        for path in {**new, **old}:
            if path not in new:
                verdict = NOT_MADE
            elif path not in old:
                verdict = NEW
            else:
                verdict = SAME if old[path] == new[path] else DIFFERS
            compared.append(ComparedOutput(stage, path, verdict))
    return compared


def hashes(lock: Lock, stage: str, kind: str) -> dict[str, str]:
    """The hash of each dependency (kind deps) or output (outs) of a stage, by its path."""
    entries = lock.get(stage, {}).get(kind, [])
    return {entry["path"]: entry.get(entry.get("hash", "md5"), "") for entry in entries}


def after_stage(lock: Lock, first: str) -> set[str]:
    """The stage `first` and all stages that depend on its outputs, directly or not."""
    reached, pending = set(), [first]
    while pending:
        stage = pending.pop()
        if stage in reached or stage not in lock:
            continue
        reached.add(stage)
        written = hashes(lock, stage, "outs")
        pending += [other for other in lock if written.keys() & hashes(lock, other, "deps").keys()]
    return reached


def other_inputs(before: Lock, after: Lock, stage: str) -> list[str]:
    """Which of a stage's command, parameter files and dependencies differ between the locks."""
    old, new = before.get(stage, {}), after.get(stage, {})
    names = ["cmd"] if old.get("cmd") != new.get("cmd") else []
    for file in {**old.get("params", {}), **new.get("params", {})}:
        if old.get("params", {}).get(file) != new.get("params", {}).get(file):
            names.append(file)
    read_before, read_after = hashes(before, stage, "deps"), hashes(after, stage, "deps")
    names += [
        path for path in {**read_after, **read_before} if read_before.get(path) != read_after.get(path)
    ]
    return names


def causes(before: Lock, after: Lock, compared: list[ComparedOutput], other: str) -> list[str]:
    """A sentence for each stage where a difference begins.

    Either its inputs differ, or it made another output from the same inputs. A stage that differs only
    because an earlier stage does is not named. other: how the sentences call `before`.
    """
    different = [row for row in compared if row.verdict != SAME]
    made = {row.path for row in different}
    sentences = []
    for stage in dict.fromkeys(row.stage for row in different):
        if stage not in before or stage not in after:
            where = other if stage in before else "the rerun"
            sentences.append(f"{stage}: only {where} has this stage.")
            continue
        inputs = other_inputs(before, after, stage)
        first = [name for name in inputs if name not in made]  # caused by no earlier stage
        outputs = ", ".join(row.path for row in different if row.stage == stage)
        if first:
            sentences.append(
                f"{stage}: {other} has other inputs ({', '.join(first)}), so {outputs} may differ."
            )
        elif not inputs:
            sentences.append(f"{stage}: from the same inputs it made another {outputs}.")
    return sentences


def table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, *rows]  # tabulate would add two spaces to the width of a header of its own
    text = tabulate(lines, tablefmt="plain", disable_numparse=True, preserve_whitespace=True)
    return "\n".join(line.rstrip() for line in text.splitlines())
