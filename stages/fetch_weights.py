"""Fetch and verify the pretrained weights and the model's own config.

Reads   params.yaml: weights; the package, download, file or address that it names
Writes  data/weights/pretrained.pth     only the tensors, under MMPretrain's names
        data/weights/pretrained.py      the model's own mmengine config, without bases
        data/weights/source.json        the origin of the weights, and the SHA-256 of their file

    python -m stages.fetch_weights
"""

import os
import shutil
from pathlib import Path

from stages.core.files import together, write_json, write_text
from stages.core.layout import Layout
from stages.core.networks.checkpoint import write_checkpoint
from stages.core.networks.efficientnet_lite import convert_lite0
from stages.core.params import load_params
from stages.core.seals import sealed_text
from stages.core.zoo.download import find_weights
from stages.core.zoo.index import PACKAGED, model_config
from stages.core.zoo.weights_file import read_tensors


def main(root: Path = Path()) -> None:
    layout = Layout(root)
    params = load_params(layout.params)
    weights = params.weights
    config = model_config(weights, layout.models)

    downloads = layout.work / "downloads"
    folder = downloads / "new"
    shutil.rmtree(folder, ignore_errors=True)  # a killed run may have left parts of files
    folder.mkdir(parents=True)
    try:
        # find or download
        file = find_weights(weights, root, downloads, folder)
        tensors = read_tensors(file.path, file.url or file.path.name) if file else {}
        if weights.model == PACKAGED and "_conv_stem.weight" in tensors:
            tensors = convert_lite0(tensors)
        source = {
            "model": weights.model,
            "num_tensors": len(tensors),
            "sha256": file.sha256 if file else "",
            "source": weights.source,
            "url": file.url if file else "",
        }

        # write
        with together():
            write_checkpoint(layout.pretrained, tensors, meta={})
            text = sealed_text(config.pretty_text + "\n", layout.pretrained_config.name)
            write_text(layout.pretrained_config, text)
            write_json(layout.weights_source, source)

        # keep a download for the next run
        if file and file.path.parent == folder:
            os.replace(file.path, downloads / f"{file.sha256}.pth")
    finally:
        shutil.rmtree(folder)
    what = f"sha256 {file.sha256[:8]}..., {len(tensors)} tensors" if file else "from scratch"
    print(f"{weights.model} from {weights.source}, {what} -> {layout.relative(layout.pretrained)}")


if __name__ == "__main__":
    main()
