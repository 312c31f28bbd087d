"""MMPretrain's models and their own configs, from the index inside its package.

Nothing is downloaded, and torch is not imported.
"""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import cache
from importlib.metadata import distribution
from pathlib import Path

from mmengine.config import Config
from modelindex.load_model_index import load as load_model_index
from modelindex.models.Model import Model

from stages.core.params import WeightsParams
from stages.core.zoo.limits import LIST, is_classifier, refuse_unsupported

PACKAGED = "efficientnet_lite0"
"""The model of weights.source: package."""


def model_config(weights: WeightsParams, models: Path) -> Config:
    """The own config of weights.model: a file in the folder `models`, or MMPretrain's.

    Raises ValueError for a model that is unknown or cannot be fine-tuned as a classifier.
    """
    name = weights.model
    own = {path.stem: path for path in models.glob("*.py")}
    if weights.source == "package" and name != PACKAGED:
        raise ValueError(
            f"params.yaml: weights.model is {name!r}, but weights.source: package contains "
            f"only {PACKAGED}. Set weights.model: {PACKAGED}, or weights.source: mim."
        )
    if name in own and weights.source != "mim":
        config = Config.fromfile(own[name], import_custom_modules=False)
    else:
        config = classifier_config(find_model(name))
    refuse_unsupported(config.get("model"), name)
    return config


@cache
def mmpretrain_models() -> Mapping[str, Model]:
    """The entries of MMPretrain's model index, by name; openmim reads the same files."""
    index = load_model_index(str(mmpretrain_folder() / "model-index.yml"))
    index.build_models_with_collections()
    return {model.name: model for model in index.models}


def mmpretrain_folder() -> Path:
    return Path(distribution("mmpretrain").locate_file("mmpretrain/.mim"))


def find_model(name: str) -> Model:
    """The index entry of a model. Raises ValueError that suggests similar names."""
    models = mmpretrain_models()
    if name not in models:
        near = near_names(name, models)
        hint = f"Did you mean {', '.join(near)}? " if near else ""
        if name == PACKAGED:
            hint = "It comes with weights.source: package. "
        raise ValueError(
            f"params.yaml: weights.model is {name!r}, and MMPretrain has no model of that name. "
            f"{hint}{LIST}"
        )
    return models[name]


def near_names(name: str, names: Iterable[str], count: int = 5) -> list[str]:
    """Names that contain `name`, then names spelled like it; case does not matter."""
    by_lower = {known.lower(): known for known in names}
    lower = name.lower()
    near = [known for known in by_lower if lower in known]
    near += get_close_matches(lower, by_lower, n=count, cutoff=0.5)
    return [by_lower[known] for known in dict.fromkeys(near)][:count]


def classifier_config(model: Model) -> Config:
    """The config that makes a classifier of a model's weights.

    That of a self-supervised pretraining is the config by which MMPretrain fine-tunes its weights, or
    else fits a linear layer to their features.
    """
    config = mmpretrain_config(model)
    downstream = model.data.get("Downstream") or []
    for name in sorted(downstream, key=lambda name: "linear" in name):
        if is_classifier(config):
            break
        if name in mmpretrain_models():
            config = mmpretrain_config(find_model(name))
    return config


def mmpretrain_config(model: Model) -> Config:
    path = mmpretrain_folder() / model.config
    try:
        return Config.fromfile(path, import_custom_modules=False)
    except (KeyError, RuntimeError) as error:  # six of MMPretrain's 548 contradict their own bases
        raise ValueError(
            f"MMPretrain's config of {model.name} cannot be read: {error!r}. {LIST}"
        ) from error
