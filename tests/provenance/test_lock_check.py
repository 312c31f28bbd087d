"""What `python -m stages check` finds in a clone without data, on real DVC and a toy pipeline."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPO
from real_dvc import clone as clone_project
from real_dvc import commit, environment, python, repro, run
from ruamel.yaml import YAML
from toy_pipeline import STAGES, clone_git, edit, make_toy, write

from stages.core.provenance.lock_check import examine_project
from stages.core.provenance.problems import report

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def origin(tmp_path_factory) -> Path:
    """The toy with its data. No test changes it."""
    return make_toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture(autouse=True)
def nothing_shared(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))


@pytest.fixture
def clone(origin, tmp_path) -> Path:
    return clone_git(origin, tmp_path / "clone")


@pytest.fixture
def project(origin, tmp_path) -> Path:
    """A copy of the toy with its data, for a test to change."""
    return shutil.copytree(origin, tmp_path / "project", symlinks=True)


def found(folder: Path) -> list[tuple[str, str]]:
    return [(problem.where, problem.cause) for problem in examine_project(folder).problems]


def edit_yaml(path: Path, change) -> None:
    yaml = YAML()
    content = yaml.load(path.read_text(encoding="utf-8"))
    change(content)
    with path.open("w", encoding="utf-8") as file:
        yaml.dump(content, file)


def committed(folder: Path) -> Path:
    commit(folder)
    return folder


def dvc_exits_with(folder: Path, code: int) -> None:
    python(folder, "-m", "dvc", "repro", "--allow-missing", "--dry", expect=code)


# --- what is stale ------------------------------------------------------------------------------------


def test_a_clean_clone_without_data_passes_and_says_that_no_data_were_looked_at(clone):
    examined = examine_project(clone)
    assert examined.problems == []
    assert report(examined) == (
        "4 stages, 8 dependencies and parameter groups, 6 outputs, 1 .dvc files: everything matches "
        "dvc.lock and is in Git; no remote is configured, so none was asked for the data\n"
        "data: not here, so not looked at: raw, drawn.txt, made, out.txt, last.txt"
    )


def test_a_project_with_its_data_passes_too_and_says_what_was_hashed(origin):
    assert found(origin) == []
    lines = report(examine_project(origin)).splitlines()
    assert lines[1:] == ["data: 5 outputs of DVC hashed (0.0 MB)"]
    lines = report(examine_project(origin, most_read=24)).splitlines()  # bytes
    assert lines[1:] == [
        "data: 3 outputs of DVC hashed (0.0 MB); large, so DVC's record of their dates was trusted: "
        "last.txt, made (--data hashes them)"
    ]


def test_a_changed_parameter_of_the_first_stage_is_found_where_dvc_misses_it(clone):
    edit(clone / "params.yaml", "seed: 5", "seed: 6")
    committed(clone)
    dvc_exits_with(clone, 0)
    assert found(clone) == [("draw", "params.yaml has draw.seed: 6; dvc.lock has 5")]


@pytest.mark.parametrize(
    ("file", "old", "new", "problem"),
    [
        (
            "params.yaml",
            "value: 2",
            "value: 4",
            ("second", "params.yaml has second.value: 4; dvc.lock has 2"),
        ),
        (
            "params.yaml",
            ", name: one",
            "",
            ("first", "params.yaml has first.name: no such key; dvc.lock has 'one'"),
        ),
        (
            "tools/tool.txt",
            "tool",
            "other",
            ("second", "tools has changed since the stage ran: tools/tool.txt"),
        ),
        (
            "dvc.yaml",
            "cat out.txt > last.txt",
            "cp out.txt last.txt",
            (
                "third",
                "its command is 'cp out.txt last.txt'; dvc.lock has 'cat out.txt > last.txt'",
            ),
        ),
        (
            "metric.json",
            "1.5",
            "1.6",
            ("second", "metric.json is not what the stage wrote"),
        ),
        (
            "curve.csv",
            "0.5",
            "0.4",
            ("second", "curve.csv is not what the stage wrote"),
        ),
    ],
)
def test_a_changed_parameter_code_command_or_metric_of_a_later_stage_is_found(
    clone, file, old, new, problem
):
    edit(clone / file, old, new)
    assert found(committed(clone)) == [problem]


def test_new_data_without_a_new_run_is_found(project, tmp_path):
    write(project / "raw/b", "more\n")
    python(project, "-m", "dvc", "add", "--quiet", "raw")
    ((where, cause),) = found(clone_git(committed(project), tmp_path / "clone"))
    assert where == "first"
    assert cause.startswith("raw: raw.dvc names ") and ", this stage read " in cause


def test_a_stage_that_was_run_again_without_the_next_one_is_found(project, tmp_path):
    edit(project / "source.txt", "source", "other")
    repro(project, "first")
    ((where, cause),) = found(clone_git(committed(project), tmp_path / "clone"))
    assert where == "second"
    assert cause.startswith("made: first wrote ") and ", this stage read " in cause


def test_a_dependency_inside_another_stages_output_is_found_where_dvc_misses_it(project, tmp_path):
    edit(project / "dvc.yaml", "    - made\n    - tools", "    - made/x\n    - tools")
    repro(project)
    edit(project / "source.txt", "source", "other")
    repro(project, "--single-item", "first")
    clone = clone_git(committed(project), tmp_path / "clone")
    dvc_exits_with(clone, 0)
    ((where, cause),) = found(clone)
    assert where == "second"
    assert "made/x lies inside made, which first writes as a whole" in cause


def test_data_that_the_remote_lacks_is_named(project, tmp_path):
    python(project, "-m", "dvc", "remote", "add", "--quiet", "--default", "store", "../store")
    committed(project)
    python(project, "-m", "dvc", "push", "--quiet")
    clone = clone_git(project, tmp_path / "clone")
    assert "in Git; store has the data\n" in report(examine_project(clone))

    md5 = hashlib.md5(b"data\n").hexdigest()
    (tmp_path / "store/files/md5" / md5[:2] / md5[2:]).unlink()
    assert found(clone) == [("remote", "store does not have raw/a")]
    assert "`dvc push` uploads the data." in report(examine_project(clone))

    shutil.rmtree(tmp_path / "store")
    ((where, cause),) = found(clone)
    assert where == "remote" and "raw" in cause and "made" in cause


# --- dvc.yaml and dvc.lock ----------------------------------------------------------------------------


def test_a_stage_that_was_never_run_is_named(clone):
    edit_yaml(clone / "dvc.lock", lambda lock: lock["stages"].pop("second"))
    assert ("second", "dvc.lock does not have this stage: it was never run") in found(committed(clone))


def test_a_stage_that_only_dvc_lock_has_is_named(clone):
    edit_yaml(clone / "dvc.yaml", lambda content: content["stages"].pop("third"))
    ((where, cause),) = found(committed(clone))
    assert where == "third"
    assert cause.startswith("dvc.lock has it, dvc.yaml does not: remove it from dvc.lock")


def test_entries_that_only_dvc_lock_lists_are_named(clone):
    def change(content):
        content["stages"]["second"]["deps"].remove("tools")
        content["stages"]["second"].pop("params")
        content["stages"]["second"].pop("plots")

    edit_yaml(clone / "dvc.yaml", change)
    dvc_exits_with(committed(clone), 0)
    assert found(clone) == [
        (
            "second",
            "dvc.lock lists dep tools, out curve.csv, param second.value of params.yaml; dvc.yaml does "
            "not. Run `dvc repro --force --single-item second`",
        )
    ]


def test_the_command_that_the_message_gives_removes_such_an_entry(project):
    edit(project / "dvc.yaml", "    - tools\n", "")
    repro(project, "--force", "--single-item", "second")
    assert found(committed(project)) == []


def test_entries_added_to_a_stage_after_it_ran_are_named(clone):
    def change(content):
        content["stages"]["third"]["deps"] += ["made", "source.txt"]
        content["stages"]["third"]["outs"] += ["more.txt"]
        content["stages"]["third"]["params"] = ["first.name"]

    edit_yaml(clone / "dvc.yaml", change)
    assert sorted(found(committed(clone))) == [
        ("third", "first.name of params.yaml was added to the parameters after the stage ran"),
        ("third", "made was added to the dependencies after the stage ran"),
        ("third", "more.txt was added to the outputs after the stage ran"),
        (
            "third",
            "no .gitignore names more.txt, an output of DVC, so `git add` would take it. Add the line "
            "/more.txt to .gitignore",
        ),
        ("third", "source.txt was added to the dependencies after the stage ran"),
    ]


def test_a_missing_dvc_lock_is_named(clone):
    (clone / "dvc.lock").unlink()
    assert found(committed(clone)) == [("dvc.lock", "dvc.lock does not exist: nothing was run")]


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("<<<<<<< HEAD\nschema: '2.0'\n=======\n>>>>>>> other\n", "(possible merge conflicts)"),
        ("schema: '2.0'\nstages: [", "YAML file structure is corrupted, line 2"),
        ("schema: '2.0'\nstages: {first: 3}\n", "expected a dictionary"),
        ("\x00\x01", "YAML file structure is corrupted"),
    ],
)
def test_a_dvc_lock_that_cannot_be_read_is_named_with_the_reason(clone, text, cause):
    write(clone / "dvc.lock", text)
    ((where, message),) = found(committed(clone))
    assert where == "dvc.lock" and cause in message


def test_an_unresolved_variable_hides_no_other_problem(clone):
    edit(clone / "dvc.yaml", "cat out.txt > last.txt", "cat ${no.such} > last.txt")
    edit(clone / "params.yaml", "value: 2", "value: 4")
    problems = dict(found(committed(clone)))
    assert problems["second"] == "params.yaml has second.value: 4; dvc.lock has 2"
    assert "no.such" in problems["third"]


def test_a_dvc_yaml_that_cannot_be_read_is_named_with_the_line(clone):
    write(clone / "dvc.yaml", "stages:\n  first: [\n")
    ((where, cause),) = found(committed(clone))
    assert where == "dvc.yaml" and "line 3" in cause


def test_an_output_of_two_stages_is_named(clone):
    edit(clone / "dvc.yaml", "    - last.txt", "    - out.txt")
    assert any(where == "dvc.yaml" and "out.txt" in cause for where, cause in found(committed(clone)))


def test_a_params_yaml_that_is_no_yaml_is_named(clone):
    write(clone / "params.yaml", "first: [\n")
    assert any("params.yaml" in cause for _, cause in found(committed(clone)))


def test_a_stage_that_always_runs_and_a_frozen_one_are_named(clone):
    edit(clone / "dvc.yaml", "  third:\n", "  third:\n    always_changed: true\n")
    edit(clone / "dvc.yaml", "  second:\n", "  second:\n    frozen: true\n")
    edit(clone / "params.yaml", "value: 2", "value: 4")
    assert found(committed(clone)) == [
        ("second", "params.yaml has second.value: 4; dvc.lock has 2"),
        ("second", "it is frozen in dvc.yaml, so `dvc repro` does not run it"),
        ("third", "it is always_changed, so no lock can show that its outputs are up to date"),
    ]


# --- files --------------------------------------------------------------------------------------------


def test_a_missing_source_file_metric_and_plot_are_named(clone):
    for name in ("source.txt", "metric.json", "curve.csv"):
        (clone / name).unlink()
    missing = "is missing: restore it with git, or make it with `dvc repro`"
    assert sorted(found(committed(clone))) == [
        ("first", f"source.txt {missing}"),
        ("second", f"curve.csv {missing}"),
        ("second", f"metric.json {missing}"),
    ]


def test_data_that_neither_git_nor_dvc_has_is_named(project, tmp_path):
    (project / "raw.dvc").unlink()
    assert ("Git", "git-ignored, so no clone has it: raw/") in found(committed(project))
    clone = clone_git(project, tmp_path / "clone")
    ((where, cause),) = found(clone)
    assert where == "first" and cause.startswith("raw is missing")


def test_a_dependency_that_holds_outputs_or_lies_outside_is_named(clone, tmp_path):
    edit(clone / "dvc.yaml", "    - out.txt\n    outs", f"    - .\n    - {tmp_path}/x\n    outs")
    causes = [cause for where, cause in found(committed(clone)) if where == "third"]
    assert any("holds outputs of other stages" in cause for cause in causes)
    assert any("is outside the project" in cause for cause in causes)


def test_an_output_that_was_edited_by_hand_is_named(project):
    write(project / "out.txt", "by hand\n")
    write(project / "raw/a", "by hand\n")
    assert found(project) == [
        (
            "raw.dvc",
            "raw is not the recorded data (`dvc add raw` records it, `dvc checkout raw` restores the "
            "recorded data): raw/a",
        ),
        ("second", "out.txt is not what the stage wrote"),
    ]


def test_a_dvc_file_that_cannot_be_read_is_named(clone):
    write(clone / "raw.dvc", "<<<<<<< HEAD\nouts:\n")
    assert any(where == "raw.dvc" and "merge conflicts" in cause for where, cause in found(clone))


# --- the files of a changed folder --------------------------------------------------------------------

TOOLS = "tools has changed since the stage ran"


def test_an_edited_an_added_and_a_deleted_file_are_named_in_git_or_not_yet(clone):
    write(clone / "tools/deep/new.txt", "new\n")
    write(clone / "tools/ignored.tmp", "DVC ignores it\n")
    assert ("second", f"{TOOLS}: tools/deep/new.txt") in found(clone)
    (clone / "tools/tool.txt").unlink()
    assert found(committed(clone)) == [("second", f"{TOOLS}: tools/deep/new.txt, tools/tool.txt")]
    edit(clone / "tools/deep/new.txt", "new", "newer")
    write(clone / "tools/tool.txt", "tool\n")
    assert ("second", f"{TOOLS}: tools/deep/new.txt") in found(clone)


def test_ten_changed_files_are_named_and_the_others_counted(clone):
    for number in range(12):
        write(clone / f"tools/{number:02}.txt", "new\n")
    ((_, cause),) = found(committed(clone))
    assert cause.startswith(f"{TOOLS}: tools/00.txt, ") and cause.endswith(", tools/09.txt, and 2 more")


def test_files_are_named_though_another_stage_has_run_since(project, tmp_path):
    """The last commit that touched dvc.lock has the changed folder, so it is not the one to ask."""
    edit(project / "tools/tool.txt", "tool", "other")
    edit(project / "params.yaml", "seed: 5", "seed: 6")
    repro(project, "draw")
    clone = clone_git(committed(project), tmp_path / "clone")
    assert found(clone) == [("second", f"{TOOLS}: tools/tool.txt")]


def test_only_the_folder_is_named_where_git_lacks_what_the_stage_read(project, tmp_path):
    edit(project / "tools/tool.txt", "tool", "other")
    committed(project)
    url, shallow = project.as_uri(), tmp_path / "shallow"
    run(tmp_path, "git", "clone", "--quiet", "--depth", "1", url, str(shallow))
    assert found(shallow) == [("second", TOOLS)]
    repro(project)
    edit(project / "tools/tool.txt", "other", "edited between the run and the commit")
    assert found(committed(project)) == [("second", TOOLS)]


# --- Git ----------------------------------------------------------------------------------------------


def test_what_was_run_and_is_not_in_git_yet_is_named(project):
    edit(project / "params.yaml", "value: 2", "value: 4")
    repro(project)
    write(project / "tools/new.txt", "new\n")
    write(project / "tools/junk.tmp", "DVC ignores it, as Git does\n")
    write(project / "README.md", "nothing that the pipeline reads\n")
    assert found(project) == [
        ("second", "tools has changed since the stage ran: tools/new.txt"),
        ("Git", "changed, and the change is not in Git: dvc.lock, params.yaml"),
        ("Git", "not in Git (files go in with `git add`, data with `dvc add`): tools/new.txt"),
    ]
    (project / "tools/new.txt").unlink()
    run(project, "git", "add", "--all")
    assert found(project) == []  # the next commit has it


def test_a_source_file_that_git_ignores_is_named(project):
    edit(project / ".gitignore", "*.tmp", "*.tmp\nold.txt")
    write(project / "tools/old.txt", "in no clone\n")
    repro(project)
    assert found(committed(project)) == [("Git", "git-ignored, so no clone has it: tools/old.txt")]


def test_a_merge_conflict_is_named(project):
    run(project, "git", "checkout", "--quiet", "-b", "other")
    edit(project / "source.txt", "source", "theirs")
    committed(project)
    run(project, "git", "checkout", "--quiet", "main")
    edit(project / "source.txt", "source", "ours")
    committed(project)
    run(project, "git", "merge", "--quiet", "other", expect=1)
    assert ("Git", "in a merge conflict: source.txt") in found(project)


def test_a_missing_git_repository_or_dvc_project_is_named(project, tmp_path):
    shutil.rmtree(project / ".git")
    ((where, cause),) = found(project)
    assert where == "project" and "is not a git repository" in cause
    (tmp_path / "empty").mkdir()
    ((where, cause),) = found(tmp_path / "empty")
    assert where == "project" and "not inside of a DVC repository" in cause
    ((where, cause),) = found(project / "tools")
    assert where == "project" and str(project) in cause


def test_a_project_may_lie_in_a_folder_of_a_git_repository(origin, tmp_path):
    folder = tmp_path / "outer/inner"
    shutil.copytree(origin, folder, ignore=shutil.ignore_patterns(".git"))
    run(tmp_path / "outer", "git", "init", "--quiet")
    committed(tmp_path / "outer")
    assert found(folder) == []
    write(folder / "tools/new.txt", "new\n")
    assert found(folder)[0] == ("second", "tools has changed since the stage ran: tools/new.txt")
    assert [where for where, _ in found(folder)] == ["second", "Git"]


def test_the_report_groups_by_stage_and_says_what_to_do(clone):
    edit(clone / "params.yaml", "value: 1,", "value: 3,")
    edit(clone / "source.txt", "source", "other")
    edit(clone / "metric.json", "1.5", "9.5")
    assert report(examine_project(committed(clone))).splitlines() == [
        "3 problems: what Git holds does not belong together.",
        "",
        "first:",
        "  source.txt has changed since the stage ran",
        "  params.yaml has first.value: 3; dvc.lock has 1",
        "",
        "second:",
        "  metric.json is not what the stage wrote",
        "",
        "`dvc repro` runs what is stale and brings dvc.lock up to date.",
    ]


# --- the command --------------------------------------------------------------------------------------


def test_the_command_checks_this_project_without_torch(tmp_path):
    project = clone_project(tmp_path / "project")
    code = "import sys; from stages.commands.check import main; print(main(), 'torch' in sys.modules)"
    output = python(project, "-c", code)
    assert "dvc.lock does not exist: nothing was run" in output
    assert output.endswith("False False\n")


def test_the_command_names_what_is_wrong_with_params_yaml(clone):
    """The toy's params.yaml has none of this project's keys."""
    command = [sys.executable, "-m", "stages", "check"]
    env = environment(clone) | {"PYTHONPATH": str(REPO)}
    done = subprocess.run(command, cwd=clone, env=env, capture_output=True, text=True)
    assert done.returncode == 1
    assert (
        "params.yaml:\n  params.yaml line 1: augment is missing; expected the keys crop_scale"
        in done.stdout
    )
    assert "\n  params.yaml line 1: draw is unknown; expected one of seed, sample" in done.stdout


def test_the_toy_has_run_the_stages_that_these_tests_assume(origin):
    assert (origin / "dvc.yaml").read_text() == STAGES
    assert (origin / "last.txt").read_text() == "data\nsource\n"
