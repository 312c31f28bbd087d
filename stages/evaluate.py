"""Score the fine-tuned classifier on the test split.

Reads   configs/rendered.py, data/checkpoints/best.pth, data/dataset/test.txt, the images
Writes  metrics/evaluation.json      top-1 and, from five classes on, top-5 accuracy in percent; loss
        data/predictions/test.csv    one row per image; cam-report chooses from it

    python -m stages.evaluate
"""

from pathlib import Path

from mmengine.runner import Runner

from stages.core.files import together, write_json
from stages.core.images.archives import ensure_images
from stages.core.images.lists import read_list
from stages.core.layout import Layout
from stages.core.machine.device import use_device
from stages.core.machine.gpus import claim_gpus
from stages.core.machine.placement import open_config
from stages.core.networks.checkpoint import load_exactly, to_memory_format
from stages.core.params import load_params
from stages.core.scoring.metrics import PredictionCollector, score_flips
from stages.core.scoring.predictions import write_predictions


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
    collector = PredictionCollector(classes)
    runner.test_evaluator.metrics.append(collector)  # sees the same batches as Accuracy
    scores = runner.test()
    predictions = collector.predictions
    if [row.path for row in predictions] != [image.path for image in images]:
        raise RuntimeError(
            f"scored {len(predictions)} images of {len(images)} in the test list, or in another order: "
            "the code that loads or collects them is wrong."
        )

    # write scores and predictions
    results = {"loss": round(scores["loss"], 6), "num_images": len(predictions)}
    results |= {
        f"top{k}": round(scores[f"accuracy/top{k}"], 4) for k in (1, 5) if f"accuracy/top{k}" in scores
    }
    with together():
        write_json(layout.evaluation, results)
        write_predictions(layout.predictions, predictions)
    top5 = f", top-5 {results['top5']:.2f} %" if "top5" in results else ""
    print(f"top-1 {results['top1']:.2f} %{top5} on {len(predictions)} test images")


if __name__ == "__main__":
    main()
