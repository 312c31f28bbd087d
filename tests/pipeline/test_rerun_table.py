"""A change reruns what it affects and nothing else: each row of the table, on real DVC.

One project is run once; then every row changes something, looks at what ran, and puts it back, which
must run nothing at all: everything comes out of the run cache.
"""

import hashlib
import itertools
import json
import shutil
from pathlib import Path

import pytest
from conftest import class_folders, draw_image, write_params
from real_dvc import SMALL, copy, executed, python, repro

from stages import render_config
from stages.core.dataset.splits import split_by_content, splitting
from stages.core.images.lists import read_list
from stages.core.params import load_params

pytestmark = pytest.mark.slow

AFTER_TRAINING = ["evaluate", "cam-report"]
FROM_DATA_ON = ["prepare-dataset", "render-config", "train", *AFTER_TRAINING]
OWN = SMALL | {
    "sample": {"images_per_class": 0},
    "dataset": {"path": "data/photos", "near_duplicates": 0},
}


@pytest.fixture(scope="module")
def pipeline(small_run, tmp_path_factory) -> Path:
    folder = copy(small_run, tmp_path_factory.mktemp("rerun") / "project", **OWN)
    class_folders(folder / "data/photos", {name: 8 for name in ("fig", "kiwi", "lime", "pear", "plum")})
    assert sorted(executed(repro(folder))) == sorted(["make-sample", *FROM_DATA_ON])
    return folder


@pytest.fixture
def project(pipeline):
    """The pipeline as it was run; whatever a test changed is put back, and that executes nothing."""
    yield pipeline
    output = repro(pipeline)
    assert executed(output) == [], output


def set_params(pipeline: Path, **sections) -> None:
    """Those of the pipeline, with these values replaced."""
    merged = {k: (OWN.get(k, {}) | v if isinstance(v, dict) else v) for k, v in (OWN | sections).items()}
    write_params(pipeline, **merged)


def changed(pipeline: Path, *targets: str, **sections) -> list[str]:
    """The stages that run after a change of params.yaml, which is then set back; all, or the targets."""
    try:
        set_params(pipeline, **sections)
        return executed(repro(pipeline, *targets))
    finally:
        write_params(pipeline, **OWN)


def outdated(pipeline: Path) -> set[str]:
    """The stages of which `dvc status` says that what they read has changed."""
    status = json.loads(python(pipeline, "-m", "dvc", "status", "--json"))
    return {stage for stage, changes in status.items() if any("changed deps" in c for c in changes)}


def test_nothing_changed_runs_nothing(project):
    output = repro(project)
    assert executed(output) == [] and "Data and pipelines are up to date." in output


def test_a_comment_the_readme_and_anything_under_runtime_run_nothing(project):
    (project / "README.md").write_text("other\n")
    with (project / "params.yaml").open("a") as file:
        file.write("# a comment\n")
    assert executed(repro(project)) == []
    assert changed(project, runtime={"device": "cpu", "workers": 0}) == []


def test_cam_reruns_cam_report(project):
    assert changed(project, cam={"methods": ["eigencam"]}) == ["cam-report"]


def test_evaluate_reruns_evaluate(project):
    """cam-report reads what it writes, and that is the same."""
    assert changed(project, evaluate={"batch_size": 5}) == ["evaluate"]


def test_train_reruns_from_render_config_on_and_comes_back_with_the_committed_files(project):
    committed = [
        "configs/rendered.py",
        "metrics/training.csv",
        "metrics/training.json",
        "metrics/evaluation.json",
        "metrics/dataset.json",
    ]
    before = {name: (project / name).read_bytes() for name in committed}
    assert changed(project, train={"lr": 0.02}) == ["render-config", "train", *AFTER_TRAINING]
    assert (project / "configs/rendered.py").read_bytes() != before["configs/rendered.py"]
    assert executed(repro(project)) == []
    assert {name: (project / name).read_bytes() for name in committed} == before


@pytest.mark.parametrize("change", [{"augment": {"flip": 0.1}}, {"image": {"resize": 40}}, {"seed": 3}])
def test_augment_image_and_seed_make_another_config(project, change):
    """render-config reads them; train and what follows depend on the config, as the test above shows."""
    config = project / "configs/rendered.py"
    before = config.read_bytes()
    set_params(project, **change)
    assert outdated(project) == {"render-config"}
    render_config.main(project)
    assert config.read_bytes() != before
    write_params(project, **OWN)
    render_config.main(project)
    assert config.read_bytes() == before


def test_weights_rerun_from_fetch_weights_on(project):
    write_params(project, **OWN, weights={"source": "none"})
    assert executed(repro(project, "render-config")) == ["fetch-weights", "render-config"]
    assert outdated(project) == {"train", *AFTER_TRAINING}
    write_params(project, **OWN)


def new_photo(folder: Path, split: str) -> Path:
    """A photo of a class that its content puts into `split`, and that moves no other."""
    files = sorted(folder.iterdir())
    keys = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    dataset = load_params(folder.parents[2] / "params.yaml").dataset
    everything = {"train", "val", "test"}
    split_by = splitting(dataset, everything)
    before = split_by_content({"a": set(keys)}, everything, split_by)
    for variant in itertools.count(1000):
        photo = draw_image(folder / "new.png", variant)
        key = hashlib.sha256(photo.read_bytes()).hexdigest()
        if split_by_content({"a": {*keys, key}}, everything, split_by) == before | {key: split}:
            return photo


def test_a_photo_added_to_the_test_split_does_not_retrain(project):
    photo = new_photo(project / "data/photos/fig", "test")
    assert executed(repro(project)) == ["prepare-dataset", *AFTER_TRAINING]
    photo.unlink()


def after_prepare_dataset(project: Path) -> set[str]:
    """The stages that prepare-dataset leaves outdated. As rows above show, they run, and what follows."""
    assert executed(repro(project, "prepare-dataset")) == ["prepare-dataset"]
    return outdated(project)


def two_of_one_class(project: Path) -> list[Path]:
    """Photos of the test split: without one of them, no other has to move in its place."""
    by_class = {}
    for image in read_list(project / "data/dataset/test.txt"):
        by_class.setdefault(image.label, []).append(project / image.path)
    return next(photos for photos in by_class.values() if len(photos) > 1)[:2]


def test_a_photo_removed_from_or_replaced_in_the_test_split_does_not_retrain(project):
    photo, _ = two_of_one_class(project)
    before = photo.read_bytes()
    photo.unlink()
    assert after_prepare_dataset(project) == {*AFTER_TRAINING}
    shutil.copyfile(new_photo(photo.parent, "test"), photo)
    (photo.parent / "new.png").unlink()
    assert after_prepare_dataset(project) == {*AFTER_TRAINING}
    photo.write_bytes(before)


def test_a_photo_of_the_test_split_that_is_left_out_does_not_retrain(project):
    exclude = project / "exclude.csv"
    _, photo = two_of_one_class(project)
    exclude.write_text(f"path,reason\n{photo.relative_to(project).as_posix()},blurred\n")
    assert after_prepare_dataset(project) == {*AFTER_TRAINING}
    exclude.write_text("path,reason\n")


def test_a_photo_added_to_the_training_split_retrains_and_does_not_render(project):
    photo = new_photo(project / "data/photos/fig", "train")
    assert after_prepare_dataset(project) == {"train"}
    photo.unlink()


def test_a_class_added_or_renamed_reruns_from_prepare_dataset_on(project):
    everything = {"render-config", "train", *AFTER_TRAINING}
    class_folders(project / "data/photos", {"zebra": 8}, start=300)
    assert after_prepare_dataset(project) == everything
    shutil.rmtree(project / "data/photos/zebra")

    (project / "data/photos/fig").rename(project / "data/photos/figue")
    assert after_prepare_dataset(project) == everything
    (project / "data/photos/figue").rename(project / "data/photos/fig")


@pytest.mark.parametrize(
    ("file", "stage"),
    [
        ("stages/make_sample.py", "make-sample"),
        ("stages/fetch_weights.py", "fetch-weights"),
        ("stages/core/dataset/splits.py", "prepare-dataset"),
        ("stages/core/config/finetune_config.py", "render-config"),
        ("stages/core/training/hooks.py", "train"),
        ("stages/core/evaluation/summary.py", "evaluate"),
        ("stages/core/report/page.py", "cam-report"),
    ],
)
def test_a_source_file_reruns_its_stage_and_no_other_while_outputs_stay(project, file, stage):
    before = (project / file).read_text()
    (project / file).write_text(before + "\n# a comment\n")
    assert executed(repro(project)) == [stage]
    (project / file).write_text(before)
