"""Run the pipeline from nothing, in a clone that is deleted afterwards."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import chdir, contextmanager, suppress
from pathlib import Path

from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.stage import PipelineStage
from dvc_data.hashfile.transfer import transfer

from stages.core.machine.kernels import AVX2
from stages.core.provenance.git import NOT_INHERITED, git, git_bytes, names, prefix_of, top_of

GRACE = 20
"""Seconds that an interrupted stage has to end by itself."""


def head(root: Path) -> str:
    """The commit at HEAD. Raises RuntimeError."""
    return git(root, "rev-parse", "--verify", "HEAD^{commit}").strip()


def changed_files(root: Path) -> list[str]:
    """Files in Git whose content differs from HEAD."""
    return names(git(root, "diff", "--name-only", "--relative", "-z", "HEAD"))


def clone_commit(root: Path, commit: str, folder: Path) -> Path:
    """The project of `root` at `commit`, without data, with a DVC cache of its own."""
    git(root, "clone", "--quiet", "--no-checkout", "--template=", top_of(root), str(folder))
    git(folder, "checkout", "--quiet", "--detach", commit)
    project = folder / prefix_of(root)
    cache = (project / ".dvc/cache").absolute()
    with (project / ".dvc/config.local").open("w", encoding="utf-8") as file:
        file.write(f"[cache]\n    dir = {cache}\n[core]\n    autostage = true\n")
    return project


def bring_data(root: Path, project: Path) -> list[str]:
    """Check out what the .dvc files of the clone point to, from the cache and the remotes of `root`.

    Returns the .dvc files. Raises RuntimeError when neither the cache nor a remote has the data.
    """
    with Repo(str(root)) as original, Repo(str(project)) as repo:
        # which .dvc files the pipeline reads
        pointers = {
            read: repo.fs.relpath(read.path, repo.root_dir)
            for stage in repo.index.stages
            if isinstance(stage, PipelineStage)
            for read in repo.index.graph.successors(stage)
            if not isinstance(read, PipelineStage)
        }
        if not pointers:
            return []
        # bring their data into the original cache, then link it into the clone's cache and check it out
        commit = repo.get_rev()
        fetch(original, commit, list(pointers.values()))
        for pointer, name in pointers.items():
            for out in pointer.outs:
                source = original.cache.repo if out.cache is repo.cache.repo else original.cache.legacy
                try:
                    failed = transfer(
                        source, out.cache, {out.hash_info}, hardlink=True, shallow=False
                    ).failed
                except FileNotFoundError:
                    failed = {out.hash_info}
                if failed:
                    raise RuntimeError(
                        f"{name}: neither the cache nor a remote has all of {out.def_path}. "
                        "Bring it with `dvc pull`, or let its owner run `dvc push`."
                    )
                out.checkout()
        return list(pointers.values())


def fetch(repo: Repo, commit: str, files: list[str]) -> None:
    """Bring the data of these files at `commit` into the cache, as far as a remote has it."""
    # DVC resolves names from the current folder. It finds a remote with a relative address only for the
    # work tree, so the work tree's files are fetched, too.
    with chdir(repo.root_dir), suppress(DvcException):
        repo.fetch(targets=files, revs=[commit], workspace=True)


def run_pipeline(project: Path) -> None:
    """Execute every stage: DVC finds no lock, no output and no run cache that could replace one.

    Raises RuntimeError when a stage fails. The stage has printed its message by then.
    """
    (project / "dvc.lock").unlink()
    if run_dvc(project, "repro", "--no-run-cache", "--no-commit"):
        raise RuntimeError("the pipeline failed in the clone; the message above says why.")


def run_dvc(project: Path, *arguments: str, stdout: int | None = None) -> int:
    """Run DVC in a copy of the project, with an environment of its own. Returns the exit code.

    stdout: the file number that takes its output; None is this process's own.
    """
    inherited = {
        name: value
        for name, value in os.environ.items()
        # the params.yaml of the clone chooses the kernels
        if name not in NOT_INHERITED and name not in AVX2
    }
    own = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(project / ".dvc/tmp/site"),
    }
    return run_whole([sys.executable, "-m", "dvc", *arguments], project, inherited | own, stdout)


def run_whole(
    command: list[str], folder: Path, environment: dict[str, str], stdout: int | None = None
) -> int:
    """Run a command and return its exit code.

    When this process is interrupted, the command and all that it started are interrupted, too. None of
    its processes is left when this function returns.
    """
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=stdout, start_new_session=True
    )
    try:
        return process.wait()
    except BaseException:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
        raise
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder that is deleted at the end, also after Ctrl-C, SIGTERM (CI) or SIGHUP (terminal)."""
    ending = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, exit_by_signal) for number in ending}
    try:
        with tempfile.TemporaryDirectory(prefix="verify-") as folder:
            yield Path(folder)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def exit_by_signal(number: int, _frame: object) -> None:
    sys.exit(128 + number)


def committed_file(root: Path, commit: str, path: str) -> bytes:
    """A file as it is in Git at `commit`. Raises RuntimeError if it is not."""
    return git_bytes(root, "cat-file", "blob", f"{commit}:{prefix_of(root)}{path}")


def committed_content(root: Path, commit: str, path: str, md5: str) -> bytes | None:
    """An output as it was committed, from Git, DVC's cache or a remote. None when none has it."""
    with suppress(RuntimeError):
        return committed_file(root, commit, path)
    with Repo(str(root)) as repo:
        file = Path(repo.cache.repo.oid_to_path(md5))
        if not file.exists():
            fetch(repo, commit, [path])
        return file.read_bytes() if file.exists() else None
