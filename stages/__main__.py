"""Run a command of this project: `python -m stages predict photo.jpg`. Alone, list the commands."""

import ast
import runpy
import sys
from difflib import get_close_matches
from pathlib import Path

COMMANDS = Path(__file__).parent / "commands"


def main(arguments: list[str]) -> None:
    """Raises ValueError for a command that does not exist."""
    summaries = command_summaries()
    if not arguments or arguments[0] in ("-h", "--help"):
        width = max(map(len, summaries))
        print("usage: python -m stages COMMAND ...   (COMMAND --help says more)\n")
        print("\n".join(f"  {name:<{width}}  {summary}" for name, summary in summaries.items()))
        return
    name, *rest = arguments
    module = name.replace("-", "_")
    if module not in summaries:
        near = get_close_matches(module, summaries)
        hint = f"Did you mean {near[0]}?" if near else f"Commands: {', '.join(summaries)}."
        raise ValueError(f"no command is called {name!r}. {hint}")
    sys.argv = [f"python -m stages {module}", *rest]
    runpy.run_module(f"stages.commands.{module}", run_name="__main__")


def command_summaries() -> dict[str, str]:
    """The first line of each command's docstring, by name; nothing is imported for it."""
    return {
        path.stem: ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))).splitlines()[0]
        for path in sorted(COMMANDS.glob("[!_]*.py"))
    }


if __name__ == "__main__":
    main(sys.argv[1:])
