"""What a pull request changed, in Markdown, and a gate on its metrics: small repositories, known answers."""

import hashlib
import json
import shutil
import subprocess
import sys

import pytest
from conftest import REPO
from dvc.repo import Repo
from real_dvc import commit, environment, run
from ruamel.yaml import YAML

from stages.commands import compare
from stages.commands.compare import Bound, judge, read_bound
from stages.core.inference.predictions import Prediction, write_predictions
from stages.core.provenance.images import mcnemar

PIPELINE = {
    "stages": {
        "train": {
            "cmd": "true",
            "params": ["train"],
            "outs": ["model.bin"],
            "metrics": [{"evaluation.json": {"cache": False}}],
        }
    }
}


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A clone without data: a run that scored 90 %, committed on main."""
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / ".dvc/tmp/site"))
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    run(tmp_path, "git", "init", "--quiet", "--initial-branch", "main")
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("[core]\n    analytics = false\n")
    (tmp_path / ".dvc/.gitignore").write_text("/config.local\n/tmp\n/cache\n")
    (tmp_path / ".gitignore").write_text("/model.bin\n")
    state(
        tmp_path,
        "0" * 32,
        {"top1": 90.0, "loss": 0.5},
        {"train": {"lr": 0.1}, "runtime": {"workers": 2}},
    )
    commit(tmp_path)
    return tmp_path


def state(root, md5=None, metrics=None, params=None):
    """Write what a run leaves in Git: dvc.lock with the model's MD5, metrics, params."""
    dump = YAML()
    dump.dump(PIPELINE, root / "dvc.yaml")
    if md5:
        out = {"path": "model.bin", "hash": "md5", "md5": md5, "size": 3}
        dump.dump(
            {"schema": "2.0", "stages": {"train": {"cmd": "true", "outs": [out]}}}, root / "dvc.lock"
        )
    if metrics is not None:
        (root / "evaluation.json").write_text(json.dumps(metrics))
    if params is not None:
        dump.dump(params, root / "params.yaml")


def report(root, capsys, *bounds, base="main", curves=False):
    failures = compare.main(base, [read_bound(*bound) for bound in bounds], curves, root)
    return capsys.readouterr().out, failures


def rows(text):
    """The cells of each row of all tables, without headers."""
    lines = [line for line in text.splitlines() if line.startswith("| ") and "---" not in line]
    return [line.strip("| ").split(" | ") for line in lines if not line.startswith(("| file", "| path"))]


def test_a_clone_without_data_tells_what_changed_by_hashes(clone, capsys):
    state(
        clone, "1" * 32, {"top1": 91.25, "loss": 0.5}, {"train": {"lr": 0.2}, "runtime": {"workers": 2}}
    )
    commit(clone)
    text, failures = report(clone, capsys, base="HEAD~1")
    assert rows(text) == [
        ["evaluation.json", "top1", "90", "91.25", "+1.25"],
        ["params.yaml", "train.lr", "0.1", "0.2"],
        ["model.bin", "modified", "00000000", "11111111"],
    ]
    assert failures == []


def test_what_is_not_committed_yet_is_compared_too_and_stays_as_it_is(clone, capsys):
    state(
        clone, "1" * 32, {"top1": 91.25, "loss": 0.5}, {"train": {"lr": 0.2}, "runtime": {"workers": 2}}
    )
    before = run(clone, "git", "status", "--porcelain")
    text, _ = report(clone, capsys)
    assert [row[-1] for row in rows(text)] == ["+1.25", "0.2", "11111111"]
    assert run(clone, "git", "status", "--porcelain") == before
    assert run(clone, "git", "stash", "list") == ""


def test_an_unchanged_clone_says_so(clone, capsys):
    text, failures = report(clone, capsys, ("--max-drop", "top1=0"))
    assert "Nothing changed: the same metrics, parameters and data." in text
    assert rows(text) == [] and failures == []


def test_a_parameter_that_no_stage_depends_on_is_told_apart(clone, capsys):
    state(clone, params={"train": {"lr": 0.2}, "runtime": {"workers": 8}})
    text, _ = report(clone, capsys)
    assert [row[1] for row in rows(text)] == ["runtime.workers", "train.lr"]
    assert "No stage depends on runtime.workers.\n" in text


def test_a_number_that_becomes_a_string_is_seen(clone, capsys):
    state(clone, params={"train": {"lr": "0.1"}, "runtime": {"workers": 2}})
    text, _ = report(clone, capsys)
    assert rows(text) == [["params.yaml", "train.lr", "0.1", "<code>'0.1'</code>"]]


@pytest.mark.parametrize(
    "top1, allowed, sentence",
    [
        (89.0, "1", None),
        (89.9, "0.1", None),
        (95.0, "0", None),
        (88.9, "1", "top1 dropped by 1.1, from 90 to 88.9; at most 1 is allowed."),
        (89.999, "0", "top1 dropped by 0.001, from 90 to 89.999; at most 0 is allowed."),
        (float("nan"), "1", "top1 is no number now, but nan; it was 90."),
        ("high", "1", "top1 is no number now, but high; it was 90."),
        (None, "1", "top1 is gone; it was 90."),
    ],
)
def test_the_gate_holds_up_to_the_allowed_drop(top1, allowed, sentence):
    metrics = {"evaluation.json": {"top1": {"old": 90.0, "new": top1}}}
    holds, said = judge(read_bound("--max-drop", f"top1={allowed}"), metrics)
    assert holds == (sentence is None)
    assert holds or f"top1 {said}" == sentence


def test_scores_of_another_dataset_are_shown_and_not_judged(clone, capsys):
    state(clone, params={"dataset": {"path": "data/sample"}})
    commit(clone)
    state(clone, metrics={"top1": 50.0, "loss": 0.5}, params={"dataset": {"path": "data/photos"}})
    text, failures = report(clone, capsys, ("--max-drop", "top1=1"), base="HEAD")
    assert failures == [] and ["evaluation.json", "top1", "90", "50", "-40"] in rows(text)
    assert "No bound is judged: dataset.path changed" in text
    with pytest.raises(ValueError, match="--max-drop top2: no metric has this name"):
        report(clone, capsys, ("--max-drop", "top2=1"), base="HEAD")


def test_a_loss_may_fall_but_not_rise(clone, capsys):
    state(clone, metrics={"top1": 90.0, "loss": 0.1})
    assert report(clone, capsys, ("--max-rise", "loss=0"))[1] == []
    state(clone, metrics={"top1": 90.0, "loss": 0.75})
    text, failures = report(clone, capsys, ("--max-rise", "loss=0.2"))
    assert failures == ["loss rose by 0.25, from 0.5 to 0.75; at most 0.2 is allowed."]
    assert f"**{failures[0]}**" in text


def test_a_metric_that_is_new_has_nothing_to_be_compared_with(clone, capsys):
    state(clone, metrics={"top1": 90.0, "loss": 0.5, "top5": 99.0})
    text, failures = report(clone, capsys, ("--max-drop", "top5=0"))
    assert failures == []
    assert "top5 is 99; it was no number before, so there is nothing to compare with." in text


def test_a_metric_that_was_no_number_may_become_one(clone, capsys):
    state(clone, metrics={"top1": float("nan"), "loss": 0.5})
    commit(clone)
    assert "Nothing changed" in report(clone, capsys, base="HEAD")[0]
    state(clone, metrics={"top1": 50.0, "loss": 0.5})
    text, failures = report(clone, capsys, ("--max-drop", "top1=0"), base="HEAD")
    assert failures == [] and rows(text) == [["evaluation.json", "top1", "nan", "50", "-"]]


def test_an_unknown_metric_names_the_known_ones(clone, capsys):
    with pytest.raises(
        ValueError, match="--max-drop top2: no metric has this name; expected one of loss, top1"
    ):
        report(clone, capsys, ("--max-drop", "top2=1"))
    assert capsys.readouterr().out == ""


def test_a_name_in_two_files_has_to_be_written_with_its_file(clone, capsys, monkeypatch):
    two = {
        "stages": {"train": PIPELINE["stages"]["train"] | {"metrics": ["evaluation.json", "val.json"]}}
    }
    monkeypatch.setattr("test_compare.PIPELINE", two)
    state(clone, metrics={"top1": 80.0})
    (clone / "val.json").write_text('{"top1": 10.0}')
    with pytest.raises(ValueError, match="several .* one of evaluation.json:top1, val.json:top1"):
        report(clone, capsys, ("--max-drop", "top1=1"))
    (failure,) = report(clone, capsys, ("--max-drop", "evaluation.json:top1=1"))[1]
    assert failure.startswith("evaluation.json:top1 dropped by 10, from 90 to 80")


@pytest.mark.parametrize("text", ["top1", "top1=", "top1=much", "=1", "top1=-1", "top1=nan", "top1=inf"])
def test_a_bound_that_is_no_bound_is_refused(text):
    with pytest.raises(ValueError, match="--max-drop is .* expected NAME=NUMBER, such as top1=0.5"):
        read_bound("--max-drop", text)


def test_a_metric_may_have_any_name(clone, capsys):
    name = "per_class.<b>a=b|`苹果`"
    state(clone, metrics={"top1": 90.0, name: 50.0})
    commit(clone)
    state(clone, metrics={"top1": 90.0, name: 40.0})
    text, failures = report(clone, capsys, ("--max-drop", f"{name}=1"), base="HEAD")
    assert failures == [f"{name} dropped by 10, from 50 to 40; at most 1 is allowed."]
    assert "<b>" not in text and "`" not in text
    assert rows(text)[0][2:] == ["50", "40", "-10"]


def test_hostile_parameters_and_files_cannot_break_the_table(clone, capsys):
    hostile = "a|b\n`<script>alert(1)</script>`\n# 标题"
    state(clone, params={"train": {"lr": 0.1, "name|x\n": hostile}, "runtime": {"workers": 2}})
    photos = clone / "照片 |`<img src=x>`"
    photos.mkdir()
    (photos / "1.png").write_bytes(b"image")
    with Repo(str(clone)) as repo:
        repo.add(str(photos))
    commit(clone)
    text, _ = report(clone, capsys, base="HEAD~1")
    assert not set("`#") & set(text.replace("&#", "").replace("### ", "").replace("## ", ""))
    assert "<script" not in text and "<img" not in text
    assert sorted(map(len, rows(text))) == [4, 4, 4]
    assert "标题" in text and "照片" in text


def test_an_image_that_moved_is_renamed(clone, capsys):
    for name in ("a", "b"):
        (clone / f"photos/{name}").mkdir(parents=True)
        (clone / f"photos/{name}/1.png").write_bytes(name.encode())
    with Repo(str(clone)) as repo:
        repo.add(str(clone / "photos"))
    commit(clone)
    shutil.move(clone / "photos/a/1.png", clone / "photos/b/2.png")
    with Repo(str(clone)) as repo:
        repo.add(str(clone / "photos"))
    text, _ = report(clone, capsys, base="HEAD")
    assert [row[:2] for row in rows(text)] == [
        ["photos/", "modified"],
        ["<code>photos/a/1.png -&#62; photos/b/2.png</code>", "renamed"],
    ]


def test_data_that_git_does_not_know_yet_is_named(clone, capsys):
    (clone / "photos.txt").write_text("image")
    with Repo(str(clone)) as repo:
        repo.add(str(clone / "photos.txt"))
    text, _ = report(clone, capsys)
    assert "photos.txt.dvc is not compared, as Git does not know it yet: `git add` it." in text


def test_a_base_without_a_pipeline_makes_everything_new(clone, capsys):
    run(clone, "git", "checkout", "--quiet", "--orphan", "empty")
    run(clone, "git", "rm", "-r", "--quiet", "--cached", ".")
    (clone / "README.md").write_text("nothing yet\n")
    run(clone, "git", "add", "README.md")
    who = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    run(clone, "git", *who, "commit", "--quiet", "-m", "empty")
    run(clone, "git", "checkout", "--quiet", "--force", "main")
    text, failures = report(clone, capsys, ("--max-drop", "top1=1"), base="empty")
    assert "empty has no metrics and no parameters yet: all are new." in text
    assert ["evaluation.json", "top1", "-", "90", "-"] in rows(text)
    assert ["model.bin", "added", "-", "00000000"] in rows(text)
    assert failures == []


def test_metrics_that_cannot_be_read_are_named_and_do_not_pass(clone, capsys):
    (clone / "evaluation.json").write_text("<<<<<<< HEAD\n")
    text, failures = report(clone, capsys, ("--max-drop", "top1=1"))
    assert "evaluation.json cannot be read now: " in text
    assert failures == ["top1 is gone; it was 90."]
    (clone / "evaluation.json").unlink()
    text, failures = report(clone, capsys, ("--max-drop", "top1=1"))
    assert "evaluation.json does not exist now." in text
    assert failures == ["top1 is gone; it was 90."]


def test_an_unknown_revision_says_how_to_get_it(clone, capsys):
    with pytest.raises(
        ValueError, match="'nosuch' is no revision of this clone. .*git fetch --unshallow"
    ):
        report(clone, capsys, base="nosuch")


def test_without_git_there_is_nothing_to_compare_with(clone, capsys):
    shutil.rmtree(clone / ".git")
    with pytest.raises(ValueError, match="is not a git repository. Comparing needs a clone made by Git"):
        report(clone, capsys)


def test_the_curves_show_both_runs_where_their_epochs_are_the_same(clone, capsys):
    header = "epoch,loss,val_loss,val_top1\n"
    (clone / "metrics").mkdir()
    (clone / "metrics/training.csv").write_text(header + "1,2.0,1.5,50\n2,1.0,0.5,75\n")
    commit(clone)
    (clone / "metrics/training.csv").write_text(header + "1,2.0,1.5,60\n2,1.0,0.5,80\n")
    text, _ = report(clone, capsys, base="HEAD", curves=True)
    assert "  line [60, 80]\n  line [50, 75]\n```\n\nblue: now, orange: HEAD\n" in text
    assert "  line [2, 1]\n  line [1.5, 0.5]\n```\n\nblue: training, orange: val\n" in text
    (clone / "metrics/training.csv").write_text(header + "1,2,1,60\n2,1,1,80\n3,1,1,85\n")
    text, _ = report(clone, capsys, base="HEAD", curves=True)
    assert "  line [60, 80, 85]\n```\n\nblue: now\n" in text
    for broken in (
        header + "1,nan,1,60\n2,1,1,80\n",
        header + "1,2,1,60\n",
        "epoch,loss\n1,2\n2,1\n",
        "",
    ):
        (clone / "metrics/training.csv").write_text(broken)
        assert "No curves: metrics/training.csv" in report(clone, capsys, base="HEAD", curves=True)[0]


def test_the_command_exits_with_one_and_a_sentence(clone):
    state(clone, metrics={"top1": 80.0, "loss": 0.5})
    command = [sys.executable, "-m", "stages", "compare"]
    settings = environment(clone) | {"PYTHONPATH": str(REPO)}
    for arguments, code, sentence in (
        (["main"], 0, ""),
        (
            ["main", "--max-drop", "top1=1"],
            1,
            "top1 dropped by 10, from 90 to 80; at most 1 is allowed.\n",
        ),
        (["main", "--max-drop", "top1"], 1, "error: --max-drop is 'top1'; expected NAME=NUMBER"),
    ):
        done = subprocess.run(
            command + arguments, cwd=clone, env=settings, capture_output=True, text=True
        )
        assert done.returncode == code
        assert done.stderr.startswith(sentence) if sentence else done.stderr == ""


def test_bounds_are_plain_values():
    assert read_bound("--max-rise", "a=b=0.5") == Bound("--max-rise", "a=b", 0.5)


# --- image by image -----------------------------------------------------------------------------------


def scored(root, answers: str, cached: bool = True) -> None:
    """dvc.lock with the predictions of so many images of class a, and these in DVC's cache."""
    file = root / "data/predictions/test.csv"
    rows = [
        Prediction(f"data/{number}.jpg", "a", [answer, "c"], [0.75, 0.25])
        for number, answer in enumerate(answers)
    ]
    write_predictions(file, rows)
    md5 = hashlib.md5(file.read_bytes()).hexdigest()
    if cached:
        copy = root / f".dvc/cache/files/md5/{md5[:2]}/{md5[2:]}"
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes())
    stage = {"cmd": "true", "outs": [{"path": "data/predictions/test.csv", "hash": "md5", "md5": md5}]}
    YAML().dump(
        {"stages": {"score": {"cmd": "true", "outs": ["data/predictions/test.csv"]}}}, root / "dvc.yaml"
    )
    YAML().dump({"schema": "2.0", "stages": {"score": stage}}, root / "dvc.lock")
    (root / ".gitignore").write_text("/model.bin\n/data\n")
    commit(root)


def test_images_that_are_fixed_or_broken_are_named_with_mcnemars_test(clone, capsys):
    scored(clone, "aaabb")
    scored(clone, "aabab")
    text, _ = report(clone, capsys, base="HEAD~1")
    assert "Of 5 images that both scored, 1 are fixed and 1 are broken. This can be chance" in text
    assert [row for row in rows(text) if row[0].endswith("jpg")] == [
        ["data/2.jpg", "a", "a", "b", "broken"],
        ["data/3.jpg", "a", "b", "a", "fixed"],
    ]


def test_a_difference_that_is_hardly_chance_is_called_so(clone, capsys):
    scored(clone, "b" * 9 + "a")
    scored(clone, "a" * 10 + "b")
    text, _ = report(clone, capsys, base="HEAD~1")
    assert "Of 10 images that both scored, 9 are fixed and 0 are broken. This is hardly chance" in text
    assert mcnemar(9, 0) == pytest.approx(2 / 2**9) and mcnemar(3, 5) == pytest.approx(0.7265625)


def test_predictions_that_are_nowhere_are_a_sentence_and_equal_ones_no_section(clone, capsys):
    scored(clone, "aaa", cached=False)
    scored(clone, "aab")
    text, _ = report(clone, capsys, base="HEAD~1")
    assert (
        "neither the cache nor a remote has data/predictions/test.csv of <code>HEAD&#126;1</code>"
        in text
    )
    text, _ = report(clone, capsys, base="HEAD")
    assert "Test images" not in text and "one by one" not in text


def test_hostile_names_of_images_are_text(clone, capsys):
    scored(clone, ["a", "<b>|"])
    scored(clone, ["<b>|", "a"])
    text, _ = report(clone, capsys, base="HEAD~1")
    assert "<b>" not in text and len([row for row in rows(text) if row[0].endswith("jpg")]) == 2
