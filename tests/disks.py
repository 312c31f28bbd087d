"""Disks and rights that a test chooses, for one command; without root where the system allows it."""

import shlex
import subprocess
from functools import cache
from pathlib import Path

import pytest
from real_dvc import run

NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount")
"""A command run by it has mounts of its own."""


@cache
def refused() -> str:
    """Why no command can have mounts of its own here; empty when it can."""
    try:
        mount = [*NAMESPACE, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
        return subprocess.run(mount, capture_output=True, text=True).stderr
    except FileNotFoundError as error:
        return str(error)


def with_small_disk(cwd: Path, mount: str, size: str, *command: str, expect: int = 0) -> str:
    """The output of a command that finds an empty disk of this size mounted there, or at several places.

    mount: a folder, or several of them with spaces between.
    """
    if refused():
        pytest.skip(f"needs mounts of its own: {refused()}")
    mounts = [f"mount -t tmpfs -o size={size} tmpfs {shlex.quote(place)}" for place in mount.split()]
    line = " && ".join([*mounts, f"exec {shlex.join(command)}"])
    return run(cwd, *NAMESPACE, "sh", "-c", line, expect=expect)
