"""The rendered config: configs/finetune.py, the model's own config, params.yaml and the classes.

A later one overrides an earlier one. What the MMPretrain tutorial edits by hand is computed here.
"""

import copy

from mmengine.config import Config
from mmengine.utils import import_modules_from_strings

from stages.core.config.classifier import classifier, set_preprocessor
from stages.core.config.pipelines import set_pipelines, view_of
from stages.core.config.schedule import (
    from_scratch,
    set_balance,
    set_groups,
    set_schedule,
    set_strategy,
)
from stages.core.config.settings import set_values
from stages.core.networks.corrections import CORRECTED
from stages.core.params import Params
from stages.core.seals import sealed_text
from stages.core.zoo.own_view import own_view

PRETRAINED = "data/weights/pretrained.pth"
HEADER = '''\
"""Written by `python -m stages.render_config` from configs/finetune.py, the model's own config and
params.yaml. Do not edit: change params.yaml and run `dvc repro`. Works on its own, too:

    mim train mmpretrain configs/rendered.py
"""

import sys

# so that custom_imports finds stages/ from wherever this file is opened; mmengine reads no config that
# imports os or pathlib, and would put a path with a quote into this text as it is
sys.path.insert(0, sys._getframe().f_code.co_filename.rsplit('/', 2)[0])

'''


def finetune_config(
    base: Config, pretrained: Config, source: dict, params: Params, classes: list[str]
) -> Config:
    """The complete mmengine config of one fine-tuning run.

    source: what fetch-weights wrote about the weights (data/weights/source.json).
    Raises ValueError when the model cannot be fine-tuned as a classifier, or when the base does not
    have a key that is to be set.
    """
    if len(classes) < 2:
        raise ValueError(f"{len(classes)} class; expected 2 or more. Run `dvc repro prepare-dataset`.")
    cfg = copy.deepcopy(base)
    topk = (1, 5) if len(classes) >= 5 else (1,)

    # the model and its weights
    from_weights = source["source"] != "none"
    name = source["model"]
    import_modules_from_strings(pretrained.get("custom_imports", {}).get("imports", []))
    view = view_of(params.image, own_view(pretrained), name)
    model, network = classifier(pretrained, name, params, view.size, len(classes), topk)
    set_values(cfg, {"model": model, "load_from": PRETRAINED if from_weights else None})
    set_preprocessor(cfg, pretrained, len(classes))
    imports = {*cfg.custom_imports.imports, *pretrained.get("custom_imports", {}).get("imports", [])}
    if model.backbone.type in CORRECTED.values():
        imports.add("stages.core.networks.corrections")
    set_values(cfg, {"custom_imports.imports": sorted(imports)})

    # the dataset
    set_pipelines(cfg, params.image, view, params.augment)
    metainfo = {"metainfo.classes": list(classes)}
    set_values(cfg.train_dataloader.dataset.dataset, metainfo)
    set_values(cfg.val_dataloader.dataset, metainfo)
    set_values(cfg.test_dataloader.dataset, metainfo)

    # the numbers of params.yaml
    set_values(
        cfg,
        {
            "train_dataloader.batch_size": params.train.batch_size,
            "train_dataloader.sampler.batch_size": params.train.batch_size,
            "train_dataloader.dataset.seed": params.seed,
            "val_dataloader.batch_size": params.train.batch_size,
            "test_dataloader.batch_size": params.train.batch_size,
            "val_evaluator.0.topk": topk,
            "test_evaluator.0.topk": topk,
            "threads": params.train.threads,
            "randomness.seed": params.seed,
            "randomness.deterministic": params.train.deterministic,
            "default_hooks.logger.interval": params.train.log_interval,
            "precision.cpu": params.train.precision_cpu,
            "precision.cuda": params.train.precision_cuda,
            "memory_format": params.train.memory_format,
            "cpu_kernels": params.train.cpu_kernels,
            "compiled.cpu": params.train.compile_cpu,
            "compiled.cuda": params.train.compile_cuda,
        },
    )

    # how it is trained
    set_schedule(cfg, params.train)
    set_groups(cfg, params.train, network, view.size)
    set_balance(cfg, params.train)
    set_strategy(cfg, params.train if from_weights else from_scratch(params.train), network)
    return cfg


def rendered_text(cfg: Config, name: str = "rendered.py") -> str:
    """name: of the file, for its seal.

    mmengine replaces `{{ ... }}` in a config's text, as in the name of a class, by environment variables
    and paths. Only texts can hold two such braces, and there `\\x7b` is a brace, too.
    """
    return sealed_text(HEADER + cfg.pretty_text.replace("{{", "{\\x7b"), name)
