"""Which recipe fine-tunes small sets best: val and test top-1 of each, several seeds.

    python benchmarks/recipes/measure.py sample
    python benchmarks/recipes/measure.py fruits28 --photos data/photos --classes fruits28.txt
    python benchmarks/recipes/measure.py --table > benchmarks/recipes/results.md

Each run is the pipeline's own train and evaluate stages; a seed changes all of training's randomness,
the split stays. Val chooses (the epoch, and among recipes); test is only reported. A run is added to
runs.csv as it ends, and a run that is there is not repeated.

With --scenes, images that look like one another are grouped before they are split, so that val and
test show other shelves, hands and lights than training does: nearer to photos from another shop.
"""

import argparse
import csv
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPO), str(REPO / "benchmarks")]

from projects import copy_classes, copy_project, pixels, run, set_params  # noqa: E402

RUNS = Path(__file__).with_name("runs.csv")
COLUMNS = ["data", "recipe", "seed", "val_top1", "test_top1", "epochs", "seconds"]
BASE = {
    "train": {
        "probe_weight_decay": 0.01,
        "batch_size": 32,
        "lr_batch_size": 32,
        "head_lr_mult": 1.0,
        "layer_decay": 1.0,
        "momentum": 0.9,
        "clip_grad": 0.0,
        "schedule": "cosine",
        "warmup_epochs": 1,
        "label_smoothing": 0.1,
        "ema": 0.0,
    },
    "augment": {
        "crop_scale": [0.4, 1.0],
        "flip": 0.5,
        "color_jitter": 0.2,
        "policy": "none",
        "erase": 0.0,
        "mixup": 0.0,
        "cutmix": 0.0,
    },
}
"""What a recipe does not say: not the defaults of params.yaml, which change with what is found here."""
SGD = {"optimizer": "sgd", "lr": 0.01, "nesterov": True, "weight_decay": 1e-4}
ADAMW = {"optimizer": "adamw", "lr": 1e-4, "nesterov": False, "weight_decay": 0.05}
TUTORIAL = {
    "train": SGD
    | {
        "strategy": "finetune",
        "batch_norm": "batch",
        "lr": 0.1,
        "nesterov": False,
        "schedule": "step",
        "milestones": [30, 60, 90],
        "warmup_epochs": 0,
        "label_smoothing": 0.0,
    },
    "augment": {"crop_scale": [0.08, 1.0], "color_jitter": 0.0},
}
FINETUNE = {"train": {"strategy": "finetune", "batch_norm": "batch"} | SGD}
LP_FT = {"train": {"strategy": "lp_ft", "batch_norm": "batch"} | SGD}
KEPT = {"train": {"strategy": "lp_ft", "batch_norm": "pretrained"} | SGD}
KEPT_ADAMW = {"train": {"strategy": "lp_ft", "batch_norm": "pretrained"} | ADAMW}


def with_(base: dict, **sections) -> dict:
    return {key: base.get(key, {}) | sections.get(key, {}) for key in {**base, **sections}}


ADAMW_16 = with_(KEPT_ADAMW, train={"lr": 6e-4, "label_smoothing": 0.0, "batch_size": 16})
SGD_CUT = with_(KEPT, train={"lr": 0.04, "clip_grad": 1.0, "label_smoothing": 0.0, "batch_size": 16})
RECIPES = {
    "tutorial (SGD 0.1 from the first step)": TUTORIAL,
    "linear probe": {"train": {"strategy": "linear_probe"}},
    "fine-tune, SGD 0.01": FINETUNE,
    "probe, then fine-tune, SGD 0.01": LP_FT,
    "probe, then fine-tune, SGD 0.03": with_(LP_FT, train={"lr": 0.03}),
    "probe, then fine-tune, SGD 0.01, EMA 0.02": with_(LP_FT, train={"ema": 0.02}),
    "statistics kept, SGD 0.001": with_(KEPT, train={"lr": 0.001}),
    "statistics kept, AdamW 1e-4": KEPT_ADAMW,
    "statistics kept, AdamW 1e-4, no probe": with_(KEPT_ADAMW, train={"strategy": "finetune"}),
    "statistics kept, AdamW 3e-5": with_(KEPT_ADAMW, train={"lr": 3e-5}),
    "statistics kept, AdamW 3e-4": with_(KEPT_ADAMW, train={"lr": 3e-4}),
    "statistics kept, AdamW 1e-4, no smoothing": with_(KEPT_ADAMW, train={"label_smoothing": 0.0}),
    "statistics kept, AdamW 3e-4, no smoothing": with_(
        KEPT_ADAMW, train={"lr": 3e-4, "label_smoothing": 0.0}
    ),
    "statistics kept, AdamW 3e-4, no smoothing, batches of 16": ADAMW_16,
    "statistics kept, SGD 0.02, gradient cut to 1, no smoothing, batches of 16": SGD_CUT,
    "statistics kept, SGD 0.01, gradient cut to 1, no smoothing, batches of 16": with_(
        SGD_CUT, train={"lr": 0.02}
    ),
    "statistics kept, AdamW 3e-4, batches of 16, TrivialAugment": with_(
        ADAMW_16, augment={"policy": "trivial"}
    ),
    "statistics kept, SGD 0.02, gradient cut to 1, TrivialAugment": with_(
        SGD_CUT, augment={"policy": "trivial"}
    ),
    "statistics kept, AdamW 1e-4, crops of 8 to 100 %": with_(
        KEPT_ADAMW, augment={"crop_scale": [0.08, 1.0]}
    ),
    "statistics kept, AdamW 1e-4, TrivialAugment": with_(KEPT_ADAMW, augment={"policy": "trivial"}),
    "statistics kept, AdamW 1e-4, mixup 0.2": with_(KEPT_ADAMW, augment={"mixup": 0.2}),
    "statistics kept, AdamW 1e-4, cutmix 1": with_(KEPT_ADAMW, augment={"cutmix": 1.0}),
    "statistics kept, AdamW 1e-4, EMA 0.02": with_(KEPT_ADAMW, train={"ema": 0.02}),
}


def main(data: str, arguments: argparse.Namespace) -> None:
    chosen = [name for name in RECIPES if not arguments.only or name in arguments.only]
    with tempfile.TemporaryDirectory() as scratch:
        project = Path(scratch) / "project"
        copy_project(project)
        dataset = {"path": "data/sample"}
        if arguments.photos:
            copy_classes(arguments.photos, project / "data/photos", arguments.classes)
            dataset = {"path": "data/photos", "on_error": "exclude"}
        train = {"epochs": arguments.epochs, "threads": arguments.threads}
        common = {"image": pixels(arguments.size), "train": train}
        set_params(project, BASE)
        set_params(project, common | {"dataset": dataset})
        run(project, "make_sample", "fetch_weights", "prepare_dataset")
        if arguments.scenes is not None:
            set_params(project, {"image": pixels(arguments.scenes or arguments.size)})
            group_scenes(project)
            set_params(project, common)
            run(project, "prepare_dataset")
        original = (project / "params.yaml").read_text()
        for seed in range(arguments.seeds):
            for name in chosen:
                if (data, name, str(seed)) in {(r["data"], r["recipe"], r["seed"]) for r in rows()}:
                    continue
                (project / "params.yaml").write_text(original)
                set_params(project, RECIPES[name] | {"seed": seed})
                set_params(project, {"train": {"epochs": arguments.epochs}})
                start = time.perf_counter()
                run(project, "render_config", "train", "evaluate")
                seconds = time.perf_counter() - start
                with (project / "metrics/training.csv").open(newline="") as file:
                    val = max(float(row["val_top1"]) for row in csv.DictReader(file))
                test = json.loads((project / "metrics/evaluation.json").read_text())["top1"]
                add([data, name, seed, val, test, arguments.epochs, round(seconds)])


def group_scenes(project: Path) -> None:
    """A list with a group for each image: clusters of the pretrained network's features, per class."""
    from sklearn.cluster import AgglomerativeClustering

    features, images = pretrained_features(project)
    with (project / "data/photos/scenes.csv").open("w", newline="") as file:
        write = csv.writer(file).writerow
        write(["path", "label", "scene"])
        for label in sorted({image[1] for image in images}):
            own = [index for index, image in enumerate(images) if image[1] == label]
            count = min(6, len(own) // 3)
            clusters = AgglomerativeClustering(count).fit_predict(features[own])
            for index, cluster in zip(own, clusters, strict=True):
                write([images[index][0], label, f"{label}/{cluster}"])
    set_params(project, {"dataset": {"list": "scenes.csv", "group_by": "scene"}})


def pretrained_features(project: Path):
    """(N, D) float array, and (path below data/photos, class name) of each image, sorted."""
    import torch
    from mmpretrain import get_model

    from stages.core.images.lists import read_classes, read_list
    from stages.core.inference.inputs import load_images
    from stages.core.machine.placement import open_config
    from stages.core.params import load_params
    from stages.core.training.pretrained import load_pretrained

    run(project, "render_config")
    # with the run's kernels: the same bytes, and with them the same scenes, in each run
    runtime = load_params(project / "params.yaml").runtime
    cfg = open_config(project / "configs/rendered.py", project, runtime, "cpu", training=False)
    model = get_model(cfg, pretrained=False, device="cpu").eval()
    load_pretrained(model, project / "data/weights/pretrained.pth")
    names = read_classes(project / "data/dataset/classes.txt")
    images = []
    for split in ("train", "val", "test"):
        for image in read_list(project / f"data/dataset/{split}.txt"):
            path = (project / image.path).relative_to(project / "data/photos")
            images.append((str(path), names[image.label]))
    images.sort()
    features = []
    for path, _ in images:
        with torch.no_grad():
            inputs = load_images(cfg, model, [(project / "data/photos" / path, "")])[1]
            features.append(model.extract_feat(inputs)[-1][0])
    return torch.stack(features).numpy(), images


def rows() -> list[dict]:
    if not RUNS.exists():
        return []
    with RUNS.open(newline="") as file:
        return list(csv.DictReader(file))


def add(row: list) -> None:
    new = not RUNS.exists()
    with RUNS.open("a", newline="") as file:
        write = csv.writer(file, lineterminator="\n").writerow
        if new:
            write(COLUMNS)
        write(row)
    print(*row, sep="  ", file=sys.stderr, flush=True)


def table() -> str:
    """A Markdown table for each data set: mean and standard deviation over the seeds."""
    text = ""
    for data in dict.fromkeys(row["data"] for row in rows()):
        text += f"\n{data}:\n\n| recipe | seeds | val top-1, % | test top-1, % | s |\n"
        text += "|---|---:|---:|---:|---:|\n"
        for name in RECIPES:
            own = [row for row in rows() if row["data"] == data and row["recipe"] == name]
            if own:
                val, test = (spread([float(row[c]) for row in own]) for c in ("val_top1", "test_top1"))
                seconds = statistics.median(float(row["seconds"]) for row in own)
                text += f"| {name} | {len(own)} | {val} | {test} | {seconds:.0f} |\n"
    return text


def spread(values: list[float]) -> str:
    deviation = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.1f}{deviation}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?", help="a name for the data in runs.csv")
    parser.add_argument("--table", action="store_true", help="print the table of runs.csv")
    parser.add_argument("--photos", type=Path, help="a folder of class folders")
    parser.add_argument("--classes", type=Path, help="a file of the class folders to take")
    parser.add_argument(
        "--scenes",
        type=int,
        nargs="?",
        const=0,
        metavar="PIXELS",
        help="split by scenes, told apart at this image size (that of --size where none is given)",
    )
    parser.add_argument("--size", type=int, default=128, help="pixels")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="+", help="names of recipes")
    arguments = parser.parse_args()
    if arguments.table:
        sys.stdout.write(table())
    else:
        main(arguments.data, arguments)
