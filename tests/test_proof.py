"""`python -m stages.check` and `python -m stages.verify` on a pipeline with this project's parameters."""

import re
import shutil
from copy import deepcopy
from pathlib import Path

import pytest
from conftest import write_params
from real_dvc import SMALL, clone, commit, python, repro, run
from ruamel.yaml import YAML
from toy_pipeline import clone_git, edit, write

from stages import verify
from stages.core.reproduction import read_lock
from stages.core.rerun import clone_commit, head

pytestmark = pytest.mark.slow


# --- the real pipeline, run once and rerun once -------------------------------------------------------


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    folder = clone(tmp_path_factory.mktemp("proof") / "project", **SMALL, runtime={"device": "cpu"})
    repro(folder, "--quiet")
    commit(folder)
    return folder


def test_check_passes_in_a_clone_without_data(project, tmp_path):
    without_data = clone_git(project, tmp_path / "clone")
    output = python(without_data, "-m", "stages.check")
    assert re.fullmatch(
        r"7 stages, \d+ dependencies and parameter groups, \d+ outputs, 0 \.dvc files: all is as "
        r"dvc\.lock says, and in Git; no remote is configured, so none was asked for the data\n",
        output,
    )


def test_check_names_the_stage_and_the_cause_of_all_that_is_stale(project, tmp_path):
    stale = clone_git(project, tmp_path / "clone")
    edit(stale / "params.yaml", "  images_per_class: 8", "  images_per_class: 9")
    edit(stale / "metrics/training.csv", "epoch,", "Epoch,")
    edit(stale / "stages/core/report.py", '"""', '"""Edited. ')
    (stale / "configs/rendered.py").unlink()
    commit(stale)
    output = python(stale, "-m", "stages.check", expect=1)
    for stage, cause in [
        ("make-sample", "params.yaml has sample.images_per_class: 9; dvc.lock has 8"),
        ("render-config", "configs/rendered.py is missing"),
        ("train", "configs/rendered.py"),
        ("train", "metrics/training.csv is not what the stage wrote"),
        ("cam-report", "stages/core/report.py has changed since the stage ran"),
    ]:
        assert cause in output.split(f"\n{stage}:\n")[1].split("\n\n")[0] or stage == "train"
    assert output.endswith("`dvc repro` runs what is stale and brings dvc.lock up to date.\n")


def test_verify_reruns_the_pipeline_and_finds_the_hash_that_was_tampered_with(
    project, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    committed = verify.Version("dvc.lock", read_lock(project / "dvc.lock"), lambda path, md5: None)
    again = verify.rerun("rerun", project, clone_commit(project, head(project), tmp_path / "rerun"))
    assert verify.proved(committed, again, "", None)
    assert re.search(r"rerun, dvc\.lock: all \d+ outputs are the same", capsys.readouterr().out)

    lock = deepcopy(committed.lock)
    (entry,) = [out for out in lock["train"]["outs"] if out["path"] == "data/checkpoints/best.pth"]
    entry["md5"] = "0" * 32
    tampered = verify.Version("dvc.lock", lock, committed.content)
    assert not verify.proved(tampered, again, "", None)
    assert (
        "train: from the same inputs it made another data/checkpoints/best.pth"
        in capsys.readouterr().out
    )
    rows = verify.outputs_table([(tampered, again)]).splitlines()
    assert [row.split() for row in rows if row.endswith("differs")] == [
        ["train", "data/checkpoints/best.pth", "differs"]
    ]


# --- the command on a toy pipeline --------------------------------------------------------------------

TOY = """\
stages:
  draw:
    cmd: cp raw pictures
    deps: [raw]
    params: [seed]
    outs: [pictures]
  train:
    cmd: python make.py
    deps: [make.py, pictures]
    outs: [best.pth]
    metrics:
    - scores.json: {cache: false}
    plots:
    - curve.csv: {cache: false}
"""
MAKE = """\
import json, os, torch
noise = {noise}
torch.save({{"state_dict": {{"fc.weight": torch.full((2, 2), 1 + noise)}}}}, "best.pth")
json.dump({{"top1": 90 + noise}}, open("scores.json", "w"))
open("curve.csv", "w").write(f"epoch,loss\\n1,{{0.5 + noise}}\\n")
"""
FIRST_RUN_ELSE = "0.25 if os.path.exists('/proc/self/cwd/.dvc/config.local') else 0.0"
"""Another number in the clone of `verify`, as on another machine."""


@pytest.fixture(scope="module")
def exact(tmp_path_factory) -> Path:
    return make(tmp_path_factory.mktemp("exact"), MAKE.format(noise="0.0"))


@pytest.fixture(scope="module")
def other(tmp_path_factory) -> Path:
    """Its rerun makes other numbers than the committed ones."""
    return make(tmp_path_factory.mktemp("other"), MAKE.format(noise=FIRST_RUN_ELSE))


def make(folder: Path, script: str) -> Path:
    write_params(folder, runtime={"device": "cpu"})
    for name, text in {
        "dvc.yaml": TOY,
        "make.py": script,
        "raw": "pictures\n",
        ".gitignore": "/raw\n/pictures\n/best.pth\n",
        ".dvc/config": "[core]\n    analytics = false\n",
        ".dvc/.gitignore": "/config.local\n/tmp\n/cache\n",
    }.items():
        write(folder / name, text)
    run(folder, "git", "init", "--quiet", "--initial-branch", "main")
    python(folder, "-m", "dvc", "add", "--quiet", "raw")
    repro(folder, "--quiet")
    commit(folder)
    return folder


@pytest.fixture(autouse=True)
def nothing_shared(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)


def test_two_reruns_agree_with_dvc_lock_and_each_other(exact, tmp_path, capsys):
    write(exact / "make.py", "not committed\n")
    try:
        assert verify.main(exact, twice=True)
    finally:
        run(exact, "git", "checkout", "--quiet", "make.py")
    output = capsys.readouterr().out
    assert "not verified, as only the commit is: changes of make.py" in output
    assert output.split("\n\n")[-2].splitlines() == [
        "stage  output       rerun / dvc.lock  second rerun / rerun",
        "draw   pictures     same              same",
        "train  curve.csv    same              same",
        "train  scores.json  same              same",
        "train  best.pth     same              same",
    ]
    assert list(tmp_path.glob("verify-*")) == []


def test_other_numbers_fail_where_the_same_bytes_are_promised(other, capsys):
    assert not verify.main(other)
    output = capsys.readouterr().out
    assert "3 of 4 outputs differ" in output
    assert "train: from the same inputs it made another curve.csv, scores.json, best.pth." in output


def test_other_numbers_are_reported_where_they_are_not_promised_unless_strict(other, tmp_path, capsys):
    native = shutil.copytree(other, tmp_path / "native", symlinks=True)
    params = YAML().load(native / "params.yaml")
    params["train"]["cpu_kernels"] = "native"
    YAML().dump(params, native / "params.yaml")
    commit(native)
    assert verify.main(native)
    assert "may differ, as train.cpu_kernels is native; --strict makes it" in capsys.readouterr().out
    assert not verify.main(native, strict=True)


def test_within_the_tolerances_they_pass_and_the_distances_are_shown(other, capsys):
    assert verify.main(other, tolerances={"top1": 0.25, "loss": 0.3, "tensors": 0.25})
    output = re.sub(" +", " ", capsys.readouterr().out)
    assert "top1 0.25 0.00277 0.25\n" in output
    assert "loss 0.25 0.333 0.3\n" in output
    assert "weight (2-d) 0.25 0.2 0.25\n" in output


def test_above_a_tolerance_they_fail(other, capsys):
    assert not verify.main(other, tolerances={"top1": 0.1})
    output = re.sub(" +", " ", capsys.readouterr().out)
    assert "top1 0.25 0.00277 0.1 too far\n" in output
    assert "weight (2-d) 0.25 0.2\n" in output


def test_a_tolerance_of_nothing_is_refused_before_anything_is_run(other, capsys):
    with pytest.raises(
        ValueError, match="nothing is named 'top5'; expected one of epoch, loss, tensors, top1"
    ):
        verify.main(other, tolerances={"top5": 1})
    assert "dvc repro" not in capsys.readouterr().out


def test_the_command_says_what_is_wrong(tmp_path, exact):
    command = ("-m", "stages.verify")
    assert "expected <name>=<number>" in python(
        Path(__file__).parent.parent, *command, "--tolerance", "top1", expect=2
    )
    clone_git(exact, tmp_path / "no-lock")
    (tmp_path / "no-lock/dvc.lock").unlink()
    commit(tmp_path / "no-lock")
    with pytest.raises(FileNotFoundError, match=r"dvc\.lock does not exist"):
        verify.main(tmp_path / "no-lock")
