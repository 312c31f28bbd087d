"""Show which pixels spoke for a class, beside the images.

Reads   configs/rendered.py, data/checkpoints/best.pth, data/predictions/test.csv,
        data/dataset/test.txt, the images, params.yaml: cam
Writes  metrics/cam_report/     index.html and its images

    python -m stages.cam_report
"""

import hashlib
import sys
from difflib import get_close_matches
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from stages.core.explaining.cam import grayscale_cams, overlay
from stages.core.explaining.layers import check_layers, last_spatial_layer
from stages.core.files import whole_folder
from stages.core.images.archives import ensure_images
from stages.core.images.lists import read_list
from stages.core.inference.classifier import load_classifier
from stages.core.inference.inputs import as_shown, load_images
from stages.core.inference.predictions import Prediction, read_predictions
from stages.core.layout import Layout
from stages.core.machine.device import use_device
from stages.core.machine.gpus import claim_gpus
from stages.core.machine.placement import open_config
from stages.core.params import load_params
from stages.core.report.page import Overlay, ReportedImage, report_page


def main(root: Path = Path()) -> None:
    layout = Layout(root)
    params = load_params(layout.params)
    cam = params.cam
    claim_gpus(params.runtime)
    device = use_device(params.runtime.device)

    # which images, by the rule that params.yaml names
    predictions = read_predictions(layout.predictions)
    chosen = select(predictions, cam.select, cam.num_images)
    ensure_images(root, [row.path for row in chosen])

    # the network, the classes to explain, and the layers
    cfg = open_config(
        layout.rendered_config, root, params.runtime.replace(store_gb=0.0), device, training=False
    )
    model, classes = load_classifier(cfg, layout.checkpoint, device)
    targets = [target_class(row, cam.target_category, classes) for row in chosen]
    labels = [classes.index(target) for target in targets]
    layers = cam.target_layers
    if chosen:
        contents = {image.path: image.sha256 for image in read_list(layout.test_list)}
        files = [(root / row.path, contents.get(row.path, "")) for row in chosen]
        crops, inputs = load_images(cfg, model, files)
        if layers:
            check_layers(model, layers, inputs[:1])
        else:
            layers = [last_spatial_layer(model, inputs[:1])]

    # a map for each method and image, over the image
    with whole_folder(layout.cam_report) as folder:
        overlays: list[list[Overlay]] = [[] for _ in chosen]
        bar = tqdm(total=len(cam.methods) * len(chosen), desc="maps", disable=not sys.stderr.isatty())
        for method in cam.methods:
            for index, target in enumerate(targets):
                maps = grayscale_cams(
                    model,
                    method,
                    layers,
                    inputs[index : index + 1],
                    labels[index : index + 1],
                    cam.eigen_smooth,
                    cam.aug_smooth,
                )
                file = f"{index:03d}-{method.replace('+', 'p')}.jpg" if maps[0].any() else ""
                if file:
                    save(folder / file, overlay(as_shown(crops[index]), maps[0]))
                overlays[index].append(Overlay(file, method, target))
                bar.update()
        bar.close()

        # the images themselves, and the page
        reported = []
        for index, row in enumerate(chosen):
            file = f"{index:03d}.jpg"
            save(folder / file, as_shown(crops[index]))
            reported.append(
                ReportedImage(row.path, row.label, row.prediction, row.score, file, overlays[index])
            )
        mistakes = sum(not row.correct for row in predictions)
        page = report_page(reported, layers, len(predictions), mistakes)
        (folder / "index.html").write_text(page, encoding="utf-8")
    silent = sum(not shown.file for image in overlays for shown in image)
    print(
        f"{len(chosen)} images, {', '.join(cam.methods)} at {', '.join(layers) or 'no layer'} -> "
        f"{layout.relative(layout.cam_report)}/index.html"
        + (f"; in {silent} maps no pixel spoke for the class" if silent else "")
        + ("" if chosen else "; no test image is classified rightly (cam.select: correct)")
    )


def select(predictions: list[Prediction], how: str, num_images: int) -> list[Prediction]:
    """mistakes: most confident first, then correct ones; correct: most confident first, perhaps none;
    random: by hash of the path, the same ones every time."""
    if not predictions:
        raise ValueError("data/predictions/test.csv has no row. Run `dvc repro evaluate`.")
    by_score = sorted(predictions, key=lambda row: (-row.score, row.path))
    mistakes = [row for row in by_score if not row.correct]
    correct = [row for row in by_score if row.correct]
    if how == "random":
        ordered = sorted(predictions, key=lambda row: hashlib.sha256(row.path.encode()).hexdigest())
    else:
        ordered = mistakes + correct if how == "mistakes" else correct
    return ordered[:num_images]


def target_class(row: Prediction, category: str, classes: list[str]) -> str:
    """cam.target_category for one image: its prediction, its label, or one class for all."""
    if category in ("predicted", "label") and category not in classes:
        target = row.prediction if category == "predicted" else row.label
        if target not in classes:
            raise ValueError(
                f"data/predictions/test.csv has the class {target!r}, and configs/rendered.py has not. "
                "Run `dvc repro evaluate`."
            )
        return target
    if category not in classes:
        near = get_close_matches(category, classes, n=3) or classes[:5]
        raise ValueError(
            f"params.yaml: cam.target_category is {category!r}; expected predicted, label, or one of "
            f"the {len(classes)} classes, such as {', '.join(near)}."
        )
    return category


def save(path: Path, image: np.ndarray) -> None:
    Image.fromarray(image).save(path, "JPEG", quality=90, subsampling=0)


if __name__ == "__main__":
    main()
