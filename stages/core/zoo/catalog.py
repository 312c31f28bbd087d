"""The models that weights.model can name, with what MMPretrain's model index states about each."""

from collections.abc import Iterator
from fnmatch import fnmatchcase

from mmengine.config import Config
from modelindex.models.Model import Model

from stages.core.zoo.index import PACKAGED, classifier_config, mmpretrain_models, near_names
from stages.core.zoo.limits import refuse_unsupported
from stages.core.zoo.own_view import own_view

# https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite
LITE0 = {
    "name": PACKAGED,
    "source": "package",
    "pixels": 224,
    "parameters": 4652008,
    "flops": 407000000,
    "top1": 75.1,
    "top5": None,
}


def search_models(patterns: list[str]) -> list[dict]:
    """Models that can be fine-tuned and match a pattern, sorted by name.

    Raises ValueError for a pattern that no such model matches.
    """
    found = {}
    for pattern in patterns:
        rows = list(matching(pattern))
        if not rows:
            raise ValueError(no_match(pattern))
        found |= {row["name"]: row for row in rows}
    return [found[name] for name in sorted(found)]


def matching(pattern: str) -> Iterator[dict]:
    if matches(PACKAGED, pattern):
        yield LITE0
    for name, model in mmpretrain_models().items():
        if matches(name, pattern) and (config := config_of(model)):
            yield row(model, config)


def matches(name: str, pattern: str) -> bool:
    """Whether a name matches a glob, or contains a text that is none; case does not matter."""
    name, pattern = name.lower(), pattern.lower()
    return fnmatchcase(name, pattern) if any(sign in pattern for sign in "*?[") else pattern in name


def config_of(model: Model) -> Config | None:
    """The config of a model that fetch-weights accepts with weights.source: mim."""
    if not model.weights:
        return None
    try:
        config = classifier_config(model)
        refuse_unsupported(config.get("model"), model.name)
    except ValueError:
        return None
    return config


def row(model: Model, config: Config) -> dict:
    accuracy = {}
    for result in model.results or []:
        if result.dataset == "ImageNet-1k":
            accuracy = result.metrics
    return {
        "name": model.name,
        "source": "mim",
        "pixels": own_view(config).size,
        "parameters": model.metadata.parameters,
        "flops": model.metadata.flops,
        "top1": accuracy.get("Top 1 Accuracy"),
        "top5": accuracy.get("Top 5 Accuracy"),
    }


def no_match(pattern: str) -> str:
    known = {PACKAGED, *mmpretrain_models()}
    refused = sorted(name for name in known if matches(name, pattern))
    if refused:
        return (
            f"{pattern!r} matches only models that cannot be fine-tuned here: {', '.join(refused[:5])}."
        )
    near = near_names(pattern.strip("*"), known)
    return f"no model matches {pattern!r}." + (f" Did you mean {', '.join(near)}?" if near else "")
