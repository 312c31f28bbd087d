"""No YAML hangs a command or ends in a traceback: it is read at once, or refused with a sentence."""

import os
import re

import pytest
from conftest import PARAMS

from stages.commands import check
from stages.core.machine.kernels import pin_kernels
from stages.core.params import load_params
from stages.core.yaml_files import check_project, load_yaml, read_yaml_text

GOOD = PARAMS.read_text()
SEED = re.search(r"^seed: \d+", GOOD, flags=re.MULTILINE)[0]
LINE = GOOD[: GOOD.index(SEED)].count("\n") + 1
LAUGHS = "a: &a0 [x, x]\n" + "".join(f"b{n}: &a{n + 1} [*a{n}, *a{n}]\n" for n in range(40))
MERGES = "a: &a0 {k: 1}\n" + "".join(f"b{n}: &a{n + 1} {{<<: [*a{n}, *a{n}]}}\n" for n in range(40))
SELF = "a: &a [*a]\n"


def seed(value: str) -> str:
    return GOOD.replace(SEED, f"seed: {value}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LAUGHS, r"line 2 has an alias \(\*a0\); expected the value itself"),
        (MERGES, r"line 2 has an alias \(\*a0\); expected the value itself"),
        (SELF, r"line 1 has an alias \(\*a\); expected the value itself"),
        (seed("[" * 3000 + "]" * 3000), f"line {LINE} is more than 50 levels deep"),
        (seed("{a: " * 3000 + "}" * 3000), f"line {LINE} is more than 50 levels deep"),
        ("[" * 90_000, "line 1 is more than 50 levels deep"),
        (seed("9" * 5000), f"line {LINE} has a value of 5,000 characters; expected at most 3,000"),
        (seed("0x" + "f" * 2900), f"line {LINE}: seed is \\d{{77}}...; expected a whole"),
        (seed("9" * 2900), f"line {LINE}: seed is 9{{77}}...; expected a whole number"),
        (seed("1e999"), f"line {LINE}: seed is inf; expected a whole number"),
        (seed(".nan"), f"line {LINE}: seed is nan; expected a whole number"),
        (seed("-.inf"), f"line {LINE}: seed is -inf; expected a whole number"),
        (seed("2024-01-01"), f"line {LINE}: seed is datetime.date"),
        (seed("2024-13-01"), "is not valid YAML: month must be in 1..12"),
        (seed('!!bool "x"'), "is not valid YAML"),
        (seed("!!python/object:os.system x"), f"line {LINE} is not valid YAML: could not determine"),
        (GOOD + "seed: 1\n", "is not valid YAML: found duplicate key"),
        (seed("\t0"), f"line {LINE} is not valid YAML: found character"),
        (seed("\x00"), "is not valid YAML: unacceptable character"),
        (seed('"\\e[31m"'), f"line {LINE}: seed is '\\\\x1b"),
        (GOOD + '"\\e[31m": 1\n', "'\\\\x1b\\[31m' is unknown"),
        (GOOD + "".join(f"k{n}: 1\n" for n in range(5000)), "k0 is unknown.*\\n(.*\\n)*.*: 4950 more mistakes"),
        (GOOD + "---\n" + GOOD, "not valid YAML: but found another document"),
        (GOOD + "? [a, b]\n: 1\n", r"\('a', 'b'\) is unknown"),
        (GOOD + "#" * 10**6, "has 1.0 MB; expected at most 0.1 MB"),
        (seed("0\n<<<<<<< HEAD\na: 1\n=======\n>>>>>>> b"), "has a conflict marker of Git"),
        ("", "the file is empty; expected the keys"),
        ("- 1", r"the file is \[1\]; expected the keys"),
        ("<<: 3\n", "line 1 is not valid YAML"),
    ],
)  # fmt: skip
def test_a_params_yaml_that_cannot_be_is_refused_with_a_sentence(project, text, message):
    path = project / "params.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        load_params(path)
    pin_kernels(path)  # the first that reads the file, in every stage and command


@pytest.mark.parametrize("content", [b"\xff\xfe", b"\x1f\x8b\x08\x00", GOOD.encode() + b"\xed\xa0\x80"])
def test_bytes_that_are_no_text_are_refused_with_their_line(project, content):
    (project / "params.yaml").write_bytes(content)
    with pytest.raises(ValueError, match=rf"line {content.count(10) + 1} is not UTF-8"):
        load_params(project / "params.yaml")


def test_a_folder_or_a_pipe_is_no_params_yaml(tmp_path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "pipe"):
        with pytest.raises(FileNotFoundError, match=f"{name} is no file"):
            read_yaml_text(tmp_path / name)


def test_the_files_of_dvc_may_have_aliases_that_stand_for_little(tmp_path):
    path = tmp_path / "dvc.yaml"
    path.write_text("stages: {a: &a {cmd: x}, b: *a}\n")
    check_project(tmp_path)
    assert load_yaml(read_yaml_text(path), path) == {"stages": {"a": {"cmd": "x"}, "b": {"cmd": "x"}}}


@pytest.mark.parametrize("name", ["dvc.yaml", "dvc.lock", "data.dvc", "data/photos.dvc"])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LAUGHS, "brings the values to more than 100,000"),
        (MERGES, "brings the values to more than 100,000"),
        (SELF, "an alias .* of no value above it"),
        ("a: " + "[" * 3000, "levels deep"),
    ],
)
def test_a_file_of_dvc_that_stands_for_too_much_is_refused(tmp_path, name, text, message):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=f"{name} line .* {message}"):
        check_project(tmp_path)


def test_the_check_stops_before_dvc_reads_such_a_file(project, capsys):
    (project / "params.yaml").write_text(LAUGHS)
    assert not check.main(project)
    assert "line 2 has an alias (*a0); expected the value itself" in capsys.readouterr().out
