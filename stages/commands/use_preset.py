"""Switch params.yaml to a preset, keeping its comments.

A preset overrides values of the preset `default`, so no value of the previous preset remains. It may
name a data file, which `dvc import-url` downloads unless the project has it already.

    python -m stages use_preset                      list the presets
    python -m stages use_preset fruit30-resnet18     the example of the MMPretrain tutorial
"""

import argparse
import io
import subprocess
import sys
from difflib import get_close_matches
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from stages.core.files import write_text
from stages.core.layout import Layout
from stages.core.params import check_params
from stages.core.yaml_files import load_yaml, read_yaml_text


def main(name: str, url: str | None = None, root: Path = Path()) -> None:
    """url: the address of the data file; the preset's own by default."""
    layout = Layout(root)
    preset = read_preset(layout.presets, name)
    before = read_yaml_text(layout.params, params=True)
    load_yaml(before, layout.params)  # names a mistake with its line
    text = merged(before, preset["params"])

    # bring in the data first, so that params.yaml never names data that are missing
    data = preset.get("data")
    if data and not (root / f"{data['path']}.dvc").exists():
        command = ["dvc", "import-url", url or data["url"], data["path"]]
        print(f"$ {' '.join(command)}", flush=True)
        (root / data["path"]).parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-m", *command], cwd=root, check=True)

    check_params(text, layout.params)
    write_text(layout.params, text)
    print(f"params.yaml now holds {name}. `git diff params.yaml` shows it; `dvc repro` runs it.")


def read_preset(folder: Path, name: str) -> dict:
    """A preset, its `params` completed with those of the preset `default`."""
    names = preset_names(folder)
    if name not in names:
        near = get_close_matches(name, names)
        hint = f"Did you mean {near[0]}?" if near else f"Presets: {', '.join(names)}."
        raise ValueError(f"{folder} has no preset {name!r}. {hint}")
    default, preset = (preset_content(folder / f"{file}.yaml") for file in ("default", name))
    return preset | {"params": laid_over(default["params"], preset["params"])}


def preset_content(path: Path) -> dict:
    content = load_yaml(read_yaml_text(path, params=True), path)
    if not isinstance(content, dict) or not isinstance(content.get("params"), dict):
        raise ValueError(f"{path} sets no parameters; expected them below the key params.")
    return content


def laid_over(values: dict, changes: dict) -> dict:
    """A copy of `values`, with those of `changes` in place of the old ones."""
    return values | {
        key: laid_over(values.get(key, {}), value) if isinstance(value, dict) else value
        for key, value in changes.items()
    }


def preset_names(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.yaml"))


def merged(text: str, changes: dict) -> str:
    """The YAML `text` with the values of `changes`; its comments, order and layout stay.

    Raises ValueError for a key that `text` does not have.
    """
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    content = yaml.load(text)
    replace_values(content, changes, "params.yaml")
    buffer = io.StringIO()
    yaml.dump(content, buffer)
    return buffer.getvalue()


def replace_values(content: CommentedMap, changes: dict, where: str) -> None:
    for key, value in changes.items():
        if key not in content:
            raise ValueError(f"{where}: the preset sets {key!r}; expected one of {', '.join(content)}.")
        if isinstance(value, dict):
            replace_values(content[key], value, f"{where}: {key}")
        elif content[key] == value:
            continue  # keep its notation, 1e-3 for example
        elif isinstance(value, list):
            content[key] = CommentedSeq(value)
            content[key].fa.set_flow_style()
        else:
            content[key] = value


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", nargs="?", help="a file of configs/presets/, without .yaml")
    parser.add_argument("--url", help="where the preset's data file is, e.g. on a mirror")
    arguments = parser.parse_args()
    if arguments.name is None:
        print("\n".join(preset_names(Layout().presets)))
    else:
        main(arguments.name, arguments.url)
