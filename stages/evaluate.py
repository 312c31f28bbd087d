"""Score the fine-tuned classifier on the test split.

Reads   configs/rendered.py, data/checkpoints/best.pth, data/dataset/test.txt, the images
Writes  metrics/evaluation.json      accuracies, macro F1, loss and calibration, with 95 % intervals
        metrics/classes.csv          one row per class: precision, recall, F1
        metrics/reliability.csv      accuracy by score; metrics/coverage.csv: accuracy by threshold
        data/predictions/test.csv    one row per image; cam-report chooses from it

    python -m stages.evaluate
"""

from pathlib import Path

from mmengine.runner import Runner

from stages.core.evaluation.calibration import coverage_rows, reliability_rows
from stages.core.evaluation.classes import COLUMNS, class_rows
from stages.core.evaluation.collector import ScoreCollector, score_flips
from stages.core.evaluation.summary import summary
from stages.core.files import csv_text, together, write_json, write_text
from stages.core.images.archives import ensure_images
from stages.core.images.lists import read_list
from stages.core.inference.predictions import Prediction, write_predictions
from stages.core.layout import Layout
from stages.core.machine.device import use_device
from stages.core.machine.gpus import claim_gpus
from stages.core.machine.placement import open_config
from stages.core.networks.checkpoint import load_exactly, to_memory_format
from stages.core.params import load_params


def main(root: Path = Path()) -> None:
    layout = Layout(root)
    params = load_params(layout.params)
    claim_gpus(params.runtime)
    device = use_device(params.runtime.device)
    images = read_list(layout.test_list)
    ensure_images(root, [image.path for image in images])

    # the network as training left it
    cfg = open_config(layout.rendered_config, root, params.runtime, device, training=False)
    cfg.work_dir = str(layout.work / "evaluate")
    cfg.test_dataloader.batch_size = params.evaluate.batch_size
    if params.evaluate.tta == "flip":
        score_flips(cfg)
    runner = Runner.from_cfg(cfg)
    model = runner.model.module if params.evaluate.tta == "flip" else runner.model
    classes = list(cfg.test_dataloader.dataset.metainfo.classes)
    load_exactly(model, layout.checkpoint, classes)  # mmengine would only warn
    to_memory_format(model, cfg)

    # score every image of the test list
    collector = ScoreCollector()
    runner.test_evaluator.metrics.append(collector)  # sees the same batches as Accuracy
    measured = runner.test()
    scored = collector.scored
    if scored.paths != [image.path for image in images]:
        raise RuntimeError(
            f"scored {len(scored.paths)} images of {len(images)} in the test list, or in another order: "
            "the code that loads or collects them is wrong."
        )
    predictions = [
        Prediction.from_scores(path, classes, scores.tolist(), int(label))
        for path, label, scores in zip(scored.paths, scored.labels, scored.scores, strict=True)
    ]

    # write scores and predictions
    accuracies = {
        f"top{k}": measured[f"accuracy/top{k}"] for k in (1, 5) if f"accuracy/top{k}" in measured
    }
    results = summary("test", scored, accuracies, measured["loss"])
    bounds = [f"accuracy{bound}" for bound in ("", "_low", "_high")]
    tables = {
        layout.class_scores: (COLUMNS, class_rows(scored.labels, scored.predicted, classes)),
        layout.reliability: (
            ["confidence", *bounds, "images"],
            reliability_rows(scored.confidence, scored.correct),
        ),
        layout.coverage: (
            ["threshold", "coverage", *bounds],
            coverage_rows(scored.confidence, scored.correct),
        ),
    }
    with together():
        write_json(layout.evaluation, results)
        for path, (header, rows) in tables.items():
            write_text(path, csv_text(header, rows))
        write_predictions(layout.predictions, predictions)
    top5 = f", top-5 {results['top5']:.2f} %" if "top5" in results else ""
    print(
        f"top-1 {results['top1']:.2f} % ({results['top1_low']:.1f} to {results['top1_high']:.1f} %)"
        f"{top5} on {len(predictions)} test images; always the largest class: "
        f"{results['largest_class']:.2f} %"
    )


if __name__ == "__main__":
    main()
