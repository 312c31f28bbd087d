"""`python -m stages check` and `python -m stages verify` on a pipeline with this project's parameters."""

import json
import re
import shutil
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from conftest import REPO, write_params
from real_dvc import commit, python, repro, run
from toy_pipeline import clone_git, edit, write

from stages.commands import verify
from stages.core.machine.kernels import is_x86
from stages.core.networks.checkpoint import write_checkpoint
from stages.core.params import load_params
from stages.core.provenance.lock_diff import read_lock
from stages.core.provenance.rerun import clone_commit, head

pytestmark = pytest.mark.slow


# --- the real pipeline, run once and rerun once -------------------------------------------------------


@pytest.fixture(scope="module")
def project(small_run, tmp_path_factory) -> Path:
    """The small run, committed."""
    folder = tmp_path_factory.mktemp("proof") / "project"
    shutil.copytree(small_run, folder, symlinks=True, ignore=shutil.ignore_patterns(".work"))
    commit(folder)
    return folder


def test_check_passes_in_a_clone_without_data(project, tmp_path):
    without_data = clone_git(project, tmp_path / "clone")
    output = python(without_data, "-m", "stages", "check")
    assert re.fullmatch(
        r"7 stages, \d+ dependencies and parameter groups, \d+ outputs, 0 \.dvc files: everything matches "
        r"dvc\.lock and is in Git; no remote is configured, so none was asked for the data\n"
        r"data: not here, so not looked at: data/sample, .*, and 3 more\n",
        output,
    )


def test_check_names_the_stage_and_the_cause_of_all_that_is_stale(project, tmp_path):
    stale = clone_git(project, tmp_path / "clone")
    edit(stale / "params.yaml", "  images_per_class: 8", "  images_per_class: 9")
    edit(stale / "metrics/training.csv", "epoch,", "Epoch,")
    edit(stale / "stages/core/report/page.py", '"""', '"""Edited. ')
    (stale / "configs/rendered.py").unlink()
    commit(stale)
    output = python(stale, "-m", "stages", "check", expect=1)
    for stage, cause in [
        ("make-sample", "params.yaml has sample.images_per_class: 9; dvc.lock has 8"),
        ("render-config", "configs/rendered.py is missing"),
        ("train", "metrics/training.csv is not what the stage wrote"),
        ("cam-report", "stages/core/report has changed since the stage ran: stages/core/report/page.py"),
    ]:
        assert cause in output.split(f"\n{stage}:\n")[1].split("\n\n")[0]
    assert output.endswith("`dvc repro` runs what is stale and brings dvc.lock up to date.\n")


def test_verify_reruns_the_pipeline_and_finds_the_hash_that_was_tampered_with(
    project, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    committed = verify.Version("dvc.lock", read_lock(project / "dvc.lock"), lambda path, md5: None)
    again = verify.rerun("rerun", project, clone_commit(project, head(project), tmp_path / "rerun"))
    assert verify.proved(committed, again, "", None)
    assert re.search(r"rerun vs dvc\.lock: all \d+ outputs are the same", capsys.readouterr().out)

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
    cmd: cp scores.json.in scores.json && cp curve.csv.in curve.csv && cp best.pth.in best.pth
    deps: [pictures]
    outs: [best.pth]
    metrics:
    - scores.json: {cache: false}
    plots:
    - curve.csv: {cache: false}
"""


@pytest.fixture(scope="module")
def exact(tmp_path_factory) -> Path:
    return make(tmp_path_factory.mktemp("exact"))


@pytest.fixture(scope="module")
def other(tmp_path_factory) -> Path:
    """Its rerun makes other numbers than the committed ones, though no input of a stage changed."""
    folder = make(tmp_path_factory.mktemp("other"))
    ingredients(folder, 0.25)
    commit(folder)
    return folder


def make(folder: Path) -> Path:
    write_params(folder, runtime={"device": "cpu"})
    for name, text in {
        "dvc.yaml": TOY,
        "raw": "pictures\n",
        ".gitignore": "/raw\n/pictures\n/best.pth\n",
        ".dvc/config": "[core]\n    analytics = false\n",
        ".dvc/.gitignore": "/config.local\n/tmp\n/cache\n",
    }.items():
        write(folder / name, text)
    ingredients(folder, 0.0)
    run(folder, "git", "init", "--quiet", "--initial-branch", "main")
    python(folder, "-m", "dvc", "add", "--quiet", "raw")
    repro(folder, "--quiet")
    commit(folder)
    return folder


def ingredients(folder: Path, apart: float) -> None:
    """What the toy's train copies; dvc.yaml does not name it, as it does not name a CPU."""
    write_checkpoint(folder / "best.pth.in", {"fc.weight": torch.full((2, 2), 1 + apart)}, meta={})
    write(folder / "scores.json.in", json.dumps({"top1": 90 + apart}))
    write(folder / "curve.csv.in", f"epoch,loss\n1,{0.5 + apart}\n")


@pytest.fixture(autouse=True)
def nothing_shared(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def test_two_reruns_agree_with_dvc_lock_and_each_other(exact, tmp_path, capsys):
    write(exact / "dvc.yaml", "not committed\n")
    try:
        assert verify.main(exact, twice=True)
    finally:
        run(exact, "git", "checkout", "--quiet", "dvc.yaml")
    output = capsys.readouterr().out
    assert "not verified, as only the commit is: changes of dvc.yaml" in output
    rows = [re.split("  +", row) for row in output.split("\n\n")[-2].splitlines()]
    assert rows == [
        ["stage", "output", "rerun vs dvc.lock", "second rerun vs rerun"],
        ["draw", "pictures", "same", "same"],
        ["train", "best.pth", "same", "same"],
        ["train", "curve.csv", "same", "same"],
        ["train", "scores.json", "same", "same"],
    ]
    assert list(tmp_path.glob("verify-*")) == []


def test_other_numbers_fail_where_the_same_bytes_are_promised(other, capsys):
    assert not verify.main(other)
    output = capsys.readouterr().out
    assert "3 of 4 outputs differ" in output
    assert "train: from the same inputs it made another best.pth, curve.csv, scores.json." in output


def test_other_numbers_are_reported_where_they_are_not_promised(other, tmp_path, capsys):
    native = shutil.copytree(other, tmp_path / "native", symlinks=True)
    write_params(native, runtime={"device": "cpu"}, train={"cpu_kernels": "native"})
    commit(native)
    assert verify.main(native)
    assert "may differ, as train.cpu_kernels is native; --strict makes it" in capsys.readouterr().out
    assert not verify.main(native, strict=True)


def test_a_tolerance_decides_and_the_distances_are_shown(other, capsys):
    assert verify.main(other, tolerances={"top1": 0.25, "loss": 0.3, "tensors": 0.25})
    output = re.sub(" +", " ", capsys.readouterr().out)
    assert "top1 0.25 0.00277 0.25\n" in output
    assert "loss 0.25 0.333 0.3\n" in output
    assert "weight (2-d) 0.25 0.2 0.25\n" in output


def versions(scores: str, earlier: str = "1") -> list[verify.Version]:
    """Of a run with the given scores, and of another."""

    def lock(md5: str, first: str) -> dict:
        outs = [{"path": "scores.json", "md5": md5}]
        return {
            "draw": {"cmd": "draw", "outs": [{"path": "pictures", "md5": first}]},
            "train": {"cmd": "train", "deps": [{"path": "pictures", "md5": first}], "outs": outs},
        }

    before = verify.Version("dvc.lock", lock("a", "1"), lambda path, md5: b'{"top1": 90.0}')
    return [before, verify.Version("rerun", lock("b", earlier), lambda path, md5: scores.encode())]


def test_above_a_tolerance_they_fail(capsys):
    near = versions('{"top1": 90.25}')
    assert verify.proved(*near, "", {"top1": 0.25})
    assert not verify.proved(*near, "", {"top1": 0.2})
    assert "too far" in capsys.readouterr().out


def test_no_tolerance_holds_for_what_comes_before_training():
    assert not verify.proved(*versions('{"top1": 90.0}', earlier="2"), "", {"top1": 1.0})
    assert not verify.proved(*versions('{"top1": 90.0}', earlier="2"), "on CUDA", None)


def test_what_is_nowhere_cannot_be_near_enough(capsys):
    before, after = versions('{"top1": 90.0}')
    gone = verify.Version(before.name, before.lock, lambda path, md5: None)
    assert not verify.proved(gone, after, "", {"top1": 1.0})
    assert "neither the cache nor a remote has that of dvc.lock" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("sections", "reason"),
    [
        ({}, ""),
        ({"train": {"cpu_kernels": "native"}}, "train.cpu_kernels is native"),
        (
            {"runtime": {"device": "cpu", "launcher": "pytorch", "processes": 2}},
            "runtime.processes is 2",
        ),
    ],
)
@pytest.mark.skipif(not is_x86(), reason="the promise is of x86-64")
def test_where_the_same_bytes_are_promised(tmp_path, sections, reason):
    write_params(tmp_path, **{"runtime": {"device": "cpu"}} | sections)
    assert verify.unpromised(load_params(tmp_path / "params.yaml")) == reason


def test_a_tolerance_of_nothing_is_refused_before_anything_is_run(other, capsys):
    with pytest.raises(
        ValueError, match="nothing is named 'top5'; expected one of epoch, loss, tensors, top1"
    ):
        verify.main(other, tolerances={"top5": 1})
    assert "dvc repro" not in capsys.readouterr().out


def test_the_command_says_what_is_wrong(tmp_path, exact):
    output = python(REPO, "-m", "stages", "verify", "--tolerance", "top1", expect=1)
    assert output == "error: 'top1' is no tolerance; expected <name>=<number>, such as top1=1.0.\n"
    no_lock = clone_git(exact, tmp_path / "no-lock")
    (no_lock / "dvc.lock").unlink()
    commit(no_lock)
    with pytest.raises(FileNotFoundError, match=r"dvc\.lock does not exist"):
        verify.main(no_lock)
