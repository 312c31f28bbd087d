"""Rerun the pipeline and compare its output with dvc.lock.

    python -m stages verify                rerun the commit at HEAD
    python -m stages verify --twice        also compare two reruns with each other
    python -m stages verify --tolerance top1=1.0,loss=0.05,tensors=0.01

The rerun starts from nothing, in a temporary clone.

Every x86-64 CPU with AVX2 produces the same bytes while train.cpu_kernels is avx2. On a GPU, with
other kernels or in several processes, train and the stages after it may differ from dvc.lock. That is
reported; it fails only with --strict, or above a tolerance. Exit code 1 when the proof fails. The
project itself is not touched.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stages.core.machine.kernels import is_x86
from stages.core.params import Params, load_params
from stages.core.provenance.lock_diff import (
    DIFFERS,
    SAME,
    ComparedOutput,
    Lock,
    after_stage,
    causes,
    compare_outputs,
    hashes,
    read_lock,
    table,
)
from stages.core.provenance.rerun import (
    bring_data,
    changed_files,
    clone_commit,
    committed_content,
    head,
    run_pipeline,
    temporary_folder,
)
from stages.core.provenance.tolerances import TENSORS, above, compare_files, names_in, parse_tolerances


@dataclass(frozen=True)
class Version:
    """The outputs of the committed run, or of a rerun."""

    name: str
    lock: Lock
    content: Callable[[str, str], bytes | None]
    """Returns an output's content from its path and hash; None for a folder, and if it is nowhere."""


def main(
    root: Path = Path(),
    twice: bool = False,
    strict: bool = False,
    tolerances: dict[str, float] | None = None,
) -> bool:
    """Print the comparison. Returns whether the proof holds."""
    # only the commit is verified
    commit = head(root)
    print(f"commit {commit[:10]}, in a clone that is deleted afterwards", flush=True)
    if changed := changed_files(root):
        print(f"not verified, as only the commit is: changes of {', '.join(changed)}", flush=True)
    with temporary_folder() as folder:
        # read the committed state, and refuse a wrong tolerance before the long run
        project = clone_commit(root, commit, folder / "rerun")
        params = load_params(project / "params.yaml")
        committed = Version(
            "dvc.lock",
            read_lock(project / "dvc.lock"),
            lambda path, md5: committed_content(root, commit, path, md5),
        )
        if tolerances:
            check_names(tolerances, committed)
        may_differ = unpromised(params)
        # rerun, then compare
        again = rerun("rerun", root, project)
        pairs = [(committed, again, "" if strict else may_differ)]
        if twice:
            project = clone_commit(root, commit, folder / "second rerun")
            pairs.append((again, rerun("second rerun", root, project), ""))
        print(f"\n{outputs_table([(before, after) for before, after, _ in pairs])}\n")
        return all([proved(*pair, tolerances) for pair in pairs])  # a list: all are printed


def rerun(name: str, root: Path, project: Path) -> Version:
    pointers = bring_data(root, project)
    print(f"{name}: dvc repro" + (f", on {', '.join(pointers)}" if pointers else ""), flush=True)
    run_pipeline(project)
    return Version(name, read_lock(project / "dvc.lock"), lambda path, md5: file_content(project / path))


def file_content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def unpromised(params: Params) -> str:
    """Why train and the stages after it may differ on this machine; empty when they may not."""
    from stages.core.machine.device import use_device

    if use_device(params.runtime.device) != "cpu":
        return "this machine trains on CUDA"
    if not is_x86():
        return "this CPU is not an x86-64"
    if params.train.cpu_kernels != "avx2":
        return f"train.cpu_kernels is {params.train.cpu_kernels}"
    if params.runtime.processes > 1:
        return f"runtime.processes is {params.runtime.processes}"
    return ""


def check_names(tolerances: dict[str, float], committed: Version) -> None:
    """Raises ValueError for a tolerance whose name no output has."""
    known = {TENSORS}
    for stage in committed.lock:
        for path, md5 in hashes(committed.lock, stage, "outs").items():
            if path.endswith((".json", ".csv")) and (content := committed.content(path, md5)):
                known |= names_in(path, content)
    for name in tolerances:
        if name not in known:
            raise ValueError(
                f"--tolerance: nothing is named {name!r}; expected one of {', '.join(sorted(known))}."
            )


def outputs_table(pairs: list[tuple[Version, Version]]) -> str:
    """A row for each output, a column for each comparison."""
    verdicts: dict[tuple[str, str], list[str]] = {}
    for number, (before, after) in enumerate(pairs):
        for row in compare_outputs(before.lock, after.lock):
            verdicts.setdefault((row.stage, row.path), [""] * len(pairs))[number] = row.verdict
    header = ["stage", "output", *(f"{after.name} vs {before.name}" for before, after in pairs)]
    return table(header, [[*key, *columns] for key, columns in verdicts.items()])


def proved(
    before: Version, after: Version, may_differ: str, tolerances: dict[str, float] | None
) -> bool:
    """Print the result of a comparison. Returns whether the proof holds."""
    compared = compare_outputs(before.lock, after.lock)
    different = [row for row in compared if row.verdict != SAME]
    what = f"{after.name} vs {before.name}"
    if not different:
        print(f"{what}: all {len(compared)} outputs are the same")
        return True
    print(f"{what}: {len(different)} of {len(compared)} outputs differ")
    for sentence in causes(before.lock, after.lock, compared, before.name):
        print(f"  {sentence}")
    trained = after_stage(after.lock, "train")
    wrong = [row for row in different if row.stage not in trained or row.verdict != DIFFERS]
    if tolerances is not None:
        near = [row for row in different if row not in wrong]
        return all([*(near_enough(row, before, after, tolerances) for row in near), not wrong])
    if may_differ and not wrong:
        print(f"  train and the stages after it may differ, as {may_differ}; --strict makes it an error")
        return True
    return False


def near_enough(
    row: ComparedOutput, before: Version, after: Version, tolerances: dict[str, float]
) -> bool:
    """Print by how much an output differs. Returns whether that is within the tolerances."""
    contents = [
        version.content(row.path, hashes(version.lock, row.stage, "outs")[row.path])
        for version in (before, after)
    ]
    if None in contents and row.path.endswith((".json", ".csv", ".pth")):
        print(f"  {row.path}: neither the cache nor a remote has that of {before.name}; run `dvc pull`")
        return False
    differences = None if None in contents else compare_files(row.path, *contents)
    if differences is None:
        print(f"  {row.path}: not compared, as it holds no numbers")
        return True
    too_far = above(differences, tolerances)
    print(f"  {row.path}:")
    rows = [
        [
            f"    {difference.name}",
            f"{difference.absolute:.3g}",
            f"{difference.relative:.3g}",
            f"{tolerances[difference.tolerance_name]:g}"
            if difference.tolerance_name in tolerances
            else "",
            "too far" if difference in too_far else "",
        ]
        for difference in differences
    ]
    print(table(["", "difference", "relative", "tolerance", ""], rows))
    return not too_far


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--twice", action="store_true", help="rerun twice, and compare the reruns with each other, too"
    )
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument("--strict", action="store_true", help="fail wherever an output differs")
    ways.add_argument(
        "--tolerance",
        metavar="NAME=NUMBER,...",
        help="how far metrics, table columns and tensors may differ in train and the stages after it",
    )
    arguments = parser.parse_args()
    tolerances = None if arguments.tolerance is None else parse_tolerances(arguments.tolerance)
    sys.exit(0 if main(Path(), arguments.twice, arguments.strict, tolerances) else 1)
