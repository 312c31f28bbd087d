"""Whether the plots, metrics, parameters and artifacts that dvc.yaml shows are there."""

import io
from collections.abc import Iterator
from contextlib import redirect_stderr
from pathlib import Path

from dvc.output import Output
from dvc.render.match import match_defs_renderers
from dvc.repo import Repo

from stages.core.provenance.problems import Problem, message_of, relative_path


def display_problems(repo: Repo, outputs: dict[str, Output]) -> Iterator[Problem]:
    """Of the sections of dvc.yaml that no lock knows. Data that are not here are not missed."""
    index, fs = repo.index, repo.fs
    for kind, files in (("metrics", index._metrics), ("params", index._params)):
        for owner, paths in files.items():
            for path in paths:
                file = relative_path(repo, fs.join(fs.parent(owner), path))
                if not is_there(repo, file, outputs):
                    yield Problem(relative_path(repo, owner), f"{kind}: {file} does not exist")
    for owner, artifacts in index._artifacts.items():
        for name, artifact in artifacts.items():
            file = relative_path(repo, fs.join(fs.parent(owner), artifact["path"]))
            if not output_of(file, outputs):
                cause = f"artifacts: {name} is {file}, which is no output of a stage or a .dvc file"
                yield Problem(relative_path(repo, owner), cause)
    yield from (Problem("dvc.yaml", f"plots: {cause}") for cause in plot_causes(repo, outputs))


def plot_causes(repo: Repo, outputs: dict[str, Output]) -> Iterator[str]:
    """What DVC cannot draw: a file, a column or a template that does not exist."""
    try:
        with redirect_stderr(io.StringIO()):  # DVC prints that there are errors, not which
            drawn = match_defs_renderers(repo.plots.show())
    except Exception as error:  # of three packages: a template that does not exist, for example
        yield message_of(error)
        return
    for renderer, sources, definitions in drawn:
        for errors in sources.values():
            for file, error in errors.items():
                if not output_of(file, outputs):  # the stage names what is wrong with its output
                    yield f"{renderer.name}: {file} cannot be read: {message_of(error)}"
        yield from (f"{renderer.name}: {message_of(error)}" for error in definitions.values())


def is_there(repo: Repo, file: str, outputs: dict[str, Output]) -> bool:
    out = output_of(file, outputs)
    return bool(out and out.use_cache) or (Path(repo.root_dir) / file).exists()


def output_of(file: str, outputs: dict[str, Output]) -> Output | None:
    """The output that is the file, or the folder around it."""
    around = [file, *map(str, Path(file).parents)]
    return next((outputs[path] for path in around if path in outputs), None)
