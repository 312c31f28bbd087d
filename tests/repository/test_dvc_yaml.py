"""dvc.yaml tells the truth: its code, parameters and paths are the ones that the stages use."""

import ast
import re
import subprocess
from functools import cache
from graphlib import TopologicalSorter

import pytest
from conftest import REPO
from ruamel.yaml import YAML

from stages.core.layout import PATHS

STAGES = YAML(typ="safe").load(REPO / "dvc.yaml")["stages"]
# their values are tracked as parameters and paths, so a new CAM option must not retrain
UNTRACKED = {"stages/core/layout.py", "stages/core/params.py", "stages/core/yaml_files.py"}
# the rendered config names these modules, and what opens it imports them; only train imports training's
RENDERED_IMPORTS = {"stages/core/networks/efficientnet_lite.py"} | {
    name.replace(".", "/") + ".py"
    for name in re.findall(r"'(stages\.core\.[\w.]+)'", (REPO / "configs/finetune.py").read_text())
}
BUILDS_THE_MODEL = {"train", "evaluate", "cam-report"}
ROOMS = {path.parent.name for path in REPO.glob("stages/core/*/*.py")}
names = pytest.mark.parametrize("name", list(STAGES))


def entries(name: str, section: str) -> list[str]:
    """Paths of a section; an entry with options is a mapping of one key."""
    return [next(iter(e)) if isinstance(e, dict) else e for e in STAGES[name].get(section, [])]


def outputs(name: str) -> list[str]:
    return [path for section in ("outs", "metrics", "plots") for path in entries(name, section)]


@cache
def imports(path: str) -> set[str]:
    """The files of stages/ that a file imports itself."""
    found = set()
    for node in ast.walk(ast.parse((REPO / path).read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("stages"):
            modules = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            files = [module.replace(".", "/") + ".py" for module in modules]
            found |= {file for file in files if (REPO / file).is_file()}
    return found


def imported(path: str) -> set[str]:
    """The files of stages/ that a file imports, itself and through others."""
    found, pending = set(), [path]
    while pending:
        new = imports(pending.pop()) - found
        found |= new
        pending += new
    return found


def unit(file: str) -> str:
    """What dvc.yaml lists for a file of code: its room, or the file where it lies in none."""
    parts = file.split("/")
    return "/".join(parts[:3]) if parts[:2] == ["stages", "core"] else file


def script(name: str) -> str:
    return f"stages/{name.replace('-', '_')}.py"


def code(name: str) -> set[str]:
    found = {script(name)} | imported(script(name))
    if name in BUILDS_THE_MODEL:
        for file in RENDERED_IMPORTS:
            if name == "train" or not file.startswith("stages/core/training/"):
                found |= {file} | imported(file)
    return found


@names
def test_the_command_runs_the_stages_own_script(name):
    assert STAGES[name]["cmd"] == f"python -m stages.{name.replace('-', '_')}"
    assert (REPO / script(name)).is_file()


@names
def test_listed_rooms_are_those_that_are_imported(name):
    listed = {path for path in entries(name, "deps") if path.startswith("stages/")}
    assert listed == {unit(file) for file in code(name) - UNTRACKED}


def test_the_scripts_in_stages_are_the_stages():
    scripts = {path.relative_to(REPO).as_posix() for path in REPO.glob("stages/[!_]*.py")}
    assert scripts == {script(name) for name in STAGES}


def test_every_file_of_core_lies_in_a_room_or_on_the_ground_floor():
    assert {path.name for path in REPO.glob("stages/core/[!_]*.py")} == {
        "errors.py",
        "files.py",
        "layout.py",
        "names.py",
        "params.py",
        "seals.py",
        "yaml_files.py",
    }
    assert not list(REPO.glob("stages/core/*/*/*.py"))


def test_no_circle_runs_through_the_rooms():
    reads = {room: set() for room in ROOMS}
    for path in REPO.glob("stages/core/*/*.py"):
        used = {unit(file).rpartition("/")[2] for file in imports(path.relative_to(REPO).as_posix())}
        reads[path.parent.name] |= used & ROOMS - {path.parent.name}
    list(TopologicalSorter(reads).static_order())  # raises CycleError, which names the circle


@names
def test_no_stage_imports_a_stage(name):
    assert all(file.startswith("stages/core/") for file in imported(script(name)))


@names
def test_listed_parameters_are_the_ones_that_are_read(name):
    read = set()
    for file in code(name) - UNTRACKED - (RENDERED_IMPORTS if name in BUILDS_THE_MODEL else set()):
        for node in ast.walk(ast.parse((REPO / file).read_text())):
            if isinstance(node, ast.Attribute) and getattr(node.value, "id", None) == "params":
                read.add(node.attr)
    assert set(entries(name, "params")) == read - {"runtime"}


@names
def test_listed_paths_are_the_ones_that_the_script_uses(name):
    text = (REPO / script(name)).read_text()
    used = {PATHS[key] for key in re.findall(r"layout\.(\w+)", text) if key in PATHS}
    used -= {"params.yaml", ".work"}
    listed = {p for p in entries(name, "deps") + outputs(name) if not p.startswith("stages/")}
    assert listed - {"${dataset.path}", "${dataset.exclude}"} == used


@names
def test_no_parameter_of_this_machine_is_tracked(name):
    assert "runtime" not in entries(name, "params")
    assert "$" not in STAGES[name]["cmd"]


@names
def test_the_keys_stand_in_order_and_the_lists_are_sorted(name):
    order = ["desc", "cmd", "deps", "params", "outs", "metrics", "plots"]
    assert list(STAGES[name]) == [key for key in order if key in STAGES[name]]
    for section in ("deps", "params", "outs"):
        assert entries(name, section) == sorted(entries(name, section))


@names
def test_no_dependency_lies_inside_another_stages_output(name):
    """DVC would miss that it changed (its issue 11099)."""
    every_output = {path for stage in STAGES for path in outputs(stage)}
    for dep in entries(name, "deps"):
        assert not any(dep.startswith(f"{output}/") for output in every_output)


def test_what_is_in_git_is_not_ignored_and_the_rest_is():
    """DVC rolls its own .gitignore lines back when a later stage fails, so all stand there."""
    for name in STAGES:
        for section in ("outs", "metrics", "plots"):
            for path in entries(name, section):
                command = ["git", "check-ignore", "--quiet", "--no-index", path]
                ignored = subprocess.run(command, cwd=REPO).returncode == 0
                assert ignored == (section == "outs"), path


def test_metrics_and_plots_are_kept_in_git_and_in_the_run_cache():
    for name in STAGES:
        for section in ("metrics", "plots"):
            for entry in STAGES[name].get(section, []):
                assert next(iter(entry.values()))["cache"] is False
