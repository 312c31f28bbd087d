"""Check that dvc.lock belongs to the code, parameters, pointers and results that are in Git.

Everything is read through DVC's own objects, and needs neither the data nor torch. DVC's own checks are
not enough. `dvc repro --dry` succeeds when stages would run. `--allow-missing` misses a change of the
first stage. `dvc status` reports absent data as deleted, and no parameter's value. None of them sees a
change of a dependency that lies inside another stage's output.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path, PurePosixPath

from dvc.dependency import ParamsDependency
from dvc.dvcfile import ProjectFile, load_file
from dvc.exceptions import DvcException
from dvc.output import Output
from dvc.repo import Repo
from dvc.repo.graph import build_graph
from dvc.scm import NoSCM
from dvc.stage import PipelineStage, Stage

from stages.core.files import first_ten
from stages.core.provenance.displays import display_problems
from stages.core.provenance.git_check import (
    data_problems,
    files_of_dvc,
    git_problems,
    pipeline_problems,
    remote_problems,
)
from stages.core.provenance.problems import (
    REPRO,
    Examination,
    Problem,
    message_of,
    name_of,
    path_of,
    relative_path,
)
from stages.core.provenance.records import file_causes, form_causes, import_causes, version_causes
from stages.core.provenance.versions import version_notes

MOST_READ = 1_000_000_000
"""Bytes of outputs that are read and hashed: a few seconds. Larger ones are known by their date."""


def examine_project(root: Path, most_read: float = MOST_READ) -> Examination:
    """Find everything in the project at `root` that does not belong together.

    most_read: how many bytes of outputs are read, the small ones first.
    """
    examined = Examination()
    add = examined.problems.append
    # there must be a Git repository, with a DVC project at its root or below
    try:
        repo = Repo(str(root))
        _ = repo.scm  # raises without a Git repository
    except DvcException as error:
        add(Problem("project", f"{message_of(error)}. Run in a Git clone of the project."))
        return examined
    if Path(repo.root_dir).resolve() != root.resolve():
        add(Problem("project", f"DVC's project is {repo.root_dir}: run the check there."))
        return examined
    if isinstance(repo.scm, NoSCM):
        add(Problem("project", "core.no_scm is set in .dvc/config: without Git nothing is committed."))
        return examined
    with repo:
        # read dvc.yaml and the .dvc files
        stages, broken = load_stages(repo)
        examined.problems += broken
        examined.stages = sum(isinstance(stage, PipelineStage) for stage in stages)
        examined.pointers = len(stages) - examined.stages
        examined.problems += pipeline_problems(repo, stages, broken)
        examined.problems += graph_problems(stages)
        outputs = {path_of(out): out for stage in stages for out in stage.outs}
        # compare each stage with dvc.lock, and the data that are here with both
        examined.by_date = too_large(outputs, most_read)
        locks = lock_files(repo, stages)
        examined.problems += chain.from_iterable(lock.problems for lock in locks.values())
        for stage in stages:
            lock = locks.get(stage.path)
            if lock is None or lock.stages is not None:
                examined.problems += stage_problems(stage, outputs, lock, examined)
            examined.dependencies += len(stage.deps)
            if isinstance(stage, PipelineStage):
                examined.outputs += len(stage.outs)
        # compare with Git and the remotes
        examined.problems += data_problems(repo, outputs)
        examined.problems += git_problems(repo, stages, outputs)
        if not broken:  # DVC draws and asks the remotes only for a project that it can read
            examined.problems += display_problems(repo, outputs)
            examined.remote, missing = remote_problems(repo, outputs)
            examined.problems += missing
        lock = locks.get(str(Path(repo.root_dir) / "dvc.yaml"))
        if lock and lock.stages:
            examined.notes += version_notes(repo, lock.stages)
    return examined


# --- reading the project ------------------------------------------------------------------------------


def load_stages(repo: Repo) -> tuple[list[Stage], list[Problem]]:
    """The stages of every dvc.yaml and .dvc file, and a problem for each that cannot be read.

    A stage that cannot be read hides neither the others nor their problems.
    """
    failures: list[tuple[str, Exception]] = []
    repo.stage_collection_error_handler = lambda path, error: failures.append((path, error))
    try:
        stages, problems = list(repo.index.stages), []
    except Exception:  # DVC raises what it likes for an entry of another type than it expects
        stages, problems, failures = load_each(repo)
    for path, error in failures:
        file = load_file(repo, str(Path(path).absolute()))
        where = relative_path(repo, file.path)
        if not isinstance(file, ProjectFile):
            problems.append(Problem(where, f"{message_of(error)}. Restore it with git."))
            continue
        try:
            names = list(file.stages)
        except DvcException as whole:
            where = Path(getattr(whole, "path", where)).name  # dvc.lock is read with dvc.yaml
            problems.append(Problem(where, f"{message_of(whole)}. Repair it, or restore it with git."))
            continue
        for name in names:
            try:
                stages.append(file.stages[name])
            except Exception as one:
                problems.append(Problem(name, f"{where} cannot be read: {message_of(one)}"))
    # .dvc files first, then stages in dvc.yaml's order: an earlier problem is often the cause
    return sorted(stages, key=lambda stage: (isinstance(stage, PipelineStage), stage.path)), problems


def load_each(repo: Repo) -> tuple[list[Stage], list[Problem], list[tuple[str, Exception]]]:
    """The stages of the files that can be read as a whole, no problem yet, and the other files."""
    stages, failures = [], []
    for name in files_of_dvc(repo):
        path = str(Path(repo.root_dir) / name)
        if name.endswith("dvc.lock") or not Path(path).exists():
            continue
        try:
            stages += load_file(repo, path).stages.values()
        except Exception as error:
            failures.append((path, error))
    return stages, [], failures


@dataclass(frozen=True)
class LockFile:
    project: ProjectFile
    """The dvc.yaml."""
    stages: dict | None
    """The file's entry of each stage, by name; None when there is no such file."""
    problems: list[Problem]


def lock_files(repo: Repo, stages: list[Stage]) -> dict[str, LockFile]:
    """The lock of each dvc.yaml, by the path of the dvc.yaml."""
    locks = {}
    for path in {stage.path: None for stage in stages if isinstance(stage, PipelineStage)}:
        file = load_file(repo, path)
        name = relative_path(repo, file._lockfile.path)
        if not file._lockfile.exists():
            missing = Problem(name, f"{name} does not exist: nothing was run", REPRO)
            locks[path] = LockFile(file, None, [missing])
            continue
        content = file.lockfile_contents.get("stages", {})
        gone = [stage for stage in content if stage not in file.stages]
        cause = "{} has it, {} does not: remove it from {}, or restore the stage"
        problems = [
            Problem(stage, cause.format(name, relative_path(repo, path), name)) for stage in gone
        ]
        locks[path] = LockFile(file, content, problems)
    return locks


def graph_problems(stages: list[Stage]) -> Iterator[Problem]:
    try:
        build_graph(stages)
    except DvcException as error:
        yield Problem("dvc.yaml", message_of(error))


# --- one stage ----------------------------------------------------------------------------------------


def stage_problems(
    stage: Stage, outputs: dict[str, Output], lock: LockFile | None, examined: Examination
) -> Iterator[Problem]:
    """lock: the lock of the stage's dvc.yaml; None for a .dvc file, which is its own lock."""
    where = name_of(stage)
    if lock is not None and stage.name not in lock.stages:
        yield Problem(where, "dvc.lock does not have this stage: it was never run", REPRO)
        return
    causes = chain(
        command_causes(stage, lock),
        doubled_causes(stage, lock),
        source_causes(stage),
        chain.from_iterable(form_causes(stage, *records) for records in recorded(stage, lock)),
        (cause for dep in stage.deps for cause in dependency_causes(stage, dep, outputs)),
        (cause for out in stage.outs for cause in output_causes(out, examined)),
        leftover_causes(stage, lock),
    )
    problems = [Problem(where, cause, remedy) for cause, remedy in causes]
    yield from problems
    if problems and stage.frozen and lock is not None:
        yield Problem(where, "it is frozen in dvc.yaml, so `dvc repro` does not run it")


def recorded(stage: Stage, lock: LockFile | None) -> Iterator[tuple[list[dict], str]]:
    """The records of the stage as they are written, and the name of their file."""
    if lock is None:
        yield stage.dvcfile.load().get("outs") or [], name_of(stage)
        return
    for kind in ("deps", "outs"):
        yield lock.stages[stage.name].get(kind, []), "dvc.lock"


def command_causes(stage: Stage, lock: LockFile | None) -> Iterator[tuple[str, str]]:
    if stage.always_changed:
        yield "it is always_changed, so no lock can show that its outputs are up to date", ""
    if lock is None:
        if stage.changed_stage():
            yield "it was edited by hand: its md5 does not match. Restore it, or run `dvc update`", ""
    elif stage.cmd_changed:
        before = lock.stages[stage.name]["cmd"]
        yield f"its command is {stage.cmd!r}; dvc.lock has {before!r}", REPRO


def source_causes(stage: Stage) -> Iterator[tuple[str, str]]:
    if stage.is_import and not stage.is_partial_import:
        content = stage.dvcfile.load()
        yield from import_causes(content["deps"][0], content["outs"][0], name_of(stage))


def doubled_causes(stage: Stage, lock: LockFile | None) -> Iterator[tuple[str, str]]:
    """An entry that dvc.yaml lists twice would be twice in dvc.lock after the next run."""
    if lock is None:
        return
    entries = lock.project.contents["stages"].get(stage.name.partition("@")[0], {})
    for section, items in entries.get("do", entries).items():
        if isinstance(items, list) and section != "cmd":
            counts = Counter(map(repr, items))
            twice = [item for item, count in counts.items() if count > 1]
            yield from ((f"its {section} in dvc.yaml have {item} twice", "") for item in twice)


def dependency_causes(
    stage: Stage, dep: Output, outputs: dict[str, Output]
) -> Iterator[tuple[str, str]]:
    if isinstance(dep, ParamsDependency):
        yield from parameter_causes(dep)
        return
    if not isinstance(stage, PipelineStage):
        return  # the source of an import: only `dvc update` can ask it
    path = path_of(dep)
    if path in outputs:
        yield from made_causes(dep, outputs[path])
        return
    around = [other for other in outputs if PurePosixPath(path).is_relative_to(other)]
    within = [other for other in outputs if PurePosixPath(other).is_relative_to(path)]
    if around:
        owner = name_of(outputs[around[0]].stage)
        yield (
            f"{path} lies inside {around[0]}, which {owner} writes as a whole: DVC does not see when it "
            f"changes. Depend on {around[0]}, or make {path} an output of its own",
            "",
        )
    elif within:
        names = first_ten(within, str)
        yield f"{path} holds outputs of other stages ({names}): depend on those instead", ""
    elif not dep.is_in_repo:
        yield f"{path} is outside the project: nothing shows that the stage read this version", ""
    else:
        new, modified = (
            "was added to the dependencies after the stage ran",
            "has changed since the stage ran",
        )
        yield from file_causes(dep, new, modified)


def parameter_causes(dep: ParamsDependency) -> Iterator[tuple[str, str]]:
    file = path_of(dep)
    try:
        now = dep.read_params()
    except DvcException as error:
        yield f"{file} cannot be read: {message_of(error)}", ""
        return
    locked = dep.hash_info.value or {}
    for key in dep.params or {**now, **locked}:
        if key not in now:
            yield f"{file} has no {key}, which dvc.yaml names. Restore it", ""
        elif key not in locked:
            yield f"{key} of {file} was added to the parameters after the stage ran", REPRO
        else:
            for name, value, before in changed_values(key, now[key], locked[key]):
                yield f"{file} has {name}: {value}; dvc.lock has {before}", REPRO


def changed_values(name: str, now: object, before: object) -> Iterator[tuple[str, str, str]]:
    """(name, value now, value before) of each leaf in which two parameter values differ."""
    if isinstance(now, dict) and isinstance(before, dict):
        for key in {**now, **before}:
            yield from changed_values(f"{name}.{key}", now.get(key, ...), before.get(key, ...))
    elif now != before and (not isinstance(now, tuple) or list(now) != before):
        yield name, *("no such key" if value is ... else repr(value) for value in (now, before))


def made_causes(dep: Output, out: Output) -> Iterator[tuple[str, str]]:
    """Compare a dependency with the output at its path: the stage must have read what was written."""
    path, owner = path_of(dep), name_of(out.stage)
    pointer = not isinstance(out.stage, PipelineStage)
    if not out.hash_info:
        if pointer:
            yield f"{owner} has no hash of {path} yet: run `dvc update {owner}`", ""
    elif not dep.hash_info:
        yield f"{path} was added to the dependencies after the stage ran", REPRO
    else:
        yield from version_causes(dep, out, owner, "names" if pointer else "wrote")


def too_large(outputs: dict[str, Output], most_read: float) -> list[str]:
    """The outputs that are here and are not read: the largest, so that the others are no more."""
    here = [out for out in outputs.values() if out.use_cache and out.exists]
    large, total = [], 0
    for out in sorted(here, key=lambda out: out.meta.size or 0):
        total += out.meta.size or 0
        if total > most_read:
            large.append(path_of(out))
    return large


def output_causes(out: Output, examined: Examination) -> Iterator[tuple[str, str]]:
    """Data may be absent, as in a clone without data. Outputs that Git keeps may not."""
    path, pointer = path_of(out), not isinstance(out.stage, PipelineStage)
    if out.use_cache and not out.exists:
        if out.hash_info:
            examined.absent.append(path)
        elif not pointer:
            yield f"{path} was added to the outputs after the stage ran", REPRO
        return
    by_date = path in examined.by_date
    if out.use_cache and not by_date:
        examined.hashed[path] = out.meta.size or 0
    if not pointer:
        new, modified = "was added to the outputs after the stage ran", "is not what the stage wrote"
        yield from file_causes(out, new, modified, by_date=by_date)
    elif out.hash_info:
        todo = f"`dvc add {path}` records it, `dvc checkout {path}` restores the recorded data"
        yield from file_causes(out, "", f"is not the recorded data ({todo})", "", by_date)


def leftover_causes(stage: Stage, lock: LockFile | None) -> Iterator[tuple[str, str]]:
    """What dvc.lock lists and dvc.yaml no longer does; DVC ignores such entries."""
    if lock is None:
        return
    entry = lock.stages[stage.name]
    params = {dep.def_path: dep.params for dep in stage.deps if isinstance(dep, ParamsDependency)}
    declared = {
        "deps": {dep.def_path for dep in stage.deps},
        "outs": {out.def_path for out in stage.outs},
    }
    names = [
        f"{kind[:-1]} {item['path']}"
        for kind in declared
        for item in entry.get(kind, [])
        if item["path"] not in declared[kind]
    ]
    for file, values in entry.get("params", {}).items():
        known = params.get(file)
        names += [
            f"param {key} of {file}" for key in values if known is None or (known and key not in known)
        ]
    if names:
        force = f"`dvc repro --force --single-item {name_of(stage)}`"
        yield f"dvc.lock lists {first_ten(names, str)}; dvc.yaml does not. Run {force}", ""
