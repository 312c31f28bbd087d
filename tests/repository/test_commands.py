"""`python -m stages` lists the commands and runs them."""

import pytest
from conftest import REPO
from real_dvc import python

COMMANDS = sorted(path.stem for path in (REPO / "stages/commands").glob("[!_]*.py"))


def stages(*arguments: str, expect: int = 0) -> str:
    return python(REPO, "-m", "stages", *arguments, expect=expect)


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_each_command_is_listed_with_a_short_line(arguments):
    lines = stages(*arguments).splitlines()
    assert lines[0].startswith("usage: python -m stages COMMAND")
    assert [line.split()[0] for line in lines[2:]] == COMMANDS
    assert all(len(line.split(maxsplit=1)[1]) > 20 and len(line) < 80 for line in lines[2:])


def test_an_unknown_command_is_one_line_that_names_the_nearest():
    assert stages("predicts", expect=1) == (
        "error: no command is called 'predicts'. Did you mean predict?\n"
    )
    assert stages("xyz", expect=1).endswith(f"Commands: {', '.join(COMMANDS)}.\n")


def test_a_command_may_be_written_with_hyphens():
    assert stages("draw-dag", "--help") == stages("draw_dag", "--help")


@pytest.mark.parametrize(("option", "code"), [("--help", 0), ("--unknown", 2)])
def test_both_ways_to_start_a_command_are_the_same(option, code):
    inside = stages("check", option, expect=code)
    alone = python(REPO, "-m", "stages.check", option, expect=code)
    assert "usage: " in alone and "check" in alone
    assert inside.replace("python -m stages check", "check.py") == alone
