"""Train and score every fold, and print the mean score.

    python -m stages cross_validate                  five folds
    python -m stages cross_validate --folds 10

Each image is scored by a network that was not trained on it, once unless its class is too small to
fill every split. Scenes, groups and duplicates stay in one fold. The folds run one after the other in a
copy of the project, .work/cross_validate, which is deleted at the end. An interrupted command
resumes. The project is not touched. DVC's cache keeps the results: a second call takes seconds.
"""

import argparse
import json
import math
import shutil
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

from dvc.repo import Repo
from scipy.stats import t as student
from tabulate import tabulate

from stages.commands.use_preset import merged
from stages.core.files import write_text
from stages.core.inference.predictions import read_predictions
from stages.core.layout import Layout
from stages.core.params import Params, load_params
from stages.core.provenance.git import git, names
from stages.core.provenance.rerun import run_dvc
from stages.core.yaml_files import check_project, load_yaml, read_yaml_text

CONFIDENCE = 0.95


def main(folds: int, root: Path = Path()) -> list[dict]:
    """The scores of each fold. Raises ValueError, FileNotFoundError or RuntimeError."""
    check_project(root)
    params = load_params(Layout(root).params)
    params.dataset.replace(fold=f"1/{folds}")  # is it possible?
    project = copy_project(root, params)
    scores = []
    for fold in range(1, folds + 1):
        print(f"fold {fold} of {folds}", file=sys.stderr, flush=True)
        scores.append({"fold": f"{fold}/{folds}"} | run_fold(project, f"{fold}/{folds}"))
    shutil.rmtree(project)
    return scores


def copy_project(root: Path, params: Params) -> Path:
    """The files that Git knows or would add, with the cache and the caches of the project itself."""
    # start anew, but for what DVC knows of it
    project = Layout(root).folds
    if project.exists():
        shutil.rmtree(project)
    project.mkdir(parents=True)

    # the files; data that no stage makes are a link
    listing = names(git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"))
    linked = {path for path in (params.dataset.path, params.weights.path) if path}
    linked = {path for path in linked if not Path(path).is_absolute()} - made_by_stages(root)
    for name in listing:
        if name.removesuffix(".dvc") in linked or any(name.startswith(f"{path}/") for path in linked):
            continue
        if (root / name).is_file():
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / name, project / name)
    for path in linked:
        if not (root / path).exists():
            raise FileNotFoundError(
                f"{path}, which params.yaml names, does not exist. If DVC tracks it, run "
                f"`dvc pull {path}.dvc`."
            )
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).symlink_to((root / path).absolute())

    # DVC's cache, and what stages keep between runs
    (project / ".work").symlink_to(Layout(root).work.absolute())
    with Repo(str(root)) as repo:
        cache = repo.cache.local_cache_dir
    write_text(project / ".dvc/config.local", f"[cache]\n    dir = {cache}\n[core]\n    no_scm = true\n")
    return project


def made_by_stages(root: Path) -> set[str]:
    """The outputs that dvc.yaml lists."""
    path = root / "dvc.yaml"
    stages = load_yaml(read_yaml_text(path), path)["stages"].values()
    return {out for stage in stages for out in stage.get("outs", ()) if isinstance(out, str)}


def run_fold(project: Path, fold: str) -> dict:
    """Its num_images, val_top1, top1 and top5 (in percent), and the paths of the scored images."""
    layout = Layout(project)
    text = layout.params.read_text(encoding="utf-8")
    write_text(layout.params, merged(text, {"dataset": {"fold": fold}}))
    if run_dvc(project, "repro", "evaluate", stdout=sys.stderr.fileno()):
        raise RuntimeError(
            f"fold {fold} failed; the message above says why. The folds before it are in DVC's cache: "
            "run the command again to go on."
        )
    training = json.loads(layout.training_metrics.read_text(encoding="utf-8"))
    return json.loads(layout.evaluation.read_text(encoding="utf-8")) | {
        "val_top1": training["val_top1"],
        "paths": [row.path for row in read_predictions(layout.predictions)],
        "of": json.loads(layout.dataset_counts.read_text(encoding="utf-8"))["num_images"],
    }


def interval(values: list[float]) -> tuple[float, float]:
    """Of the mean of percentages, by Student's t: (low, high)."""
    half = student.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * statistics.stdev(values)
    half /= math.sqrt(len(values))
    return max(statistics.mean(values) - half, 0), min(statistics.mean(values) + half, 100)


def report(scores: list[dict]) -> Iterator[str]:
    """A row for each fold, then the mean of each score with its interval."""
    columns = {"val_top1": "val top-1", "top1": "test top-1", "top5": "test top-5"}
    shown = {key: name for key, name in columns.items() if key in scores[0]}
    rows = [[s["fold"], s["num_images"], *(s[key] for key in shown)] for s in scores]
    yield tabulate(rows, ["fold", "images", *shown.values()], floatfmt=".2f", disable_numparse=[0])
    yield ""
    for key, name in shown.items():
        values = [score[key] for score in scores]
        low, high = interval(values)
        mean = statistics.mean(values)
        yield f"{name:<10}  {mean:6.2f} %   95 % interval {low:.2f} to {high:.2f} %"
    scored = {path for score in scores for path in score["paths"]}
    yield f"{len(scored):,} of {scores[0]['of']:,} images were scored"
    yield "The interval is Student's t over the folds. They share training images, so it is a guide."


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folds", type=int, default=5, help="how many; 2 or more")
    print("\n".join(report(main(parser.parse_args().folds))))
