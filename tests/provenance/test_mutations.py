"""No small change of a committed project passes the check, and no state that is as good is refused."""

import functools
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path

import pytest
from dvc.utils import strictyaml
from dvc.utils.serialize import _yaml
from dvc.utils.serialize._yaml import parse_yaml
from mutations import (
    Mutation,
    mutations_of_ignores,
    mutations_of_source,
    mutations_of_text,
    mutations_of_yaml,
)
from real_dvc import commit, python, run
from ruamel.yaml import YAML
from toy_pipeline import STAGES, edit, make_toy, write

from stages.core.provenance.lock_check import examine_project
from stages.core.yaml_files import check_project

pytestmark = pytest.mark.slow

DISPLAYS = """
plots:
- loss:
    x: epoch
    y:
      curve.csv: [loss]
metrics:
- metric.json
artifacts:
  model:
    path: out.txt
"""
SOURCES = ("source.txt", "tools/tool.txt", "metric.json", "curve.csv")
DATA = ("raw/a", "drawn.txt", "made/x", "out.txt", "last.txt", "imported/x")
SEEN = (
    "dvc.yaml",
    "dvc.lock",
    "raw.dvc",
    "tools",
    "raw",
    "made",
    "out.txt",
    "metric.json",
    "*.dvc",
    "*",
)

AS_GOOD = [
    r"dvc.yaml: (plots|metrics|artifacts)\b.* (removed|doubled or renamed|set to (\[\]|{}))",  # what is shown
    r"dvc.yaml: stages.second.plots.0.curve.csv.[xy] removed",  # DVC takes the first or last column
    "imported.dvc: frozen (removed|set to False)",  # `dvc unfreeze`
    "params.yaml: (second|data) with an unknown key",  # the toy has no schema
    "(drawn.txt|out.txt|last.txt|imported/x) deleted",  # data may be absent
    ".gitignore (without [*].tmp|with (tools|raw|made|out.txt|metric.json|[*]))",  # Git has what it has
]
"""Generated changes of nothing that a clone or a run would notice."""


@pytest.fixture(scope="module", autouse=True)
def quiet_dvc():
    logging.getLogger("dvc").setLevel(logging.ERROR)


@pytest.fixture(scope="module", autouse=True)
def each_text_is_parsed_once():
    """DVC parses dvc.yaml and dvc.lock again and again, in Python; of a mutation all but one are the same."""

    @functools.lru_cache(maxsize=64)
    def parsed(text: str, path: str, typ: str) -> object:
        return parse_yaml(text, path, typ)

    with pytest.MonkeyPatch.context() as patch:
        for module in (_yaml, strictyaml):
            patch.setattr(module, "parse_yaml", lambda *of, typ="safe": deepcopy(parsed(*of, typ)))
        yield


@pytest.fixture(scope="module")
def origin(tmp_path_factory) -> Path:
    """The toy with plots, an artifact and an import. A test that changes it puts it back."""
    root = tmp_path_factory.mktemp("toy") / "project"
    shown = STAGES.replace("{cache: false}\n  third", "{cache: false, x: epoch, y: loss}\n  third")
    make_toy(root, shown + DISPLAYS)
    edit(root / ".gitignore", "/raw\n", "/raw\n/imported\n")
    write(root.parent / "elsewhere/x", "from elsewhere\n")
    python(root, "-m", "dvc", "import-url", "--quiet", "../elsewhere", "imported")
    edit(root / "dvc.yaml", "    - out.txt\n    outs", "    - out.txt\n    - imported\n    outs")
    python(root, "-m", "dvc", "repro", "--quiet")
    write(root / "tools/junk.tmp", "DVC ignores it, as Git does\n")
    commit(root)
    return root


@pytest.fixture(autouse=True)
def the_projects_own_state(origin, monkeypatch):
    """That of the commands which made it, so that DVC trusts its dates as it does for a user."""
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(origin / ".dvc/tmp/site"))


def problems(root: Path) -> list[str]:
    """What `python -m stages check` would print, but for the schema of params.yaml."""
    try:
        check_project(root)
    except ValueError as error:
        return [str(error)]
    return [f"{problem.where}: {problem.cause}" for problem in examine_project(root).problems]


def mutations(root: Path) -> Iterator[Mutation]:
    for file in ("dvc.yaml", "dvc.lock", "params.yaml", "raw.dvc", "imported.dvc"):
        yield from mutations_of_yaml(root, file)
        yield from mutations_of_text(root, file)
    for file in (*SOURCES, *DATA):
        yield from mutations_of_source(root, file)
    for file in ("tools/new", "tools/.dvcignore", "made/new", "raw/new", "imported/new"):
        yield Mutation(f"{file} added", file, b"new")
    for file in (".dvcignore", ".gitignore"):
        yield from mutations_of_ignores(root, file, SEEN)


def passes(root: Path, mutation: Mutation) -> bool:
    """Whether the check finds nothing, with the change committed but for the commit itself."""
    file = root / mutation.file
    before = file.read_bytes() if file.exists() else None
    put(file, mutation.content)
    run(root, "git", "add", "--all")
    try:
        return not problems(root)
    finally:
        put(file, before)
        run(root, "git", "reset", "--quiet")


def put(file: Path, content: bytes | None) -> None:
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)


def test_every_change_of_a_section_field_file_or_entry_is_refused(origin):
    assert problems(origin) == []
    generated = list(mutations(origin))
    missed = [mutation.name for mutation in generated if passes(origin, mutation)]
    assert "\n".join(name for name in missed if not re.fullmatch("|".join(AS_GOOD), name)) == ""
    assert len(generated) > 400 and len(missed) < len(generated) / 10
    assert problems(origin) == []


# --- states that are as good --------------------------------------------------------------------------


@pytest.fixture
def project(origin, tmp_path) -> Path:
    """A copy with its data, for a test to change."""
    shutil.copytree(origin.parent / "elsewhere", tmp_path / "elsewhere")
    return shutil.copytree(origin, tmp_path / "project", symlinks=True)


def in_yaml(file: str, change: Callable[[dict], object]) -> Callable[[Path], None]:
    def edit_file(root: Path) -> None:
        yaml = YAML()
        content = yaml.load(root / file)
        change(content)
        yaml.dump(content, root / file)

    return edit_file


def upside_down(content: dict, *place: object) -> None:
    """Reverse the order of a mapping's keys or a list's items."""
    for key in place:
        content = content[key]
    if isinstance(content, list):
        content.reverse()
    for key in [] if isinstance(content, list) else reversed(list(content)):
        content[key] = content.pop(key)


def text(file: str, change: Callable[[str], str]) -> Callable[[Path], None]:
    return lambda root: put(root / file, change((root / file).read_text()).encode())


def crlf(content: str) -> str:
    return content.replace("\n", "\r\n")


def commented(content: str) -> str:
    return f"# a comment\n{content}\n# another\n"


def without(*names: str) -> Callable[[Path], None]:
    """Delete data or the cache; a folder is as good a name."""

    def delete(root: Path) -> None:
        for name in names:
            shutil.rmtree(root / name) if (root / name).is_dir() else (root / name).unlink()

    return delete


def new(file: str, content: str = "new\n") -> Callable[[Path], None]:
    return lambda root: write(root / file, content)


def shell(*lines: str) -> Callable[[Path], None]:
    return lambda root: [run(root, "sh", "-ec", line) for line in lines] and None


ME = "git -c user.name=me -c user.email=me@localhost"
DATA_NAMES = ("raw", "drawn.txt", "made", "out.txt", "last.txt", "imported")
YAMLS = ("params.yaml", "dvc.yaml", "dvc.lock", "raw.dvc", "imported.dvc")
CLEAN = {
    **{f"comments in {name}": text(name, commented) for name in (*YAMLS, ".gitignore", ".dvcignore")},
    **{f"CRLF in {name}": text(name, crlf) for name in (*YAMLS, ".gitignore", ".dvcignore")},
    **{f"{name} with blank lines": text(name, lambda t: f"\n\n{t}\n\n") for name in YAMLS},
    "parameters in another order": in_yaml("params.yaml", upside_down),
    "a parameter group in another order": in_yaml("params.yaml", lambda c: upside_down(c, "first")),
    "stages in another order": in_yaml("dvc.yaml", lambda c: upside_down(c, "stages")),
    "keys of a stage in another order": in_yaml("dvc.yaml", lambda c: upside_down(c, "stages", "second")),
    "dependencies in another order": in_yaml("dvc.yaml", lambda c: upside_down(c, "stages", "second", "deps")),
    "the lock's stages in another order": in_yaml("dvc.lock", lambda c: upside_down(c, "stages")),
    "the lock's entries in another order": in_yaml(
        "dvc.lock", lambda c: upside_down(c, "stages", "second", "outs")
    ),
    "a record in another order": in_yaml("dvc.lock", lambda c: upside_down(c, "stages", "second", "outs", 0)),
    "a .dvc file in another order": in_yaml("raw.dvc", lambda c: upside_down(c, "outs", 0)),
    "another notation of numbers": text("params.yaml", lambda t: t.replace("value: 2", "value: 0x2")),
    "a whole number with a point": text("params.yaml", lambda t: t.replace("value: 2", "value: 2.0")),
    "quoted text": text("params.yaml", lambda t: t.replace("name: one", 'name: "one"')),
    "a byte order mark": text("params.yaml", lambda t: f"\ufeff{t}"),
    "an anchor in dvc.yaml": text(
        "dvc.yaml", lambda t: t.replace("    - source.txt\n", "    - &source source.txt\n", 1)
    ),
    "a description of a stage": in_yaml("dvc.yaml", lambda c: c["stages"]["third"].update(desc="words")),
    "meta of a stage": in_yaml("dvc.yaml", lambda c: c["stages"]["third"].update(meta={"owner": "me"})),
    "a description of data": in_yaml("raw.dvc", lambda c: c["outs"][0].update(desc="words", type="images")),
    "labels of an artifact": in_yaml("dvc.yaml", lambda c: c["artifacts"]["model"].update(labels=["new"])),
    "no plots": in_yaml("dvc.yaml", lambda c: c.pop("plots")),
    "another plot": in_yaml("dvc.yaml", lambda c: c["plots"].append({"curve.csv": {"y": "epoch"}})),
    "a frozen stage that is up to date": in_yaml("dvc.yaml", lambda c: c["stages"]["third"].update(frozen=True)),
    "a file that no stage reads": new("README.md"),
    "a file that Git and DVC ignore": new("tools/deep/new.tmp"),
    "a file that Git ignores": new("notes.tmp"),
    "an empty folder in a source folder": lambda root: (root / "tools/empty").mkdir(),
    "a .gitignore of a folder": new("docs/.gitignore", "*\n"),
    "another line in .gitignore and .dvcignore": shell("echo '*.bak' >> .gitignore; echo '*.bak' >> .dvcignore"),
    "a dvc.yaml that only shows": new("more/dvc.yaml", "plots:\n- ../curve.csv:\n    x: epoch\n    y: loss\n"),
    "data ignored by this clone alone": shell("mv .gitignore .git/info/exclude"),
    "new dates": shell("find . -path ./.git -prune -o -type f -exec touch {} +"),
    "an executable source": shell("chmod +x source.txt tools/tool.txt"),
    "no data": without(*DATA_NAMES),
    "no data and no cache": without(*DATA_NAMES, ".dvc/cache"),
    "data and no cache": without(".dvc/cache"),
    "a part of the data": without("drawn.txt", "raw"),
    "DVC's settings of this machine": new(".dvc/config.local", "[core]\n    checksum_jobs = 1\n"),
    "data linked to the cache": shell(
        "dvc config --local cache.type symlink", "rm -r made raw out.txt", "dvc checkout --quiet --relink"
    ),
    "hard links to the cache": shell(
        "dvc config --local cache.type hardlink", "rm -r made raw out.txt", "dvc checkout --quiet --relink"
    ),
    "another branch": shell("git checkout --quiet -b other"),
    "a merge": shell(
        f"git checkout --quiet -b other; echo x > x; git add x; {ME} commit -qm x; git checkout --quiet main; "
        f"{ME} merge --quiet --no-ff -m merge other"
    ),
    "no branch": shell("git checkout --quiet --detach"),
    "a packed repository": shell("git gc --quiet"),
    "a stash": shell(f"echo x >> source.txt; {ME} stash --quiet"),
    "a tag": shell("git tag v1"),
    "a run that changed nothing": shell("dvc repro --quiet --force"),
    "a commit that changed nothing": shell(f"{ME} commit --quiet --allow-empty -m empty"),
}  # fmt: skip


@pytest.mark.parametrize("name", CLEAN)
@pytest.mark.parametrize("in_git", [True, False])
def test_a_state_that_is_as_good_passes(project, name, in_git):
    """in_git: committed, or only added to the index."""
    CLEAN[name](project)
    commit(project) if in_git else run(project, "git", "add", "--all")
    assert problems(project) == []


@pytest.mark.parametrize("options", [[], ["--depth", "1"], ["--config", "core.autocrlf=input"]])
def test_every_kind_of_clone_passes(origin, tmp_path, options):
    url = origin.as_uri()
    run(tmp_path, "git", "clone", "--quiet", *options, url, "clone with spaces ü")
    assert problems(tmp_path / "clone with spaces ü") == []


def test_a_second_work_tree_passes(project):
    run(project, "git", "worktree", "add", "--quiet", "--detach", "../second")
    assert problems(project.parent / "second") == []


@pytest.mark.parametrize("folder", [".", "tools", ".."])
def test_the_folder_in_which_the_check_starts_does_not_matter(project, monkeypatch, folder):
    monkeypatch.chdir(project / folder)
    assert problems(project) == []
    assert problems(Path(os.path.relpath(project))) == []


def test_a_project_behind_a_link_passes(project, tmp_path):
    (tmp_path / "link").symlink_to(project)
    assert problems(tmp_path / "link") == []


def test_a_project_of_dvc_within_this_one_is_not_looked_at(project):
    write(project / "inner/.dvc/config", "")
    write(project / "inner/dvc.yaml", "stages: {stale: {cmd: x}}\n")
    commit(project)
    assert problems(project) == []
