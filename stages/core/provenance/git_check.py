"""What a clone would lack or have otherwise: files that Git should hold, and data that it should not."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from dvc.output import Output
from dvc.repo import Repo
from dvc.stage import PipelineStage, Stage

from stages.core.files import first_ten
from stages.core.provenance.git import git, names, prefix_of
from stages.core.provenance.problems import (
    GIT,
    PUSH,
    Problem,
    message_of,
    name_of,
    path_of,
    relative_path,
)

PROJECT_FILES = ("dvc.yaml", "dvc.lock")


def pipeline_problems(repo: Repo, stages: list[Stage], broken: list[Problem]) -> Iterator[Problem]:
    """A pipeline must be there, and DVC must see each of its files that Git holds."""
    root = Path(repo.root_dir)
    seen = {relative_path(repo, stage.path) for stage in stages} | {problem.where for problem in broken}
    hidden = [
        file for file in files_of_dvc(repo) if repo.dvcignore.is_ignored(repo.fs, str(root / file))
    ]
    for file in hidden:
        yield Problem(".dvcignore", f"it names {file}, so DVC does not see it: remove that line")
    if "dvc.yaml" in hidden or "dvc.yaml" in seen or broken:
        return
    if not (root / "dvc.yaml").exists():
        yield Problem("dvc.yaml", "it does not exist, so there is no pipeline. Restore it with git")
    else:
        yield Problem("dvc.yaml", "it has no stage, so there is no pipeline. Restore it with git")


def files_of_dvc(repo: Repo) -> list[str]:
    """dvc.yaml, and each dvc.yaml, dvc.lock and .dvc file in Git, but those of a project within."""
    patterns = [f":(glob)**/{name}" for name in (*PROJECT_FILES, "*.dvc", ".dvc/config")]
    found = names(git(Path(repo.root_dir), "ls-files", "-z", "--", *patterns))
    inner = {str(PurePosixPath(file).parents[1]) for file in found if file.endswith("/.dvc/config")}
    return ["dvc.yaml"] + [
        file
        for file in found
        if not file.endswith(".dvc/config")
        and file != "dvc.yaml"
        and not inner & {str(parent) for parent in PurePosixPath(file).parents}
    ]


def data_problems(repo: Repo, outputs: dict[str, Output]) -> Iterator[Problem]:
    """Outputs of DVC belong into its cache: Git must not hold them, and must ignore them."""
    data = {path: out for path, out in outputs.items() if out.use_cache and out.is_in_repo}
    if not data:
        return
    root = Path(repo.root_dir)
    literal = [f":(literal){path}" for path in data]
    tracked = names(git(root, "ls-files", "-z", "--", *literal))
    asked = {f"{path}/" if out.hash_info.isdir else path: path for path, out in data.items()}
    given = "".join(f"{path}\0" for path in asked)
    answer = names(git(root, "check-ignore", "-z", "--no-index", "--stdin", given=given, no=1))
    ignored = {asked[path] for path in answer}
    for path, out in data.items():
        inside = [file for file in tracked if file == path or file.startswith(f"{path}/")]
        if inside:
            cause = f"Git holds {first_ten(inside, str)}, an output of DVC: DVC refuses to run"
            yield Problem(name_of(out.stage), f"{cause}. Run `git rm -r --cached {path}`")
        elif path not in ignored:
            cause = f"no .gitignore names {path}, an output of DVC, so `git add` would take it"
            yield Problem(name_of(out.stage), f"{cause}. Add the line /{path} to .gitignore")


def git_problems(repo: Repo, stages: list[Stage], outputs: dict[str, Output]) -> Iterator[Problem]:
    """Files of the pipeline that a clone would lack, or have in another version.

    The work tree is compared with Git's index, because the next commit takes its files from there.
    """
    # what the pipeline keeps in Git: everything but DVC's data
    files = {"params.yaml", ".dvcignore", ".dvc/config", *PROJECT_FILES}
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
    options = ["--porcelain=v1", "-z", "--no-renames", "--untracked-files=all", "--ignored=matching"]
    literal = [f":(literal){path}" for path in paths]
    listing = git(Path(repo.root_dir), "status", *options, "--", *literal)
    # group the files by what their state means for a clone
    prefix = prefix_of(Path(repo.root_dir))
    found: dict[str, list[str]] = {}
    for entry in names(listing):
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


def remote_problems(repo: Repo, outputs: dict[str, Output]) -> tuple[str, list[Problem]]:
    """Whether the remotes have the data, in words, and a problem for the data that they lack."""
    default = repo.config["core"].get("remote")
    asked = {out.remote for out in outputs.values() if out.remote} | ({default} if default else set())
    if not asked:
        return "no remote is configured, so none was asked for the data", []
    listed = ", ".join(sorted(asked))
    if unknown := sorted(asked - repo.config["remote"].keys()):
        return "", [Problem("remote", f".dvc/config has no remote {first_ten(unknown, str)}")]
    try:
        status = repo.data_status(
            not_in_remote=True, remote_refresh=True, granular=True, with_renames=False
        )
    except Exception as error:  # each kind of remote raises its own
        return "", [Problem("remote", f"{listed} could not be asked for the data: {message_of(error)}")]
    missing = sorted(status["not_in_remote"])
    problems = (
        [Problem("remote", f"{listed} does not have {first_ten(missing, str)}", PUSH)] if missing else []
    )
    return f"{listed} has the data", problems
