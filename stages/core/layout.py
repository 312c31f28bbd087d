"""Where each file of the project lives, from one root."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    root: Path = Path()

    def __getattr__(self, name: str) -> Path:
        try:
            return self.root / PATHS[name]
        except KeyError:
            raise AttributeError(f"no path is named {name!r} in stages/core/layout.py") from None

    def relative(self, path: Path) -> str:
        """`path` from the root, with forward slashes: how files are named in lists and reports."""
        return path.relative_to(self.root).as_posix()


PATHS = {
    "params": "params.yaml",
    # make-sample
    "sample": "data/sample",
    "sample_masks": "data/sample_masks",
    # fetch-weights
    "models": "configs/models",
    "pretrained": "data/weights/pretrained.pth",
    "pretrained_config": "data/weights/pretrained.py",
    "weights_source": "data/weights/source.json",
    # prepare-dataset
    "classes": "data/dataset/classes.txt",
    "train_list": "data/dataset/train.txt",
    "val_list": "data/dataset/val.txt",
    "test_list": "data/dataset/test.txt",
    "findings": "data/dataset/findings.csv",
    "dataset_counts": "metrics/dataset.json",
    # render-config
    "finetune_config": "configs/finetune.py",
    "rendered_config": "configs/rendered.py",
    # train
    "checkpoint": "data/checkpoints/best.pth",
    "history": "metrics/training.csv",
    "training_metrics": "metrics/training.json",
    # evaluate
    "evaluation": "metrics/evaluation.json",
    "class_scores": "metrics/classes.csv",
    "reliability": "metrics/reliability.csv",
    "coverage": "metrics/coverage.csv",
    "predictions": "data/predictions/test.csv",
    # cam-report
    "cam_report": "metrics/cam_report",
    # check-dataset, git-ignored
    "label_page": "dvc_plots/labels.html",
    # compare-experiments, git-ignored
    "experiments": "dvc_plots/experiments.png",
    # use-preset
    "presets": "configs/presets",
    # derived and git-ignored, safe to delete
    "work": ".work",
    "folds": ".work/cross_validate",
    "unpacked": ".work/unpacked",
    "image_store": ".work/images",
    "features": ".work/features",
}
