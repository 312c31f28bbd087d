"""Compare metrics, parameters and data with a revision.

    python -m stages compare main
    python -m stages compare main --max-drop val_top1=0.5 --max-rise val_loss=0.1    as a gate

The report is Markdown. DVC computes the differences (`dvc metrics diff`, `dvc params diff`,
`dvc diff`). Data is compared by its hashes in dvc.lock and the .dvc files in Git, so the data itself
need not be there. If the predictions of both are in DVC's cache or in a remote, the report lists the
test images that are fixed or broken, and says whether so many can be chance.

Exit code 1 when a metric became worse by more than is allowed, is gone, or is no number. Accuracies are
in percent, so their drop is in percentage points. If dataset.path changed, the scores are of other
images and cannot be compared: no bound is judged.
"""

import argparse
import math
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.scm import RevError, resolve_rev

from stages.core.layout import PATHS
from stages.core.provenance.images import images_section
from stages.core.provenance.markdown import cell
from stages.core.provenance.revisions import (
    Changes,
    curves_section,
    data_section,
    is_new,
    is_number,
    metrics_section,
    params_section,
    unreadable,
)
from stages.core.yaml_files import check_project


@dataclass(frozen=True)
class Bound:
    option: str
    """--max-drop or --max-rise."""
    name: str
    allowed: float


def main(base: str, bounds: list[Bound], curves: bool = False, root: Path = Path()) -> list[str]:
    """Print the report. Returns a sentence for each bound that does not hold."""
    # ask DVC for the differences
    check_project(root)
    try:
        with Repo(str(root)) as repo:
            commit = resolve_rev(repo.scm, base)
            metrics = repo.metrics.diff(commit, "workspace", all=True)
            params = repo.params.diff(commit, "workspace")
            tracked = repo.params.diff(commit, "workspace", deps_only=True)
            data = repo.diff(commit, saved_state(root))
            history = repo.plots.show([PATHS["history"]], [commit, "workspace"]) if curves else {}
    except RevError:
        raise ValueError(
            f"{base!r} is no revision of this clone. `git log --oneline --all` lists them; "
            "`git fetch --unshallow` brings those that a shallow clone left out."
        ) from None
    except DvcException as error:
        raise ValueError(
            f"{root.resolve()} cannot be compared with {base}: {error}. Comparing needs a clone made "
            "by Git, with dvc.yaml in both revisions readable."
        ) from None

    # judge the bounds, unless the scores are of other images
    values, set_params = metrics.get("diff", {}), params.get("diff", {})
    judged = [(bound, *judge(bound, values)) for bound in bounds]
    moved = set_params.get(PATHS["params"], {}).get("dataset.path")
    if moved and moved["old"] and moved["new"]:
        judged = []

    # print what changed
    sections = [
        metrics_section(values, base),
        images_section(root, commit, base),
        params_section(set_params, tracked.get("diff", {}), base),
        data_section(data, base),
    ]
    print(f"## Compared with {cell(base)}\n")
    if any(sections):
        if values and set_params and is_new(values) and is_new(set_params):
            print(f"{cell(base)} has no metrics and no parameters yet: all are new.\n")
        print("\n".join(section for section in sections if section))
    else:
        print("Nothing changed: the same metrics, parameters and data.\n")
    notes = unreadable(metrics, commit, base) + unreadable(params, commit, base) + unknown_to_git(root)
    for note in notes:
        print(f"{note}\n")

    # print the verdicts and the curves
    if bounds and not judged:
        print("No bound is judged: dataset.path changed, so the scores are of other images.\n")
    for bound, holds, sentence in judged:
        mark = "" if holds else "**"
        print(f"{mark}{cell(bound.name)} {sentence}{mark}\n")
    if curves:
        print(curves_section(history, commit, base))
    return [f"{bound.name} {sentence}" for bound, holds, sentence in judged if not holds]


def saved_state(root: Path) -> str:
    """A commit, on no branch, of the tracked files as they are now; HEAD if they are unchanged."""
    who = ["-c", "user.name=compare", "-c", "user.email=compare@localhost"]
    done = subprocess.run(["git", *who, "stash", "create"], cwd=root, capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"Git cannot save the work tree's state: {done.stderr.strip()}")
    return done.stdout.strip() or "HEAD"


def unknown_to_git(root: Path) -> list[str]:
    """A sentence for each untracked file of DVC, as it was not compared."""
    listing = ["git", "ls-files", "-z", "--others", "--exclude-standard", "--", "*.dvc", "dvc.lock"]
    done = subprocess.run(listing, cwd=root, capture_output=True, text=True, check=True)
    return [
        f"{cell(file)} is not compared, as Git does not know it yet: `git add` it."
        for file in done.stdout.split("\0")
        if file
    ]


def judge(bound: Bound, metrics: Changes) -> tuple[bool, str]:
    """Whether the bound holds, and a sentence on how the metric changed.

    A bound holds for a metric that the base lacks. Raises ValueError when no metric, or more than one,
    has the name.
    """
    found = {
        f"{file}:{name}": change
        for file, changes in metrics.items()
        for name, change in changes.items()
        if bound.name in (name, f"{file}:{name}")
    }
    if len(found) != 1:
        known = found or {name for changes in metrics.values() for name in changes}
        problem = "several metrics have" if found else "no metric has"
        choice = f"expected one of {', '.join(sorted(known))}" if known else "there is no metric at all"
        raise ValueError(f"{bound.option} {bound.name}: {problem} this name; {choice}.")
    ((_, change),) = found.items()
    old, new = change["old"], change["new"]
    if new is None:
        return False, f"is gone; it was {cell(old)}."
    if not is_number(new):
        return False, f"is no number now, but {cell(new)}; it was {cell(old)}."
    if not is_number(old):
        return True, f"is {new:.6g}; it was no number before, so there is nothing to compare with."
    worse = old - new if bound.option == "--max-drop" else new - old
    if worse <= bound.allowed or math.isclose(worse, bound.allowed, rel_tol=1e-9):
        return True, f"went from {old:.6g} to {new:.6g}, within {bound.option} {bound.allowed:g}."
    verb = "dropped" if bound.option == "--max-drop" else "rose"
    return False, (
        f"{verb} by {worse:.6g}, from {old:.6g} to {new:.6g}; at most {bound.allowed:g} is allowed."
    )


def read_bound(option: str, text: str) -> Bound:
    name, _, number = text.rpartition("=")
    try:
        allowed = float(number)
    except ValueError:
        allowed = math.nan
    if not name or not (0 <= allowed < math.inf):
        raise ValueError(f"{option} is {text!r}; expected NAME=NUMBER, such as top1=0.5.")
    return Bound(option, name, allowed)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("base", help="a branch, tag or commit")
    for option, example in (("--max-drop", "val_top1=0.5"), ("--max-rise", "val_loss=0.1")):
        parser.add_argument(
            option, action="append", default=[], metavar="NAME=NUMBER", help=f"such as {example}"
        )
    parser.add_argument("--curves", action="store_true", help="add the learning curves, for GitHub")
    arguments = parser.parse_args()
    asked = [read_bound("--max-drop", text) for text in arguments.max_drop]
    asked += [read_bound("--max-rise", text) for text in arguments.max_rise]
    sentences = main(arguments.base, asked, arguments.curves)
    if sentences:
        sys.exit("\n".join(sentences))
