"""Fine-tune the network and keep the epoch with the best val top-1.

Reads   configs/rendered.py, data/weights/pretrained.pth, data/dataset/{train, val}.txt, the pictures
Writes  data/checkpoints/best.pth     weights and class names only
        metrics/training.csv          a row an epoch

    python -m stages.train
"""

import csv
import shutil
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.runner import Runner

from stages.core.archives import ensure_images
from stages.core.checkpoint import write_checkpoint
from stages.core.hooks import EpochLines, PretrainedWeights
from stages.core.layout import Layout
from stages.core.lists import read_list
from stages.core.params import load_params
from stages.core.runtime import place, use_device


def main(root: Path = Path()) -> None:
    layout = Layout(root)
    params = load_params(layout.params)
    device = use_device(params.runtime.device)
    images = read_list(layout.train_list) + read_list(layout.val_list)
    ensure_images(root, [image.path for image in images])

    cfg = place(Config.fromfile(layout.rendered_config), root, params.runtime)
    shutil.rmtree(cfg.work_dir, ignore_errors=True)
    print(f"training on {device}", flush=True)
    pretrained, cfg.load_from = cfg.load_from, None
    runner = Runner.from_cfg(cfg)
    if pretrained:
        runner.register_hook(PretrainedWeights(layout.pretrained))
    runner.register_hook(EpochLines())
    runner.train()

    # weights_only=False: a file this process has just written, with mmengine's own classes in it
    best_path = runner.message_hub.get_info("best_ckpt")
    best = torch.load(best_path, map_location="cpu", weights_only=False)
    history = runner.message_hub.get_info("training_history")
    classes = list(runner.train_dataloader.dataset.metainfo["classes"])
    epoch = best["meta"]["epoch"]
    meta = {"dataset_meta": {"classes": classes}, "epoch": epoch}
    write_history(layout.history, history)
    write_checkpoint(layout.checkpoint, best["state_dict"], meta)
    shutil.rmtree(cfg.work_dir)
    print(
        f"best epoch {epoch} of {len(history)}: val top-1 {history[epoch - 1]['val_top1']:.2f} % "
        f"-> {layout.relative(layout.checkpoint)}"
    )


def write_history(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
