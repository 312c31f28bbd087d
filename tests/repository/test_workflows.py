"""The workflows are valid and safe, their scripts work, and nothing sends usage data."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import PARAMS, REPO, write_params
from real_dvc import SMALL, commit, environment, run
from ruamel.yaml import YAML

from stages.commands.use_preset import merged, read_preset
from stages.core.params import load_params

WORKFLOWS = {
    path.stem: YAML(typ="safe").load(path) for path in sorted(REPO.glob(".github/workflows/*.yml"))
}
names = pytest.mark.parametrize("name", WORKFLOWS)


def steps(name):
    return [step for job in WORKFLOWS[name]["jobs"].values() for step in job["steps"]]


def script(name, step):
    """The commands of a step, by its name."""
    (found,) = [s["run"] for s in steps(name) if s.get("name") == step]
    return found


def tool(name):
    return str(Path(sys.executable).parent / name)


def test_every_workflow_follows_githubs_schema():
    files = [str(path) for path in REPO.glob(".github/workflows/*.yml")]
    assert len(files) == 3
    run(REPO, tool("check-jsonschema"), "--builtin-schema", "vendor.github-workflows", *files)


def test_zizmor_finds_nothing():
    assert "No findings to report" in run(
        REPO, tool("zizmor"), "--offline", "--no-progress", ".github/workflows"
    )


@names
def test_every_action_is_pinned_by_commit_and_names_its_version(name):
    lines = (REPO / f".github/workflows/{name}.yml").read_text().splitlines()
    uses = [line.strip().removeprefix("- ") for line in lines if "uses:" in line]
    assert uses
    for line in uses:
        assert re.fullmatch(r"uses: actions/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line


@names
def test_no_script_contains_a_github_expression(name):
    assert not [step["run"] for step in steps(name) if "${{" in step.get("run", "")]


def test_the_only_job_that_may_write_runs_no_code_of_the_project():
    writers = []
    for workflow in WORKFLOWS.values():
        assert workflow["permissions"] == {"contents": "read"}
        writers += [job for job in workflow["jobs"].values() if job.get("permissions")]
    (writer,) = writers
    assert writer["permissions"] == {"contents": "write"}
    assert not re.search(r"python|make|dvc", " ".join(step.get("run", "") for step in writer["steps"]))


def test_a_strangers_pull_request_never_reaches_a_self_hosted_runner():
    for workflow in WORKFLOWS.values():
        on = workflow["on"]
        if any("self-hosted" in str(job["runs-on"]) for job in workflow["jobs"].values()):
            assert list(on) == ["workflow_dispatch"]
        assert "pull_request_target" not in on and "workflow_run" not in on


@names
def test_what_a_step_calls_exists(name):
    targets = set(re.findall(r"^([a-z-]+):", (REPO / "Makefile").read_text(), flags=re.MULTILINE))
    scripts = "\n".join(step.get("run", "") for step in steps(name))
    for target in re.findall(r"\bmake ([\w-]+)", scripts):
        assert target in targets
    assert "python -m stages." not in scripts
    for command in re.findall(r"\bpython -m stages (\w+)", scripts):
        assert (REPO / f"stages/commands/{command}.py").is_file()
    for file in re.findall(r"\bbash (\S+)", scripts):
        assert (REPO / file).is_file()
    for preset in re.findall(r"use_preset (\S+)", scripts):
        assert (REPO / f"configs/presets/{preset}.yaml").is_file()


def test_the_smallest_run_is_the_one_of_the_slow_tests(tmp_path):
    """Except for the number of threads: slow tests run side by side, so they use one."""
    preset = read_preset(REPO / "configs/presets", "smallest")
    (tmp_path / "smallest.yaml").write_text(merged(PARAMS.read_text(), preset["params"]))
    threads = load_params(PARAMS).train.threads
    write_params(tmp_path, **SMALL | {"train": SMALL["train"] | {"threads": threads}})
    assert load_params(tmp_path / "smallest.yaml") == load_params(tmp_path / "params.yaml")


@pytest.fixture
def clone(tmp_path):
    """A small pipeline in Git, run and committed."""
    folder = tmp_path / "clone"
    (folder / ".dvc").mkdir(parents=True)
    (folder / ".dvc/config").write_text("[core]\n    analytics = false\n")
    (folder / ".dvc/.gitignore").write_text("/config.local\n/tmp\n/cache\n")
    (folder / ".gitignore").write_text("/model.bin\nresults.patch\n")
    (folder / "params.yaml").write_text("train:\n  lr: 0.1  # a rate\n  name: first\n")
    train = {"cmd": "cp params.yaml model.bin; cp params.yaml metrics.yaml", "params": ["train"]}
    train |= {"outs": ["model.bin"], "metrics": [{"metrics.yaml": {"cache": False}}]}
    YAML().dump({"stages": {"train": train}}, folder / "dvc.yaml")
    run(folder, "git", "init", "--quiet", "--initial-branch", "main")
    run(folder, sys.executable, "-m", "dvc", "repro", "--quiet")
    commit(folder)
    return folder


def shell(folder, text, **settings):
    """Run a step's script as GitHub does."""
    summary, output = folder.parent / "summary.md", folder.parent / "output"
    kept = environment(folder) | {"PYTHONPATH": str(REPO), "PYTHONSAFEPATH": "1"}
    kept |= {"GITHUB_STEP_SUMMARY": str(summary), "GITHUB_OUTPUT": str(output)} | settings
    command = ["bash", "--noprofile", "--norc", "-e", "-c", text]
    done = subprocess.run(command, cwd=folder, env=kept, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return summary.read_text() if summary.exists() else "", output.read_text() if output.exists() else ""


def test_parameters_typed_into_the_form_are_values_and_never_commands(clone):
    typed = "train.lr=0.5 train.name=$(touch${IFS}pwned);`touch\tpwned`"
    with pytest.raises(AssertionError, match="mismatched input"):  # DVC refuses the value
        shell(clone, script("gpu", "Run the pipeline"), PARAMS=typed)
    assert not (clone / "pwned").exists()
    shell(clone, script("gpu", "Run the pipeline"), PARAMS="train.lr=0.5  train.name=*")
    assert (clone / "model.bin").read_text() == "train:\n  lr: 0.5  # a rate\n  name: '*'\n"


def test_a_run_on_the_gpu_leaves_its_results_as_a_patch_of_the_commit(clone, tmp_path):
    shell(clone, script("gpu", "Run the pipeline"), PARAMS="")
    assert shell(clone, script("gpu", "Write down what changed"))[1] == ""
    shell(clone, script("gpu", "Run the pipeline"), PARAMS="train.lr=0.5")
    shell(clone, script("gpu", "Push data and models, if there is a remote"))
    summary, output = shell(clone, script("gpu", "Write down what changed"))
    assert "| metrics.yaml | train.lr | 0.1 | 0.5 | +0.4 |" in summary
    assert output == "changed=true\n"
    other = tmp_path / "other"
    run(tmp_path, "git", "clone", "--quiet", str(clone), str(other))
    run(other, "git", "apply", "--index", str(clone / "results.patch"))
    assert run(other, "git", "diff", "--cached", "--name-only").split() == [
        "dvc.lock",
        "metrics.yaml",
        "params.yaml",
    ]


def test_the_summary_of_the_newest_versions_shows_versions_and_no_hashes(clone):
    lock = clone / "requirements.lock"
    lock.write_text("numpy==1.0.0 \\\n    --hash=sha256:aa\ntorch==2.0.0 \\\n    --hash=sha256:bb\n")
    commit(clone)
    text = script("newest", "Write down what is new")
    assert "```diff\nnothing\n```" in shell(clone, text)[0]
    lock.write_text("numpy==1.1.0 \\\n    --hash=sha256:cc\ntorch==2.0.0 \\\n    --hash=sha256:bb\n")
    assert shell(clone, text)[0].endswith("```diff\n-numpy==1.0.0 \\\n+numpy==1.1.0 \\\n```\n")


def test_dvc_reports_nothing_however_it_is_started():
    """The project's configuration disables it, and so does each way to start DVC."""
    settings = {k: v for k, v in os.environ.items() if not k.startswith("DVC_")}
    code = "from dvc.analytics import is_enabled; print(is_enabled())"
    asked = subprocess.run(
        [sys.executable, "-c", code], cwd=REPO, env=settings, capture_output=True, text=True
    )
    assert asked.stdout == "False\n"
    assert "export DVC_NO_ANALYTICS := 1\n" in (REPO / "Makefile").read_text()
    container = json.loads((REPO / ".devcontainer/devcontainer.json").read_text())
    for settings in (container["containerEnv"], *(workflow["env"] for workflow in WORKFLOWS.values())):
        assert settings["DVC_NO_ANALYTICS"] == "1"


def test_a_clone_that_converts_line_ends_has_the_same_bytes(tmp_path):
    """As Git for Windows sets it; dvc.lock has the hashes of sources, and a shell refuses such scripts."""
    for name in (".gitattributes", "Makefile", ".ci/run", "stages/train.py", "dvc.yaml"):
        (tmp_path / "a" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "a" / name).write_bytes((REPO / name).read_bytes())
    run(tmp_path / "a", "git", "init", "--quiet")
    commit(tmp_path / "a")
    run(tmp_path, "git", "clone", "--quiet", "--config", "core.autocrlf=true", "a", "b")
    for path in (tmp_path / "a").rglob("*"):
        if path.is_file() and ".git" not in path.parts:
            assert (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes() == path.read_bytes()


def test_the_dev_container_has_the_python_that_the_lock_was_made_for():
    container = json.loads((REPO / ".devcontainer/devcontainer.json").read_text())
    version = WORKFLOWS["pull-request"]["jobs"]["test"]["steps"][1]["with"]["python-version"]
    assert container["image"].split(":")[1].startswith(f"{version}-")


def test_the_git_hooks_run_the_environments_tools_and_download_none(clone):
    (clone / ".venv").symlink_to(sys.prefix)
    (clone / ".pre-commit-config.yaml").write_bytes((REPO / ".pre-commit-config.yaml").read_bytes())
    (clone / "ugly.py").write_text("x=1\n")
    commit(clone)
    settings = environment(clone) | {"PRE_COMMIT_HOME": str(clone.parent / "home")}
    outputs = {}
    for stage in ("pre-commit", "pre-push", "post-checkout"):
        command = [tool("pre-commit"), "run", "--all-files", "--hook-stage", stage]
        command += ["--from-ref=HEAD", "--to-ref=HEAD", "--checkout-type=1"] * (stage == "post-checkout")
        done = subprocess.run(command, cwd=clone, env=settings, capture_output=True, text=True)
        outputs[stage] = done.returncode, done.stdout + done.stderr
    code, text = outputs["pre-commit"]
    assert code == 1 and "files were modified by this hook" in text
    assert (clone / "ugly.py").read_text() == "x = 1\n"
    assert "Data and pipelines are up to date." in text
    assert outputs["pre-push"][0] == 0, outputs["pre-push"][1]
    assert outputs["post-checkout"][0] == 0, outputs["post-checkout"][1]
    assert not list((clone.parent / "home").glob("repo*"))
