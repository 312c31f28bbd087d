"""Write the complete training config that the tutorial edits by hand.

Reads   configs/finetune.py, data/weights/{pretrained.py, source.json}, data/dataset/classes.txt,
        params.yaml: seed, image, augment, train
Writes  configs/rendered.py     committed, so that a pull request shows its changes

    python -m stages.render_config
"""

import json
from pathlib import Path

from mmengine.config import Config

from stages.core.config.finetune_config import finetune_config, rendered_text
from stages.core.files import write_text
from stages.core.images.lists import read_classes
from stages.core.layout import Layout
from stages.core.params import load_params
from stages.core.seals import read_sealed
from stages.core.zoo.own_view import own_view

FETCH = "Run `dvc repro fetch-weights`."


def main(root: Path = Path()) -> None:
    layout = Layout(root)
    params = load_params(layout.params)
    classes = read_classes(layout.classes)
    source = read_source(layout.weights_source)
    base = Config.fromfile(layout.finetune_config, import_custom_modules=False)
    read_sealed(layout.pretrained_config, FETCH)
    pretrained = Config.fromfile(layout.pretrained_config, import_custom_modules=False)

    cfg = finetune_config(base, pretrained, source, params, classes)
    write_text(layout.rendered_config, rendered_text(cfg))

    size, own = cfg.train_pipeline[1].scale, own_view(pretrained).size
    if not 4 / 5 <= size / own <= 5 / 4:
        print(f"images of {size} pixels; {source['model']} was trained with {own} (image.size: 0)")
    if source["source"] == "none":
        print("from scratch: all layers are trained at once, with batch norm of each batch")
    optimizer = cfg.optim_wrapper.optimizer
    print(
        f"{source['model']}, {len(classes)} classes, {optimizer.type} lr {optimizer.lr:g}, "
        f"{cfg.train_cfg.max_epochs} epochs -> {layout.relative(layout.rendered_config)}"
    )


def read_source(path: Path) -> dict:
    """Where the weights are from, as fetch-weights wrote it. Raises FileNotFoundError or ValueError."""
    try:
        source = json.loads(path.read_bytes())
        return {key: source[key] for key in ("source", "model")}
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} does not exist. {FETCH}") from None
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{path} was cut or edited after fetch-weights wrote it. {FETCH}") from None


if __name__ == "__main__":
    main()
