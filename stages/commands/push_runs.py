"""Push every run of this clone to a DVC remote.

Runs that are not committed are pushed, too. `dvc repro --pull` restores any of them in another clone.
`dvc push --run-cache` is not enough: DVC 3.67 sends the list of all runs, but files of the current one
only, and none of those that are in Git.

    python -m stages push_runs
    python -m stages push_runs --remote s3
"""

import argparse
import subprocess
import sys
from pathlib import Path

from dvc.repo import Repo

from stages.core.yaml_files import check_project


def main(remote: str | None = None, root: Path = Path()) -> tuple[int, int]:
    """The number of stage runs that the remote has then, and of files that were sent for them.

    remote: its name; the default one if None. Raises CalledProcessError when `dvc push` fails.
    """
    check_project(root)
    command = [sys.executable, "-m", "dvc", "push", *(["--remote", remote] if remote else [])]
    subprocess.run(command, cwd=root, check=True)  # what is current; says what is wrong with a remote
    with Repo(str(root)) as repo:
        runs = listed(repo)
        sent = 0
        for files in repo.stage_cache.get_used_objs(runs).values():
            result = repo.cloud.push(files, remote=remote)
            sent += len(result.transferred)
            if result.failed:
                raise RuntimeError(f"{len(result.failed)} files could not be sent; start it again.")
        repo.stage_cache.push(remote)  # the list last: a run that is in it is whole
    return len(runs), sent


def listed(repo: Repo) -> list[tuple[str, str]]:
    """The runs of the run cache, each as DVC names it: by what went in, and by what came out."""
    folder = Path(repo.stage_cache.cache_dir)
    return sorted((path.parent.name, path.name) for path in folder.glob("*/*/*"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--remote", help="the name of a DVC remote; default: core.remote of its config")
    runs, files = main(parser.parse_args().remote)
    print(f"{runs} stage runs are shared; {files} more files sent")
