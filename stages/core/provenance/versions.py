"""Which stages ran with other versions of packages than requirements.lock names now.

DVC does not record the environment. Git's history does: a stage ran with the requirements.lock that was
committed with its entry in dvc.lock.
"""

import re
from contextlib import suppress
from pathlib import Path

from dvc.repo import Repo

from stages.core.files import first_ten
from stages.core.provenance.git import git
from stages.core.yaml_files import load_yaml

REQUIREMENTS = "requirements.lock"


def version_notes(repo: Repo, locked: dict[str, dict]) -> list[str]:
    """A sentence for each set of stages whose versions differ. locked: the stages of dvc.lock."""
    root = Path(repo.root_dir)
    if not (root / REQUIREMENTS).is_file():
        return []
    now = versions((root / REQUIREMENTS).read_text(encoding="utf-8", errors="replace"))
    found: dict[str, list[str]] = {}
    for stage, used in versions_used(root, locked, now).items():
        # a package that is new was not used
        names = sorted(name for name in used if used[name] != now.get(name))
        changes = [f"{name} {used[name]} -> {now.get(name, 'none')}" for name in names]
        if changes:
            found.setdefault(first_ten(changes, str), []).append(stage)
    return [
        f"note: {REQUIREMENTS} changed after {', '.join(stages)} ran ({changes}). `make verify` shows "
        "whether the results stay the same"
        for changes, stages in found.items()
    ]


def versions_used(root: Path, locked: dict[str, dict], now: dict[str, str]) -> dict[str, dict[str, str]]:
    """The versions with which each stage ran, back to where the history ends.

    A change of requirements.lock is older than a stage whose entry in dvc.lock came with or after it.
    """
    used: dict[str, dict[str, str]] = {}
    current = now
    lock_text = (root / "dvc.lock").read_text(encoding="utf-8")
    # HEAD comes first: requirements.lock may be changed in the work tree
    changes = git(root, "log", "--format=%H", "--", REQUIREMENTS).split()
    for before in ["HEAD", *(f"{commit}^" for commit in changes)]:
        waiting = locked.keys() - used.keys()
        if not waiting:
            break
        with suppress(RuntimeError):  # the commit before the first has neither file
            older = git(root, "show", f"{before}:./dvc.lock")
            entries = locked if older == lock_text else stages_of(older)
            used |= {stage: current for stage in waiting if entries.get(stage) != locked[stage]}
            current = versions(git(root, "show", f"{before}:./{REQUIREMENTS}"))
    return {stage: current for stage in locked} | used


def stages_of(text: str) -> dict[str, dict]:
    try:
        return load_yaml(text, Path("dvc.lock"))["stages"]
    except (ValueError, KeyError, TypeError):  # an old dvc.lock that was damaged
        return {}


def versions(text: str) -> dict[str, str]:
    """The version of each package that a requirements file names."""
    return dict(re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", text, flags=re.MULTILINE))
