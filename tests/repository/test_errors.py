"""A foreseen error ends a stage or a command with its message, a defect with its traceback."""

import errno
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
import torch
from conftest import PARAMS, REPO
from disks import with_small_disk
from dvc.repo import Repo
from real_dvc import environment, python, run
from ruamel.yaml.error import YAMLError
from torch.utils.data import DataLoader, Dataset

from stages.commands.use_preset import merged
from stages.core.errors import print_error
from stages.core.files import write_text
from stages.core.params import load_params


def shown(capsys, error: BaseException) -> str:
    print_error(type(error), error, error.__traceback__)
    return capsys.readouterr().err


def exit_code(error: BaseException) -> int:
    with pytest.raises(SystemExit) as ended:
        print_error(type(error), error, error.__traceback__)
    return ended.value.code


def raised(action: Callable) -> BaseException:
    """The error that an action ends with, and its traceback."""
    try:
        action()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def test_an_error_this_package_raises_is_its_message(tmp_path, capsys):
    lines = shown(capsys, raised(lambda: load_params(tmp_path / "params.yaml"))).splitlines()
    assert lines[0].startswith("error: ") and "params.yaml" in lines[0]
    assert not any(line.startswith(("Traceback", "  File")) for line in lines)


def test_an_error_of_a_library_keeps_its_traceback_though_a_command_called_it(capsys):
    error = raised(lambda: merged("[", {}))
    assert isinstance(error, YAMLError)
    assert "Traceback (most recent call last)" in shown(capsys, error)


def test_a_defect_keeps_its_traceback(capsys):
    error = raised(lambda: load_params(None))
    assert isinstance(error, AttributeError)
    assert "Traceback (most recent call last)" in shown(capsys, error)


def test_a_file_that_could_not_be_written_is_one_line_without_an_errno(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    said = shown(capsys, raised(lambda: write_text(tmp_path / "file/a.txt", "text")))
    assert said.startswith(f"error: {tmp_path}/file/a.txt could not be written (")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("number", "todo"),
    [
        (errno.ENOSPC, "Make room"),
        (errno.EACCES, "Change its permissions"),
        (errno.EISDIR, "Delete this folder"),
        (errno.EEXIST, "A file lies where a folder is needed"),
        (errno.ENOTDIR, "A file lies where a folder is needed"),
        (errno.EROFS, "Run it on a disk that can be written to"),
    ],
)
def test_an_error_of_the_system_names_the_file_the_cause_and_what_to_do(capsys, number, todo):
    said = shown(capsys, error_of_the_system(number))
    assert said.startswith(f"error: data/weights.pth: {os.strerror(number)}. {todo}")
    assert said.count("\n") == 1


def error_of_the_system(number: int) -> BaseException:
    def fail():
        raise OSError(number, os.strerror(number), "data/weights.pth")

    return raised(fail)


def test_a_missing_file_that_a_library_opens_is_one_line(tmp_path, capsys):
    said = shown(capsys, raised((tmp_path / "gone.txt").read_text))
    assert said.startswith(f"error: {tmp_path}/gone.txt: No such file") and "`dvc pull`" in said
    assert said.count("\n") == 1


def test_an_error_of_dvc_is_one_line_with_its_causes(tmp_path, capsys):
    (tmp_path / "dvc.yaml").write_text("stages: [")
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("[core]\n    no_scm = true\n")
    said = shown(capsys, raised(lambda: Repo(str(tmp_path)).index.stages))
    assert said.startswith("error: ") and "dvc.yaml" in said and said.count("\n") == 1


def test_a_child_that_has_spoken_ends_the_command_with_its_own_code(capsys):
    child = [sys.executable, "-c", "raise SystemExit(37)"]
    assert exit_code(raised(lambda: subprocess.run(child, check=True))) == 37
    killed = [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]
    assert exit_code(raised(lambda: subprocess.run(killed, check=True))) == 137
    assert capsys.readouterr().err == ""


def test_what_a_child_said_where_nobody_saw_it_is_printed(tmp_path, capsys):
    command = ["git", "-C", str(tmp_path), "cat-file", "-p", "gone"]
    error = raised(lambda: subprocess.run(command, check=True, capture_output=True))
    assert shown(capsys, error).startswith(f"error: `{' '.join(command)}` failed: fatal: ")


def test_ctrl_c_says_that_dvc_repro_resumes(capsys, monkeypatch):
    monkeypatch.setenv("DVC_STAGE", "train")
    assert exit_code(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == "\ninterrupted: `dvc repro` resumes with this stage\n"


@pytest.mark.parametrize("way", [["stages.verify"], ["stages", "verify"]])
def test_ctrl_c_ends_a_command_with_130_and_one_line(tmp_path, way):
    """It comes while Git reads its configuration, which is a pipe that nobody writes to."""
    config = tmp_path / "gitconfig"
    os.mkfifo(config)
    process = subprocess.Popen(
        [sys.executable, "-m", *way],
        cwd=tmp_path,
        env=environment(tmp_path) | {"PYTHONPATH": str(REPO), "GIT_CONFIG_GLOBAL": str(config)},
        stderr=subprocess.PIPE,
        text=True,
    )
    with config.open("w"):  # opens once Git reads
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and said == "\ninterrupted\n"


@pytest.mark.parametrize("way", [["stages.use_preset"], ["stages", "use_preset"]])
def test_an_error_of_a_command_is_one_line_however_it_is_started(way):
    said = python(REPO, "-m", *way, "fruit30-resnet81", expect=1)
    assert said.count("\n") == 1 and said.startswith("error: ")
    assert said.endswith("has no preset 'fruit30-resnet81'. Did you mean fruit30-resnet18?\n")


def test_a_stage_with_a_wrong_parameter_prints_one_line_and_fails(tmp_path):
    text = PARAMS.read_text().replace("images_per_class: 60", "images_per_class: many")
    (tmp_path / "params.yaml").write_text(text)
    said = python(tmp_path, "-m", "stages.make_sample", expect=1, PYTHONPATH=str(REPO))
    assert said.count("\n") == 1
    assert re.match(
        r"error: params.yaml line \d+: sample.images_per_class is 'many'; expected a whole", said
    )


# --- errors of worker processes -----------------------------------------------------------------------


class Calls(Dataset):
    """A dataset whose only item is what a call returns, or raises."""

    def __init__(self, function: Callable, *arguments):
        self.function, self.arguments = function, arguments

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int):
        return self.function(*self.arguments)


def in_a_process_pool(function: Callable, *arguments):
    with ProcessPoolExecutor(1) as pool:
        return pool.submit(function, *arguments).result()


def in_a_loader(function: Callable, *arguments):
    return list(DataLoader(Calls(function, *arguments), num_workers=1))


WORKERS = pytest.mark.parametrize("run", [in_a_process_pool, in_a_loader])


@WORKERS
def test_an_error_that_this_package_raises_in_a_worker_is_its_message(tmp_path, capsys, run):
    path = tmp_path / "it's\na params.yaml"
    expected = str(raised(lambda: load_params(path)))
    assert expected.startswith(str(path))
    assert shown(capsys, raised(lambda: run(load_params, path))) == f"error: {expected}\n"


@WORKERS
def test_an_error_of_the_system_in_a_worker_names_the_file_and_what_to_do(tmp_path, capsys, run):
    path = tmp_path / "gone.png"
    said = shown(capsys, raised(lambda: run(path.read_bytes)))
    assert said.startswith(f"error: {path}: No such file or directory. `dvc repro` makes")
    assert said.count("\n") == 1


@WORKERS
def test_a_file_that_a_worker_cannot_write_is_named_in_its_message(tmp_path, capsys, run):
    (tmp_path / "file").write_text("in the way")
    said = shown(capsys, raised(lambda: run(write_text, tmp_path / "file/a.txt", "text")))
    assert said.startswith(f"error: {tmp_path}/file/a.txt could not be written (File exists). What")
    assert said.count("\n") == 1


@pytest.mark.slow
@WORKERS
def test_a_defect_in_a_worker_keeps_its_traceback(capsys, run):
    said = shown(capsys, raised(lambda: run(load_params, None)))
    assert "Traceback (most recent call last)" in said and "params.py" in said


@WORKERS
def test_a_worker_that_was_killed_is_one_line_that_names_the_parameter(capsys, run):
    said = shown(capsys, raised(lambda: run(kill_myself)))
    assert said.startswith("error: a worker process was killed") and "runtime.workers" in said
    assert said.count("\n") == 1


def kill_myself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@WORKERS
def test_too_little_memory_is_one_line_in_a_worker_and_here(capsys, run):
    for error in (raised(lambda: run(np.empty, 10**16)), raised(lambda: torch.empty(10**16))):
        assert shown(capsys, error).startswith("error: the memory does not suffice. Set batch sizes and")


@pytest.mark.parametrize("size", ["4k", "64k"])
def test_too_little_shared_memory_is_one_line_that_names_the_way_out(size):
    """With 4 KB no lock between processes can be made; with 64 KB one, but no batch of images."""
    said = with_small_disk(REPO, "/dev/shm", size, sys.executable, "-c", LOAD, expect=1)
    assert said.startswith("error: the processes that load images need more shared memory")
    assert "runtime.workers to 0" in said and "--shm-size" in said and said.count("\n") == 1


LOAD = """
import sys; sys.argv[0] = "-m"
import stages, torch
from torch.utils.data import DataLoader
list(DataLoader([torch.zeros(100_000)] * 2, batch_size=2, num_workers=1))
"""


# --- what nobody reads --------------------------------------------------------------------------------

SPEAKING = pytest.mark.parametrize(
    ("command", "unbuffered"), [(["-m", "stages"], ""), (["-m", "stages", "use_preset"], "1")]
)
LONG = ["-c", "import sys; sys.argv[0] = '-m'; import stages; print('x' * 100_000)"]


def shell(command: list[str], sink: str, unbuffered: str, expect: int) -> str:
    """The output of a command of this project whose standard output goes to `sink`."""
    start = shlex.join([sys.executable, *command])
    line = f"{start} {sink}; exit ${{PIPESTATUS[0]}}"
    return run(REPO, "bash", "-c", line, expect=expect, PYTHONUNBUFFERED=unbuffered)


@SPEAKING
def test_a_pipe_that_was_closed_ends_a_command_silently_as_in_a_shell(command, unbuffered):
    assert shell(command, "| true", unbuffered, expect=141) == ""


def test_a_pipe_that_is_closed_while_a_command_writes_ends_it_as_well():
    assert shell(LONG, "| head -c 1", "", expect=141) == "x"


@SPEAKING
def test_an_output_on_a_full_disk_is_one_line(command, unbuffered):
    assert shell(command, "> /dev/full", unbuffered, expect=1) == (
        "error: the standard output could not be written: No space left on device.\n"
    )


@pytest.mark.parametrize("closed", [">&-", ">&- <&-", "> /dev/null 2>&-"])
def test_a_closed_output_ends_as_an_open_one(closed):
    assert shell(["-m", "stages", "use_preset"], closed, "", expect=0) == ""


# --- other ways to start ------------------------------------------------------------------------------


def test_a_python_without_the_environment_is_one_line_that_says_so():
    outside = "import sys; sys.path = [path for path in sys.path if 'site-packages' not in path]; "
    start = "import runpy; sys.argv = ['-m']; runpy.run_module('stages.train', run_name='__main__')"
    said = python(REPO, "-c", outside + start, expect=1)
    assert said.count("\n") == 1 and said.startswith(f"error: {sys.executable} has no ")
    assert "activate" in said


def test_a_program_that_imports_the_package_keeps_its_own_errors():
    said = python(REPO, "-c", "import sys, stages; print(sys.excepthook is sys.__excepthook__)")
    assert said == "True\n"
    assert sys.excepthook is not print_error
