"""List the pretrained models that can be fine-tuned.

The names are values of weights.model. A pattern is part of a name, or a glob. The numbers come from
MMPretrain's model index and configs: the side of the images that the network was tested with,
parameters in millions, multiply-adds in billions, ImageNet-1k accuracy in percent. A model without an
accuracy mostly has no class layer of its own: it was trained without labels, and gets a new one.
Nothing is downloaded.

    python -m stages list_models                    all, which takes some seconds
    python -m stages list_models resnet18 'vit-*'
    python -m stages list_models --json convnext
"""

import argparse
import json

from tabulate import tabulate

from stages.core.zoo.catalog import search_models

COLUMNS = ("name", "source", "pixels", "params (M)", "FLOPs (G)", "top-1 %", "top-5 %")


def main(patterns: list[str], as_json: bool = False) -> None:
    """Raises ValueError for a pattern that no model matches."""
    models = search_models(patterns or ["*"])
    print(json.dumps(models, indent=2) if as_json else table(models))


def table(models: list[dict]) -> str:
    cells = [
        (
            model["name"],
            model["source"],
            model["pixels"],
            scaled(model["parameters"], 1e6),
            scaled(model["flops"], 1e9),
            scaled(model["top1"]),
            scaled(model["top5"]),
        )
        for model in models
    ]
    align = ("left", "left", *["right"] * 5)
    # the header is a row: tabulate would add two spaces to the width of a header of its own
    return tabulate([COLUMNS, *cells], tablefmt="plain", colalign=align, disable_numparse=True)


def scaled(value: float | None, unit: float = 1) -> str:
    return "-" if value is None else f"{value / unit:.2f}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("patterns", nargs="*", metavar="PATTERN", help="part of a name, or a glob")
    parser.add_argument("--json", action="store_true", help="print a JSON list of objects")
    arguments = parser.parse_args()
    main(arguments.patterns, arguments.json)
