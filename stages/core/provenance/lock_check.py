"""Check that dvc.lock belongs to the code, parameters, pointers and results that are in Git.

Everything is read through DVC's own objects, and needs neither the data nor torch. DVC's own checks are
not enough. `dvc repro --dry` succeeds when stages would run. `--allow-missing` misses a change of the
first stage. `dvc status` reports absent data as deleted, and no parameter's value. None of them sees a
change of a dependency that lies inside another stage's output.
"""

import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
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
from dvc_data.hashfile.build import build
from dvc_data.hashfile.obj import HashFile
from dvc_data.hashfile.tree import Tree

from stages.core.files import first_ten

REPRO, GIT, PUSH = "repro", "git", "push"
TO_DO = {
    REPRO: "`dvc repro` runs what is stale and brings dvc.lock up to date.",
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
    remote: str = ""
    """Whether the remotes have the data, or why they were not asked, in words."""


def examine_project(root: Path) -> Examination:
    """Find everything in the project at `root` that does not belong together."""
    examined = Examination()
    add = examined.problems.append
    # there must be a Git repository, with a DVC project at its root or below
    try:
        repo = Repo(str(root))
        _ = repo.scm  # raises without a Git repository
    except DvcException as error:
        add(Problem("project", f"{message_of(error)}. Run in a Git clone of the project."))
        return examined
    if Path(repo.root_dir) != root.resolve():
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
        examined.problems += graph_problems(stages)
        outputs = {path_of(out): out for stage in stages for out in stage.outs}
        # compare each stage with dvc.lock
        locks = lock_files(repo, stages)
        examined.problems += chain.from_iterable(lock.problems for lock in locks.values())
        for stage in stages:
            lock = locks.get(stage.path)
            if lock is None or lock.stages is not None:
                examined.problems += stage_problems(stage, outputs, lock)
            examined.dependencies += len(stage.deps)
            if isinstance(stage, PipelineStage):
                examined.outputs += len(stage.outs)
        # compare with Git and the remotes
        examined.problems += git_problems(repo, stages, outputs)
        if not broken:  # DVC asks the remotes only for a project that it can read
            examined.remote, missing = remote_problems(repo)
            examined.problems += missing
    return examined


# --- reading the project ------------------------------------------------------------------------------


def load_stages(repo: Repo) -> tuple[list[Stage], list[Problem]]:
    """The stages of every dvc.yaml and .dvc file, and a problem for each that cannot be read.

    A stage that cannot be read hides neither the others nor their problems.
    """
    failures: list[tuple[str, Exception]] = []
    repo.stage_collection_error_handler = lambda path, error: failures.append((path, error))
    stages, problems = list(repo.index.stages), []
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
            except DvcException as one:
                problems.append(Problem(name, f"{where} cannot be read: {message_of(one)}"))
    return sorted(stages, key=order_in_file), problems


def order_in_file(stage: Stage) -> tuple:
    """.dvc files first, then stages in dvc.yaml's order: an earlier problem is often the cause."""
    if isinstance(stage, PipelineStage):
        return 1, stage.path, list(stage.dvcfile.stages).index(stage.name)
    return 0, stage.path, 0


@dataclass(frozen=True)
class LockFile:
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
            locks[path] = LockFile(
                None, [Problem(name, f"{name} does not exist: nothing was run", REPRO)]
            )
            continue
        content = file.lockfile_contents.get("stages", {})
        gone = [stage for stage in content if stage not in file.stages]
        cause = "{} has it, {} does not: remove it from {}, or restore the stage"
        problems = [
            Problem(stage, cause.format(name, relative_path(repo, path), name)) for stage in gone
        ]
        locks[path] = LockFile(content, problems)
    return locks


def graph_problems(stages: list[Stage]) -> Iterator[Problem]:
    try:
        build_graph(stages)
    except DvcException as error:
        yield Problem("dvc.yaml", message_of(error))


# --- one stage ----------------------------------------------------------------------------------------


def stage_problems(stage: Stage, outputs: dict[str, Output], lock: LockFile | None) -> Iterator[Problem]:
    """lock: the lock of the stage's dvc.yaml; None for a .dvc file, which is its own lock."""
    where = name_of(stage)
    if lock is not None and stage.name not in lock.stages:
        yield Problem(where, "dvc.lock does not have this stage: it was never run", REPRO)
        return
    causes = chain(
        command_causes(stage, lock),
        (cause for dep in stage.deps for cause in dependency_causes(stage, dep, outputs)),
        (cause for out in stage.outs for cause in output_causes(out)),
        leftover_causes(stage, lock),
    )
    problems = [Problem(where, cause, remedy) for cause, remedy in causes]
    yield from problems
    if problems and stage.frozen and lock is not None:
        yield Problem(where, "it is frozen in dvc.yaml, so `dvc repro` does not run it")


def command_causes(stage: Stage, lock: LockFile | None) -> Iterator[tuple[str, str]]:
    if stage.always_changed:
        yield "it is always_changed, so no lock can show that its outputs are up to date", ""
    if lock is None:
        if stage.changed_stage():
            yield "it was edited by hand: its md5 does not match. Restore it, or run `dvc update`", ""
    elif stage.cmd_changed:
        before = lock.stages[stage.name]["cmd"]
        yield f"its command is {stage.cmd!r}; dvc.lock has {before!r}", REPRO


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
        yield from version_causes(dep, outputs[path])
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
        yield from file_causes(dep, "was added to the dependencies", "has changed since the stage ran")


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


def version_causes(dep: Output, out: Output) -> Iterator[tuple[str, str]]:
    """Compare a dependency with the output at its path: the stage must have read what was written."""
    path, owner = path_of(dep), name_of(out.stage)
    pointer = not isinstance(out.stage, PipelineStage)
    if not out.hash_info:
        if pointer:
            yield f"{owner} has no hash of {path} yet: run `dvc update {owner}`", ""
    elif not dep.hash_info:
        yield f"{path} was added to the dependencies after the stage ran", REPRO
    elif dep.hash_info != out.hash_info:
        wrote = "names" if pointer else "wrote"
        yield f"{path}: {owner} {wrote} {short_hash(out)}, this stage read {short_hash(dep)}", REPRO


def output_causes(out: Output) -> Iterator[tuple[str, str]]:
    """Data may be absent, as in a clone without data. Outputs that Git keeps may not."""
    if out.exists or not out.use_cache:
        if isinstance(out.stage, PipelineStage):
            yield from file_causes(out, "was added to the outputs", "is not what the stage wrote")
        elif out.hash_info and out.workspace_status():
            path = path_of(out)
            remedy = f"`dvc add {path}` records it, `dvc checkout {path}` restores the recorded data"
            yield f"{path} is not the recorded data: {remedy}", ""
    elif not out.hash_info and isinstance(out.stage, PipelineStage):
        yield f"{path_of(out)} was added to the outputs after the stage ran", REPRO


def file_causes(entry: Output, new: str, modified: str) -> Iterator[tuple[str, str]]:
    path = path_of(entry)
    try:
        status = "new" if not entry.hash_info else entry.workspace_status().get(str(entry), "")
    except (DvcException, OSError) as error:
        yield f"{path} cannot be read: {message_of(error)}", ""
        return
    if not entry.exists:
        yield f"{path} is missing: restore it with git, or make it with `dvc repro`", ""
    elif status == "new":
        yield f"{path} {new} after the stage ran", REPRO
    elif status:
        names = first_ten(changed_files(entry), str) if entry.hash_info.isdir else ""
        yield f"{path} {modified}{names and f': {names}'}", REPRO


def changed_files(folder: Output) -> list[str]:
    """The files in which a folder differs from the one in Git that dvc.lock recorded.

    DVC records one hash for a folder. So its files are compared with those of a commit whose folder has
    this hash: one where the hash came into dvc.lock, or HEAD. Without such a commit, as in a shallow
    clone, the list is empty.
    """
    repo, recorded, path = folder.repo, folder.hash_info, path_of(folder)
    lock = folder.stage.dvcfile._lockfile.path
    command = ["git", "log", "--reverse", "--format=%H", f"-S{recorded.value}", "--", lock]
    done = subprocess.run(command, cwd=repo.root_dir, capture_output=True, text=True)
    for commit in [*done.stdout.split(), "HEAD"]:
        with suppress(DvcException, OSError), repo.switch(commit):
            before = built(folder, repo.fs.join(repo.root_dir, path))
            if before.hash_info == recorded:
                break
    else:
        return []
    now = built(folder, folder.fs_path)
    different = hashes_in(before).items() ^ hashes_in(now).items()
    return sorted({f"{path}/{name}" for name, _ in different})


def built(folder: Output, path: str) -> HashFile:
    """DVC's object of the folder, as the repository's current revision has it under `path`."""
    cache, fs, ignore = folder.local_cache, folder.repo.fs, folder.repo.dvcignore
    return build(cache, path, fs, folder.hash_name, dry_run=True, ignore=ignore)[2]


def hashes_in(entry: HashFile) -> dict[str, str]:
    """The hash of each file of a folder; none when a file has taken its place."""
    return {"/".join(key): md5.value for key, _, md5 in entry} if isinstance(entry, Tree) else {}


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


# --- Git and the remotes ------------------------------------------------------------------------------


def git_problems(repo: Repo, stages: list[Stage], outputs: dict[str, Output]) -> Iterator[Problem]:
    """Files of the pipeline that a clone would lack, or have in another version.

    The work tree is compared with Git's index, because the next commit takes its files from there.
    """
    # what the pipeline keeps in Git: everything but DVC's data
    files = {"params.yaml", ".dvcignore", ".dvc/config"}
    for stage in stages:
        files.add(relative_path(repo, stage.path))
        if isinstance(stage, PipelineStage):
            files.add(relative_path(repo, stage.dvcfile._lockfile.path))
        files.update(path_of(out) for out in stage.outs if not out.use_cache)
        files.update(path_of(dep) for dep in stage.deps if dep.is_in_repo)
    data = {path for path, out in outputs.items() if out.use_cache}
    inside = tuple(f"{path}/" for path in data)
    paths = sorted(path for path in files - data if not path.startswith(inside))
    # ask Git for their state
    command = ["git", "status", "--porcelain=v1", "-z", "--no-renames", "--untracked-files=all"]
    command += ["--ignored=matching", "--", *(f":(literal){path}" for path in paths)]
    done = subprocess.run(command, cwd=repo.root_dir, capture_output=True)
    if done.returncode:
        message = done.stderr.decode("utf-8", "replace").strip()
        yield Problem("Git", f"git status failed: {message}")
        return
    # group the files by what their state means for a clone
    prefix = Path(repo.root_dir).relative_to(repo.scm.root_dir).as_posix() + "/"
    found: dict[str, list[str]] = {}
    for entry in filter(None, done.stdout.decode("utf-8", "backslashreplace").split("\0")):
        state, path = entry[:2], entry[3:].removeprefix(prefix)
        absolute = str(Path(repo.root_dir) / path)
        no_dependency = path not in files and repo.dvcignore.is_ignored(repo.fs, absolute)
        if path.startswith(inside) or path.rstrip("/") in data or no_dependency:
            continue
        if kind := meaning_of(state, named=path in (".dvcignore", ".dvc/config")):
            found.setdefault(kind, []).append(path)
    yield from (Problem("Git", f"{kind}: {first_ten(names, str)}", GIT) for kind, names in found.items())


def meaning_of(state: str, named: bool) -> str:
    """What Git's two letters of a file mean for a clone; empty when the clone has the same file.

    named: whether a deleted file is named, too. A stage's file is not, as the stage names it itself.
    """
    if state == "!!":
        return "git-ignored, so no clone has it"
    if state == "??":
        return "not in Git (files go in with `git add`, data with `dvc add`)"
    if "U" in state or state in ("AA", "DD"):
        return "in a merge conflict"
    if state[1] == " " or (state[1] == "D" and not named):
        return ""
    return "changed, and the change is not in Git"


def remote_problems(repo: Repo) -> tuple[str, list[Problem]]:
    """Whether the remotes have the data, in words, and a problem for the data that they lack."""
    default = repo.config["core"].get("remote")
    asked = {out.remote for out in repo.index.outs if out.remote} | ({default} if default else set())
    if not asked:
        return "no remote is configured, so none was asked for the data", []
    names = ", ".join(sorted(asked))
    try:
        status = repo.data_status(
            not_in_remote=True, remote_refresh=True, granular=True, with_renames=False
        )
    except Exception as error:  # each kind of remote raises its own
        return "", [Problem("remote", f"{names} could not be asked for the data: {message_of(error)}")]
    missing = sorted(status["not_in_remote"])
    problems = (
        [Problem("remote", f"{names} does not have {first_ten(missing, str)}", PUSH)] if missing else []
    )
    return f"{names} has the data", problems


# --- words --------------------------------------------------------------------------------------------


def report(examined: Examination) -> str:
    """The problems grouped by place, then what to do. A single line when there is no problem."""
    if not examined.problems:
        return (
            f"{examined.stages} stages, {examined.dependencies} dependencies and parameter groups, "
            f"{examined.outputs} outputs, {examined.pointers} .dvc files: everything matches dvc.lock "
            f"and is in Git; {examined.remote}"
        )
    count = len(examined.problems)
    lines = [f"{count} problem{'s' * (count > 1)}: what Git holds does not belong together."]
    for where in dict.fromkeys(problem.where for problem in examined.problems):
        lines += ["", f"{where}:"]
        lines += [f"  {problem.cause}" for problem in examined.problems if problem.where == where]
    remedies = {problem.remedy for problem in examined.problems}
    lines += ["", *(text for key, text in TO_DO.items() if key in remedies)]
    return "\n".join(lines).rstrip("\n")


def message_of(error: Exception) -> str:
    """The message of a DVC exception as one line, with the line of the YAML file if it has one."""
    mark = getattr(error.__cause__, "problem_mark", None)
    line = f", line {mark.line + 1}" if mark else ""
    text = " ".join(str(error).split()).rstrip(".")
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


def short_hash(entry: Output) -> str:
    return entry.hash_info.value[:8]
