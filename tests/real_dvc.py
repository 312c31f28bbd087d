"""A clone of this project in a temporary folder, run by real DVC."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from conftest import REPO, write_params

from stages.core.machine.kernels import AVX2

SMALL = {
    "sample": {"images_per_class": 8},
    "image": {"size": 32, "resize": 36},
    "train": {"epochs": 1, "batch_size": 16, "warmup_epochs": 0, "threads": 1},
    "cam": {"methods": ["layercam"], "num_images": 2},
}
"""A run of seconds: fewer, smaller images and one epoch."""

OF_A_TEAM = ("data/", "metrics/", "dvc.lock", "configs/rendered.py", ".dvc/config")
"""What a team commits of its own, besides params.yaml and .dvc files."""


def clone(folder: Path, **sections) -> Path:
    """The files of this work tree that Git knows or would add, committed, with the tests' parameters.

    Nothing that a team makes its own is copied: neither data and results nor a remote.
    """
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = (
        subprocess.run(listing, cwd=REPO, check=True, capture_output=True).stdout.decode().split("\0")
    )
    for name in names:
        if (REPO / name).is_file() and not name.startswith(OF_A_TEAM) and not name.endswith(".dvc"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(REPO / name, folder / name)
    (folder / ".dvc/config").write_text("[core]\n    analytics = false\n    check_update = false\n")
    write_params(folder, **sections)
    run(folder, "git", "init", "--quiet", "--initial-branch", "main")
    commit(folder)
    return folder


def copy(project: Path, folder: Path, **sections) -> Path:
    """A project that was run, with its data and DVC's cache, and with other parameters, committed.

    `repro` then runs what these affect, and no more.
    """
    shutil.copytree(project, folder, symlinks=True, ignore=shutil.ignore_patterns(".work"))
    write_params(folder, **sections)
    commit(folder)
    return folder


def commit(folder: Path) -> None:
    run(folder, "git", "add", "--all")
    who = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    run(folder, "git", *who, "commit", "--quiet", "--no-verify", "--allow-empty", "--message", "state")


def environment(folder: Path) -> dict[str, str]:
    """This one with the tests' Python first; nothing of DVC shared with other runs, no instructions chosen."""
    own = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONWARNINGS": "ignore",
        "PYTHONDONTWRITEBYTECODE": "1",
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(folder / ".dvc/tmp/site"),
    }
    foreign = ("DVC_", "PYTEST_", "GIT_", *AVX2)
    return {k: v for k, v in os.environ.items() if not k.startswith(foreign)} | own


def run(folder: Path, *command: str, expect: int = 0, **variables: str) -> str:
    """The output of a command with these environment variables; an unexpected exit code is shown with it."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment(folder) | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == expect, f"{' '.join(command)} exited {done.returncode}:\n{done.stdout}"
    return done.stdout


def python(folder: Path, *arguments: str, expect: int = 0, **variables: str) -> str:
    return run(folder, sys.executable, *arguments, expect=expect, **variables)


def start_training(folder: Path) -> subprocess.Popen:
    """The train stage in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "stages.train"],
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def repro(folder: Path, *arguments: str, expect: int = 0) -> str:
    return python(folder, "-m", "dvc", "repro", *arguments, expect=expect)


def executed(output: str) -> list[str]:
    """The stages that `dvc repro` ran, as its output tells."""
    return re.findall(r"^Running stage '([\w-]+)'", output, flags=re.MULTILINE)
