"""A run is shared through a remote: a second clone restores it, and credentials stay out of sight."""

import os
import secrets
from pathlib import Path

import pytest
from conftest import write_params
from real_dvc import SMALL, commit, copy, executed, python, repro, run
from s3_server import Account, s3_server

pytestmark = pytest.mark.slow

ANOTHER = SMALL | {"evaluate": {"tta": "flip"}}
"""A combination of parameters that is run, but never committed."""
MADE = ["data/predictions/test.csv", "metrics/evaluation.json"]
"""By evaluate: an output that is in DVC's cache, and one that is in Git."""


def dvc(folder: Path, *arguments: str, expect: int = 0) -> str:
    return python(folder, "-m", "dvc", *arguments, expect=expect)


@pytest.fixture(scope="module")
def account():
    with s3_server() as opened:
        yield opened


@pytest.fixture(scope="module")
def project(account, small_run, tmp_path_factory) -> tuple[Path, list[str]]:
    """The pipeline, run, committed and pushed to S3; and all that was printed on the way."""
    folder = copy(small_run, tmp_path_factory.mktemp("sharing") / "one", **SMALL)
    printed = [(small_run.parent / "repro.log").read_text(encoding="utf-8")]
    printed.append(dvc(folder, "remote", "add", "--default", "s3", f"s3://{account.bucket}/project"))
    printed.append(dvc(folder, "remote", "modify", "s3", "endpointurl", account.endpoint))
    log_in(folder, account.key_id, account.secret)
    commit(folder)
    printed.append(dvc(folder, "push", "--verbose", "--run-cache"))
    return folder, printed


def log_in(folder: Path, key_id: str, secret: str) -> None:
    dvc(folder, "remote", "modify", "--local", "s3", "access_key_id", key_id)
    dvc(folder, "remote", "modify", "--local", "s3", "secret_access_key", secret)


def second_clone(project: Path, folder: Path) -> Path:
    run(project, "git", "clone", "--quiet", str(project), str(folder))
    return folder


@pytest.fixture
def logged_in(account, monkeypatch) -> Account:
    """The account's credentials in the environment, as the AWS tools have them."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", account.key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", account.secret)
    return account


def test_a_second_clone_restores_every_output_from_s3_and_runs_nothing(project, logged_in, tmp_path):
    one, two = project[0], second_clone(project[0], tmp_path / "two")
    assert not (two / "data/checkpoints").exists()
    assert executed(repro(two, "--pull")) == []
    for path in (
        "data/checkpoints/best.pth",
        "data/predictions/test.csv",
        "metrics/cam_report/index.html",
    ):
        assert (two / path).read_bytes() == (one / path).read_bytes()
    assert run(two, "git", "status", "--porcelain") == ""


def test_a_second_clone_restores_every_output_from_a_local_folder(project, tmp_path):
    one = project[0]
    folder = ["remote", "add", "--local", "folder", str(tmp_path / "store")]
    dvc(one, *folder)
    dvc(one, "push", "--remote", "folder")
    two = second_clone(one, tmp_path / "two")
    dvc(two, *folder)
    dvc(two, "config", "--local", "core.remote", "folder")
    assert executed(repro(two, "--pull")) == []
    assert (two / "dvc.lock").read_bytes() == (one / "dvc.lock").read_bytes()


def test_a_combination_that_was_run_but_never_committed_is_restored_from_s3(
    project, logged_in, tmp_path
):
    one, two = project[0], second_clone(project[0], tmp_path / "two")
    for folder in (one, two):
        write_params(folder, **ANOTHER)
    try:
        assert executed(repro(one, "evaluate")) == ["evaluate"]
        made = {path: (one / path).read_bytes() for path in MADE}
    finally:
        run(one, "git", "checkout", "--quiet", ".")
    assert executed(repro(one)) == []  # what is current now is what was committed
    assert "stage runs are shared" in python(one, "-m", "stages", "push_runs")
    assert executed(repro(two, "--pull", "evaluate")) == []
    assert {path: (two / path).read_bytes() for path in MADE} == made


def test_credentials_reach_no_log_and_no_file_but_config_local(project, account):
    """After a push that went well, and pushes whose secret was wrong."""
    one, printed = project
    wrong = secrets.token_hex(20)
    (one / "new.bin").write_bytes(b"not yet pushed")
    dvc(one, "add", "new.bin")
    log_in(one, account.key_id, wrong)
    try:
        printed.append(dvc(one, "push", "--verbose", "new.bin", expect=255))
        assert "Forbidden" in printed[-1]
        printed.append(python(one, "-m", "stages", "push_runs", expect=255))
        assert "Forbidden" in printed[-1]
        search(one, wrong, printed)
    finally:
        log_in(one, account.key_id, account.secret)
    search(one, account.secret, printed)


def search(folder: Path, secret: str, printed: list[str]) -> None:
    """Fails if the secret stands anywhere but in .dvc/config.local, which Git ignores."""
    holding = [path for path in files(folder) if secret.encode() in path.read_bytes()]
    assert holding == [folder / ".dvc/config.local"]
    run(folder, "git", "check-ignore", "--quiet", ".dvc/config.local")
    assert not any(secret in text for text in [*printed, run(folder, "git", "log", "--patch", "--all")])


def files(folder: Path) -> list[Path]:
    return [Path(top) / name for top, _, names in os.walk(folder) for name in names]
