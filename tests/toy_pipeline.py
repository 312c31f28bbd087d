"""A pipeline of a second: a pointer to data, a folder as output, a metric and a config in Git."""

from pathlib import Path

from real_dvc import commit, python, run

PARAMS = """\
draw: {seed: 5}
first: {value: 1, name: one}
second: {value: 2}
data: {path: raw}
"""
STAGES = """\
stages:
  draw:
    cmd: echo drawn > drawn.txt
    params:
    - draw
    outs:
    - drawn.txt
  first:
    cmd: mkdir -p made && cat ${data.path}/a source.txt > made/x && echo 1 > made/y
    deps:
    - ${data.path}
    - source.txt
    params:
    - first
    outs:
    - made
  second:
    cmd: cat made/x > out.txt && echo '{"score":1.5}' > metric.json && printf 'epoch,loss\\n1,0.5\\n' > curve.csv
    deps:
    - made
    - tools
    params:
    - second.value
    outs:
    - out.txt
    metrics:
    - metric.json: {cache: false}
    plots:
    - curve.csv: {cache: false}
  third:
    cmd: cat out.txt > last.txt
    deps:
    - out.txt
    outs:
    - last.txt
"""


def make_toy(folder: Path, stages: str = STAGES) -> Path:
    """Run and committed, with nothing to complain about."""
    write(folder / "params.yaml", PARAMS)
    write(folder / "dvc.yaml", stages)
    write(folder / "source.txt", "source\n")
    write(folder / "tools/tool.txt", "tool\n")
    write(folder / "raw/a", "data\n")
    write(folder / ".gitignore", "/raw\n/drawn.txt\n/made\n/out.txt\n/last.txt\n*.tmp\n")
    write(folder / ".dvc/config", "[core]\n    analytics = false\n")
    write(folder / ".dvc/.gitignore", "/config.local\n/tmp\n/cache\n")
    write(folder / ".dvcignore", "*.tmp\n")
    run(folder, "git", "init", "--quiet", "--initial-branch", "main")
    python(folder, "-m", "dvc", "add", "--quiet", "raw")
    python(folder, "-m", "dvc", "repro", "--quiet")
    commit(folder)
    return folder


def clone_git(source: Path, target: Path) -> Path:
    """What Git holds and nothing else: no data, no cache."""
    run(target.parent, "git", "clone", "--quiet", str(source), str(target))
    return target


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
