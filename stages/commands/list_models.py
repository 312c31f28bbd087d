"""List the pretrained models that can be fine-tuned.

The names are values of weights.model. Patterns are parts of a name, or globs. Numbers are what
MMPretrain's model index says (parameters in millions, multiply-adds in billions, ImageNet-1k accuracy in
percent); nothing is downloaded.

    python -m stages list_models                    all, which takes some seconds
    python -m stages list_models resnet18 'vit-*'
    python -m stages list_models --json convnext
"""

import argparse
import json
import signal
from collections.abc import Iterator
from fnmatch import fnmatchcase

from modelindex.models.Model import Model

from stages.core.zoo.index import (
    PACKAGED,
    can_be_fine_tuned,
    mmpretrain_config,
    mmpretrain_models,
    near_names,
)

# https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite
LITE0 = {
    "name": PACKAGED,
    "source": "package",
    "parameters": 4652008,
    "flops": 407000000,
    "top1": 75.1,
    "top5": None,
}


def main(patterns: list[str], as_json: bool = False) -> None:
    """Raises ValueError for a pattern that no such model matches."""
    found = {}
    for pattern in patterns or ["*"]:
        rows = list(matching(pattern))
        if not rows:
            raise ValueError(no_match(pattern))
        found |= {row["name"]: row for row in rows}
    rows = [found[name] for name in sorted(found)]
    print(json.dumps(rows, indent=2) if as_json else table(rows))


def matching(pattern: str) -> Iterator[dict]:
    if matches(PACKAGED, pattern):
        yield LITE0
    for name, model in mmpretrain_models().items():
        if matches(name, pattern) and offered(model):
            yield row(model)


def matches(name: str, pattern: str) -> bool:
    """As a glob if the pattern is one, else anywhere in the name; upper and lower case are the same."""
    name, pattern = name.lower(), pattern.lower()
    return fnmatchcase(name, pattern) if any(sign in pattern for sign in "*?[") else pattern in name


def offered(model: Model) -> bool:
    if not model.weights:
        return False
    try:
        return can_be_fine_tuned(mmpretrain_config(model))
    except ValueError:  # MMPretrain cannot read its own config: fetch-weights says why
        return False


def row(model: Model) -> dict:
    accuracy = {}
    for result in model.results or []:
        if result.dataset == "ImageNet-1k":
            accuracy = result.metrics
    return {
        "name": model.name,
        "source": "mim",
        "parameters": model.metadata.parameters,
        "flops": model.metadata.flops,
        "top1": accuracy.get("Top 1 Accuracy"),
        "top5": accuracy.get("Top 5 Accuracy"),
    }


def no_match(pattern: str) -> str:
    known = {PACKAGED, *mmpretrain_models()}
    others = sorted(name for name in known if matches(name, pattern))
    if others:
        return (
            f"{pattern!r} matches only models that cannot be fine-tuned here: {', '.join(others[:5])}."
        )
    near = near_names(pattern.strip("*"), known)
    return f"no model matches {pattern!r}." + (f" Did you mean {', '.join(near)}?" if near else "")


def table(rows: list[dict]) -> str:
    lines = [("name", "source", "params (M)", "FLOPs (G)", "top-1 %", "top-5 %")]
    for r in rows:
        millions, billions = (scaled(r["parameters"], 1e6), scaled(r["flops"], 1e9))
        lines.append((r["name"], r["source"], millions, billions, scaled(r["top1"]), scaled(r["top5"])))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if index < 2 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )


def scaled(value: float | None, unit: float = 1) -> str:
    return "-" if value is None else f"{value / unit:.2f}"


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends it without a traceback
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("patterns", nargs="*", metavar="PATTERN", help="part of a name, or a glob")
    parser.add_argument("--json", action="store_true", help="print a JSON list of objects")
    arguments = parser.parse_args()
    main(arguments.patterns, arguments.json)
