"""A rerun against dvc.lock: which outputs differ, why, and by how much."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import REPO
from real_dvc import commit, environment, python, run
from toy_pipeline import STAGES, clone_git, edit, make_toy, write

from stages.core.provenance.lock_diff import (
    DIFFERS,
    NEW,
    NOT_MADE,
    SAME,
    after_stage,
    causes,
    compare_outputs,
    read_lock,
    table,
)
from stages.core.provenance.rerun import (
    bring_data,
    changed_files,
    clone_commit,
    committed_content,
    head,
    run_pipeline,
)
from stages.core.provenance.tolerances import (
    above,
    compare_files,
    compare_numbers,
    compare_tables,
    compare_tensors,
    names_in,
    parse_tolerances,
)


def stage(deps: dict[str, str], outs: dict[str, str], **more) -> dict:
    entries = [[{"path": p, "hash": "md5", "md5": h} for p, h in kind.items()] for kind in (deps, outs)]
    return {"cmd": "run", "deps": entries[0], "outs": entries[1]} | more


CHAIN = {
    "draw": stage({"draw.py": "0"}, {"pictures": "1"}),
    "train": stage({"pictures": "1", "train.py": "2"}, {"best.pth": "3", "curve.csv": "4"}),
    "evaluate": stage({"best.pth": "3"}, {"scores.json": "5"}),
    "notes": stage({"notes.md": "6"}, {"notes.html": "7"}),
}


def verdicts(before, after) -> dict[str, str]:
    return {row.path: row.verdict for row in compare_outputs(before, after)}


# --- locks --------------------------------------------------------------------------------------------


def test_equal_locks_have_the_same_outputs_and_no_cause():
    assert set(verdicts(CHAIN, CHAIN).values()) == {SAME}
    assert causes(CHAIN, CHAIN, compare_outputs(CHAIN, CHAIN), "dvc.lock") == []


def test_only_the_stage_where_a_difference_begins_is_blamed():
    after = CHAIN | {
        "train": stage({"pictures": "1", "train.py": "2"}, {"best.pth": "33", "curve.csv": "4"}),
        "evaluate": stage({"best.pth": "33"}, {"scores.json": "55"}),
    }
    compared = compare_outputs(CHAIN, after)
    assert [(r.stage, r.path) for r in compared if r.verdict == DIFFERS] == [
        ("train", "best.pth"),
        ("evaluate", "scores.json"),
    ]
    assert causes(CHAIN, after, compared, "dvc.lock") == [
        "train: from the same inputs it made another best.pth."
    ]


def test_other_code_parameters_and_commands_are_named_as_the_cause():
    after = CHAIN | {
        "train": stage(
            {"pictures": "1", "train.py": "22"},
            {"best.pth": "33", "curve.csv": "4"},
            cmd="run faster",
            params={"params.yaml": {"lr": 1}},
        )
    }
    assert causes(CHAIN, after, compare_outputs(CHAIN, after), "dvc.lock") == [
        "train: dvc.lock has other inputs (cmd, params.yaml, train.py), so best.pth may differ."
    ]


def test_outputs_and_stages_that_only_one_lock_has_are_named():
    after = {name: CHAIN[name] for name in ("draw", "train", "evaluate")} | {
        "evaluate": stage({"best.pth": "3"}, {"more.json": "8"})
    }
    assert verdicts(CHAIN, after) == {
        "pictures": SAME,
        "best.pth": SAME,
        "curve.csv": SAME,
        "more.json": NEW,
        "scores.json": NOT_MADE,
        "notes.html": NOT_MADE,
    }
    assert "notes: only dvc.lock has this stage." in causes(
        CHAIN, after, compare_outputs(CHAIN, after), "dvc.lock"
    )


def test_the_stages_after_train_are_those_that_depend_on_its_outputs():
    assert after_stage(CHAIN, "train") == {"train", "evaluate"}
    assert after_stage(CHAIN, "draw") == {"draw", "train", "evaluate"}
    assert after_stage(CHAIN, "no-such") == set()


def test_a_missing_or_broken_lock_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"dvc\.lock does not exist"):
        read_lock(tmp_path / "dvc.lock")
    write(tmp_path / "dvc.lock", "<<<<<<< HEAD\n")
    with pytest.raises(ValueError, match=r"stages check"):
        read_lock(tmp_path / "dvc.lock")


def test_a_table_is_as_wide_as_its_words():
    assert table(["stage", "x"], [["a", "same"], ["longer", "differs"]]) == (
        "stage   x\na       same\nlonger  differs"
    )


# --- numbers ------------------------------------------------------------------------------------------


def far(differences) -> dict[str, tuple[float, float]]:
    return {d.name: (d.absolute, d.relative) for d in differences}


def test_metrics_differ_by_what_subtraction_says():
    found = far(
        compare_numbers({"top1": 96.0, "loss": 0.5, "n": 148}, {"top1": 97.5, "loss": 0.4, "n": 148})
    )
    assert found["top1"] == pytest.approx((1.5, 1.5 / 97.5))
    assert found["loss"] == pytest.approx((0.1, 0.2))
    assert found["n"] == (0, 0)
    assert far(compare_numbers({"loss": math.nan}, {"loss": math.nan})) == {"loss": (0, 0)}


@pytest.mark.parametrize(("one", "other"), [({}, {"top5": 1.0}), ({"top5": math.nan}, {"top5": 1.0})])
def test_a_number_that_is_missing_is_infinitely_far_and_never_near_enough(one, other):
    differences = compare_numbers(one, other)
    assert far(differences) == {"top5": (math.inf, math.inf)}
    assert above(differences, {}) == above(differences, {"top5": 1e9}) == differences


def test_nested_metrics_have_names_joined_by_dots():
    before, after = ({"per_class": {"kiwi": k}, "list": [1, 2]} for k in (0.5, 0.75))
    differences = compare_files("m.json", json.dumps(before).encode(), json.dumps(after).encode())
    assert far(differences)["per_class.kiwi"] == pytest.approx((0.25, 1 / 3))
    assert names_in("m.json", json.dumps(before).encode()) == {"per_class.kiwi", "list.0", "list.1"}


def test_a_column_differs_by_its_farthest_row_and_a_column_of_words_by_their_number():
    before = "epoch,loss,prediction\n1,2.0,fig\n2,1.0,kiwi\n"
    after = "epoch,loss,prediction\n1,2.1,fig\n2,0.5,lime\n"
    assert far(compare_tables(before, after)) == {
        "epoch": (0, 0),
        "loss": (0.5, 0.5),
        "prediction": (1, 0.5),
    }
    assert far(compare_tables(before, before + "3,1,fig\n"))["loss"] == (math.inf, math.inf)
    assert names_in("t.csv", before.encode()) == {"epoch", "loss", "prediction"}


def test_tensors_differ_by_kind():
    before = {
        "conv.weight": torch.tensor([1.0, -4.0]).reshape(1, 2, 1, 1),
        "other.weight": torch.zeros(1, 1, 1, 1),
        "bn.weight": torch.tensor([1.0, 2.0]),
        "bn.num_batches_tracked": torch.tensor(7),
    }
    after = {key: value.clone() for key, value in before.items()}
    after["conv.weight"][0, 0, 0, 0] = 1.5
    after["bn.num_batches_tracked"] += 1
    assert far(compare_tensors(before, after)) == {
        "num_batches_tracked (0-d)": (1, pytest.approx(1 / 8)),
        "weight (1-d)": (0, 0),
        "weight (4-d)": (0.5, 0.125),
    }


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_tensor_that_is_no_longer_finite_is_infinitely_far(value):
    good, broken = {"a.bias": torch.zeros(2)}, {"a.bias": torch.tensor([0.0, value])}
    assert far(compare_tensors(good, broken)) == {"bias (1-d)": (math.inf, math.inf)}
    assert far(compare_tensors(broken, broken)) == {"bias (1-d)": (0, 0)}


def test_a_tensor_that_is_missing_or_has_another_shape_is_named():
    before = {"a.bias": torch.zeros(2), "b.bias": torch.zeros(2)}
    after = {"a.bias": torch.zeros(3), "c.bias": torch.zeros(2)}
    assert set(far(compare_tensors(before, after))) == {
        f"{name}.bias (missing or of another shape)" for name in "abc"
    }


def test_a_tolerance_holds_for_its_name_only():
    differences = compare_numbers({"top1": 96.0, "loss": 0.5}, {"top1": 97.0, "loss": 0.4})
    assert above(differences, {"top1": 1.0}) == []
    assert [d.name for d in above(differences, {"top1": 0.9})] == ["top1"]
    tensors = compare_tensors({"a": torch.zeros(1)}, {"a": torch.ones(1)})
    assert above(tensors, {"tensors": 0.5}) == tensors and above(tensors, {"tensors": 1.0}) == []


@pytest.mark.parametrize("text", ["", "top1", "top1=", "=1", "top1=-1", "top1=nan", "top1=1,,loss=1"])
def test_tolerances_are_names_and_numbers(text):
    assert parse_tolerances("top1=1.0, loss=5e-2") == {"top1": 1.0, "loss": 0.05}
    with pytest.raises(ValueError, match=r"expected <name>=<number>"):
        parse_tolerances(text)


# --- a rerun of a toy pipeline, on real DVC -----------------------------------------------------------


@pytest.fixture(scope="module")
def toy(tmp_path_factory) -> Path:
    """A pipeline with data in its cache; its output last.txt is different in each run."""
    noisy = STAGES.replace("cat out.txt > last.txt", "date +%N > last.txt")
    return make_toy(tmp_path_factory.mktemp("toy"), noisy)


@pytest.fixture(autouse=True)
def nothing_shared(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))


def rerun(root: Path, folder: Path) -> Path:
    project = clone_commit(root, head(root), folder)
    assert bring_data(root, project) == ["raw.dvc"]
    run_pipeline(project)
    return project


@pytest.mark.slow
def test_a_rerun_executes_every_stage_and_finds_the_one_that_is_not_repeatable(toy, tmp_path, capfd):
    before = read_lock(toy / "dvc.lock")
    project = rerun(toy, tmp_path / "rerun")
    output = capfd.readouterr().out
    assert all(f"Running stage '{name}'" in output for name in ("draw", "first", "second", "third"))
    compared = compare_outputs(before, after := read_lock(project / "dvc.lock"))
    assert [row.path for row in compared if row.verdict != SAME] == ["last.txt"]
    assert causes(before, after, compared, "dvc.lock") == [
        "third: from the same inputs it made another last.txt."
    ]
    assert run(toy, "git", "status", "--porcelain") == ""  # the project itself was not touched


@pytest.mark.slow
def test_the_commit_is_rerun_and_not_the_work_tree(toy, tmp_path):
    root = clone_git(toy, tmp_path / "root")
    write(root / "raw/a", "data\n")
    python(root, "-m", "dvc", "commit", "--quiet", "--force", "raw.dvc")
    write(root / "source.txt", "changed, not committed\n")
    assert changed_files(root) == ["source.txt"]
    project = rerun(root, tmp_path / "rerun")
    assert (project / "made/x").read_text() == "data\nsource\n"


@pytest.mark.slow
def test_data_comes_from_the_remote_when_the_cache_has_none(toy, tmp_path):
    root = clone_git(toy, tmp_path / "root")
    python(root, "-m", "dvc", "remote", "add", "--quiet", "--default", "store", "../store")
    commit(root)
    with pytest.raises(RuntimeError, match=r"raw\.dvc: neither the cache nor a remote has all of raw"):
        bring_data(root, clone_commit(root, head(root), tmp_path / "failing"))

    python(toy, "-m", "dvc", "remote", "add", "--local", "store", str(tmp_path / "store"))
    python(toy, "-m", "dvc", "push", "--quiet", "--remote", "store")
    project = clone_commit(root, head(root), tmp_path / "fetching")
    assert bring_data(root, project) == ["raw.dvc"]
    assert (project / "raw/a").read_text() == "data\n"


@pytest.mark.slow
def test_imported_data_comes_from_the_cache_when_their_source_is_gone(toy, tmp_path):
    root = shutil.copytree(toy, tmp_path / "root", symlinks=True)
    write(tmp_path / "address/a", "imported\n")
    python(root, "-m", "dvc", "remove", "--quiet", "raw.dvc", "--outs")
    python(root, "-m", "dvc", "import-url", "--quiet", str(tmp_path / "address"), "raw")
    python(root, "-m", "dvc", "repro", "--quiet")
    commit(root)
    shutil.rmtree(tmp_path / "address")
    project = rerun(root, tmp_path / "rerun")
    assert (project / "made/x").read_text() == "imported\nsource\n"


@pytest.mark.slow
def test_a_committed_output_comes_from_git_or_the_cache(toy):
    outs = {entry["path"]: entry["md5"] for entry in read_lock(toy / "dvc.lock")["second"]["outs"]}
    commit_id = head(toy)
    assert committed_content(toy, commit_id, "metric.json", outs["metric.json"]) == b'{"score":1.5}\n'
    assert committed_content(toy, commit_id, "out.txt", outs["out.txt"]) == b"data\nsource\n"
    assert committed_content(toy, commit_id, "no.txt", "0" * 32) is None


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_rerun_leaves_neither_its_folder_nor_a_process(toy, tmp_path, number):
    toy = shutil.copytree(toy, tmp_path / "toy", symlinks=True)
    edit(toy / "dvc.yaml", "date +%N > last.txt", "echo $$ > ../../pid && exec sleep 600")
    commit(toy)
    code = (
        "from pathlib import Path; from stages.core.provenance.rerun import *\n"
        "with temporary_folder() as folder:\n"
        f"    project = clone_commit(Path({str(toy)!r}), head(Path({str(toy)!r})), folder / 'rerun')\n"
        f"    bring_data(Path({str(toy)!r}), project)\n"
        "    run_pipeline(project)\n"
    )
    (tmp_path / "temporary").mkdir()
    env = environment(tmp_path) | {"PYTHONPATH": str(REPO), "TMPDIR": str(tmp_path / "temporary")}
    # the stage writes its process id beside the temporary folder's contents
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        pid_file = tmp_path / "temporary/pid"
        for _ in range(600):
            if pid_file.exists() and pid_file.read_text().strip():
                break
            time.sleep(0.1)
        stage_pid = int(pid_file.read_text())
        process.send_signal(number)
        assert process.wait(60) != 0
    finally:
        process.kill()
    assert [path.name for path in (tmp_path / "temporary").iterdir()] == ["pid"]
    with pytest.raises(ProcessLookupError):
        os.kill(stage_pid, 0)
