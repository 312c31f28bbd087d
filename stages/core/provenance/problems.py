"""What the check of dvc.lock found, and the words for it."""

from dataclasses import dataclass, field
from pathlib import Path

from dvc.output import Output
from dvc.repo import Repo
from dvc.stage import PipelineStage, Stage

from stages.core.files import first_ten

REPRO, RECORD, GIT, PUSH = "repro", "record", "git", "push"
TO_DO = {
    REPRO: "`dvc repro` runs what is stale and brings dvc.lock up to date.",
    RECORD: "`dvc commit --force` writes the records of the data that are here anew; `git checkout` "
    "restores a record that was edited.",
    GIT: "`git add` what belongs in the next commit; `git checkout` undoes what was changed by mistake.",
    PUSH: "`dvc push` uploads the data.",
}


@dataclass(frozen=True)
class Problem:
    where: str
    """A stage, a .dvc file, or another part of the project."""
    cause: str
    remedy: str = ""
    """A key of TO_DO; empty when the cause itself says what to do."""


@dataclass
class Examination:
    problems: list[Problem] = field(default_factory=list)
    stages: int = 0
    pointers: int = 0
    """.dvc files."""
    dependencies: int = 0
    outputs: int = 0
    hashed: dict[str, int] = field(default_factory=dict)
    """The bytes of each output of DVC that was read and hashed."""
    by_date: list[str] = field(default_factory=list)
    """Outputs that are too large to be read: DVC's own record says that no date changed."""
    absent: list[str] = field(default_factory=list)
    remote: str = ""
    """Whether the remotes have the data, or why they were not asked, in words."""
    notes: list[str] = field(default_factory=list)
    """What is worth knowing and is no problem."""


def report(examined: Examination) -> str:
    """The problems grouped by place, then what to do. A few lines when there is no problem."""
    if not examined.problems:
        verdict = (
            f"{examined.stages} stages, {examined.dependencies} dependencies and parameter groups, "
            f"{examined.outputs} outputs, {examined.pointers} .dvc files: everything matches dvc.lock "
            f"and is in Git; {examined.remote}"
        )
        return "\n".join([verdict, data_line(examined), *examined.notes])
    count = len(examined.problems)
    lines = [f"{count} problem{'s' * (count > 1)}: what Git holds does not belong together."]
    for where in dict.fromkeys(problem.where for problem in examined.problems):
        lines += ["", f"{where}:"]
        lines += [f"  {problem.cause}" for problem in examined.problems if problem.where == where]
    remedies = {problem.remedy for problem in examined.problems}
    lines += ["", *(text for key, text in TO_DO.items() if key in remedies), *examined.notes]
    return "\n".join(lines).rstrip("\n")


def data_line(examined: Examination) -> str:
    """Which data were looked at, and how."""
    parts = []
    if examined.hashed:
        size = sum(examined.hashed.values()) / 1e6
        parts.append(f"{len(examined.hashed)} outputs of DVC hashed ({size:.1f} MB)")
    if examined.by_date:
        names = first_ten(examined.by_date, str)
        parts.append(f"large, so DVC's record of their dates was trusted: {names} (--data hashes them)")
    if examined.absent:
        parts.append(f"not here, so not looked at: {first_ten(examined.absent, str)}")
    return f"data: {'; '.join(parts) or 'no output of DVC'}"


def message_of(error: Exception) -> str:
    """The message of a DVC exception as one line, with the line of the YAML file if it has one."""
    mark = getattr(error.__cause__, "problem_mark", None)
    line = f", line {mark.line + 1}" if mark else ""
    text = (
        " ".join(str(error).split()).rstrip(".") or f"an entry of another form ({type(error).__name__})"
    )
    causes = [text + line + getattr(error, "hint", "")]
    if error.__cause__ is not None and not mark:
        causes.append(" ".join(str(error.__cause__).split()).rstrip("."))
    return ": ".join(cause for cause in causes if cause)


def name_of(stage: Stage) -> str:
    file = relative_path(stage.repo, stage.path)
    if not isinstance(stage, PipelineStage):
        return file
    return stage.name if file == "dvc.yaml" else f"{file}:{stage.name}"


def path_of(entry: Output) -> str:
    """Relative to the project's root, with forward slashes. A path outside stays as it is written."""
    return relative_path(entry.repo, entry.fs_path) if entry.is_in_repo else entry.def_path


def relative_path(repo: Repo, path: str) -> str:
    return Path(repo.fs.relpath(path, repo.root_dir)).as_posix()
