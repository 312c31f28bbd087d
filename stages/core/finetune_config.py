"""The rendered config: configs/finetune.py, the model's own config, params.yaml and the classes.

Later wins. Everything the MMPretrain tutorial edits by hand is computed here.
"""

import copy

from mmengine.config import Config, ConfigDict

from stages.core.params import AugmentParams, ImageParams, Params, TrainParams

PRETRAINED = "data/weights/pretrained.pth"
HEADER = '''\
"""Written by `python -m stages.render_config` from configs/finetune.py, the model's own config and
params.yaml. Do not edit: change params.yaml and run `dvc repro`. Works on its own, too:

    mim train mmpretrain configs/rendered.py
"""

import sys

# so that custom_imports finds stages/ from wherever this file is opened
sys.path.insert(0, r'{{ fileDirname }}/..')

'''


def finetune_config(
    base: Config, pretrained: Config, source: dict, params: Params, classes: list[str]
) -> Config:
    """The complete mmengine config of one fine-tuning run.

    source: what fetch-weights says of the weights (data/weights/source.json).
    Raises ValueError when the model cannot be fine-tuned as a classifier, or when a key to be set is
    unknown to the base.
    """
    if len(classes) < 2:
        raise ValueError(f"{len(classes)} class; expected 2 or more. Run `dvc repro prepare-dataset`.")
    cfg = copy.deepcopy(base)
    topk = (1, 5) if len(classes) >= 5 else (1,)

    cfg.model = classifier(pretrained, source["model"], params, len(classes), topk)
    set_preprocessor(cfg, pretrained, len(classes))
    cfg.custom_imports.imports = sorted(
        {*cfg.custom_imports.imports, *pretrained.get("custom_imports", {}).get("imports", [])}
    )
    set_values(cfg, {"load_from": None if source["source"] == "none" else PRETRAINED})

    set_pipelines(cfg, params.image, params.augment)
    metainfo = {"metainfo.classes": list(classes)}
    set_values(cfg.train_dataloader.dataset.dataset, metainfo)
    set_values(cfg.val_dataloader.dataset, metainfo)
    set_values(cfg.test_dataloader.dataset, metainfo)
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
            "custom_hooks.0.seed": params.seed,
            "custom_hooks.0.threads": params.train.threads,
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
    set_schedule(cfg, params.train)
    set_balance(cfg, params.train)
    scratch = source["source"] == "none"
    set_strategy(cfg, from_scratch(params.train) if scratch else params.train)
    return cfg


def rendered_text(cfg: Config) -> str:
    return HEADER + cfg.pretty_text


def classifier(
    pretrained: Config, name: str, params: Params, num_classes: int, topk: tuple
) -> ConfigDict:
    """The model's own config with a head, loss and batch augmentations for our classes."""
    model = copy.deepcopy(pretrained.get("model"))
    kind = model.get("type") if model else None
    if not isinstance(kind, str) or kind.rpartition(".")[2] != "ImageClassifier":
        raise ValueError(
            f"weights.model: {name} is a {kind}, not an ImageClassifier, and cannot be fine-tuned as a "
            "classifier. `python -m stages.list_models` lists the models that can."
        )
    head = model.get("head") or ConfigDict()
    head_type = str(head.get("type"))
    if "num_classes" not in head or any(word in head_type for word in ("Multi", "CSRA")):
        raise ValueError(
            f"weights.model: the head of {name} ({head_type}) cannot be resized to {num_classes} "
            "classes: a single-label head with num_classes is expected. "
            "`python -m stages.list_models` lists the models that can be fine-tuned."
        )
    mixing = params.augment.mixup > 0 or params.augment.cutmix > 0
    head.num_classes = num_classes
    head.loss = loss(params.train.label_smoothing, mixing)
    if "topk" in head:
        head.topk = topk
    head.pop("cal_acc", None)  # training accuracy is of no use with mixed labels
    set_distillation(head, params.train.strategy, name)
    necks = model.get("neck") or []
    for part in (model, model.backbone, *(necks if isinstance(necks, list) else [necks]), head):
        if isinstance(part.get("init_cfg"), dict) and part.init_cfg.get("type") == "Pretrained":
            part.pop("init_cfg")  # load_from is the only source of weights
    model.pop("pretrained", None)
    for key in ("frozen_stages", "norm_eval"):  # of models that were published as linear probes
        model.backbone.pop(key, None)
    set_picture_size(model.backbone, params.image.size, name)
    augments = [
        dict(type=kind, alpha=alpha)
        for kind, alpha in (("Mixup", params.augment.mixup), ("CutMix", params.augment.cutmix))
        if alpha > 0
    ]
    model.train_cfg = dict(augments=augments) if augments else None
    return model


DISTILLED = ("LeViTClsHead", "EfficientFormerClsHead")
"""Heads with a second layer for a teacher's answers, which MMPretrain trains only without it."""
TWO_LAYERS = ("DeiTClsHead", "ConformerHead")
"""Heads with two last layers, which are trained together and cannot be fitted."""


def set_distillation(head: ConfigDict, strategy: str, name: str) -> None:
    kind = str(head.type).rpartition(".")[2]
    if kind in DISTILLED:
        head.distillation = False
    if kind in TWO_LAYERS and strategy != "finetune":
        raise ValueError(
            f"params.yaml: train.strategy is {strategy}, but the head of {name} ({kind}) has two last "
            "layers, and one can be fitted. Set train.strategy to finetune."
        )


FIXED_SIZE = (
    "BEiTViT",  # its weights are adapted by a function that SciPy no longer has
    "EfficientFormer",
    "HiViT",
    "LeViT",
    "MixMIMTransformer",
    "MlpMixer",
    "PyramidVig",
    "RepMLPNet",
    "TNT",
    "Vig",
)
"""Networks whose weights, or code, are for the grid of one picture size."""
WINDOWED = ("SwinTransformer", "SwinTransformerV2", "DaViT")
"""Networks whose last grid can be smaller than an attention window, and is padded then."""


def set_picture_size(backbone: ConfigDict, size: int, name: str) -> None:
    """Raises ValueError when the network sees pictures of another size only."""
    kind = str(backbone.type).rpartition(".")[2]
    given = backbone.get("img_size", 224)
    square = isinstance(given, (tuple, list))
    own = given[0] if square else given
    if kind in FIXED_SIZE and size != own:
        raise ValueError(
            f"params.yaml: image.size is {size}, but {name} ({kind}) sees pictures of {own} pixels "
            f"only. Set image.size to {own} and image.resize to {round(own * 8 / 7)}, or choose "
            "another model."
        )
    if kind in WINDOWED and size < own:
        backbone.pad_small_map = True
    if "img_size" in backbone:
        backbone.img_size = (size, size) if square else size


def loss(label_smoothing: float, mixing: bool) -> dict:
    if label_smoothing > 0:
        return dict(type="LabelSmoothLoss", label_smooth_val=label_smoothing, mode="original")
    return dict(type="CrossEntropyLoss", loss_weight=1.0, use_soft=mixing)


def set_preprocessor(cfg: Config, pretrained: Config, num_classes: int) -> None:
    """mean, std and channel order are the pretrained model's: its weights were trained with them."""
    own = cfg.model.pop("data_preprocessor", None) or pretrained.get("data_preprocessor") or {}
    values = {key: value for key, value in own.items() if key not in ("type", "to_onehot")}
    values.pop("batch_augments", None)
    set_values(cfg.data_preprocessor, values | {"num_classes": num_classes})


def set_pipelines(cfg: Config, image: ImageParams, augment: AugmentParams) -> None:
    jitter = augment.color_jitter
    train_values = {
        "LoadPicture.reduce": image.reduce,
        "RandomResizedCrop.scale": image.size,
        "RandomResizedCrop.crop_ratio_range": tuple(augment.crop_scale),
        "ContiguousFlip.prob": augment.flip,
        "ColorMatrixJitter.brightness": jitter,
        "ColorMatrixJitter.contrast": jitter,
        "ColorMatrixJitter.saturation": jitter,
    }
    test_values = {
        "LoadPicture.reduce": image.reduce,
        "ResizeEdge.scale": image.resize,
        "CenterCrop.crop_size": image.size,
    }
    cfg.train_pipeline[-1:-1] = extra_transforms(augment)  # before PackInputs
    set_transforms(cfg.train_pipeline, train_values)
    set_transforms(cfg.test_pipeline, test_values)
    cfg.train_dataloader.dataset.dataset.pipeline = copy.deepcopy(cfg.train_pipeline)
    cfg.val_dataloader.dataset.pipeline = copy.deepcopy(cfg.test_pipeline)
    cfg.test_dataloader.dataset.pipeline = copy.deepcopy(cfg.test_pipeline)


def extra_transforms(augment: AugmentParams) -> list[dict]:
    """The transforms that the base does without."""
    transforms = []
    if augment.policy == "trivial":  # Mueller and Hutter 2021, https://arxiv.org/abs/2103.10158
        transforms += [
            dict(type="NumpyToPIL", to_rgb=True),
            dict(type="torchvision/TrivialAugmentWide"),
            dict(type="PILToNumpy", to_bgr=True),
        ]
    if augment.policy == "rand":  # Cubuk et al. 2020, https://arxiv.org/abs/1909.13719
        transforms.append(
            dict(
                type="RandAugment",
                policies="timm_increasing",
                num_policies=2,
                total_level=10,
                magnitude_level=7,
                magnitude_std=0.5,
            )
        )
    if augment.erase > 0:  # Zhong et al. 2020, https://arxiv.org/abs/1708.04896
        transforms.append(dict(type="RandomErasing", erase_prob=augment.erase))
    return transforms


def set_transforms(pipeline: list, values: dict) -> None:
    """Set `Transform.key` of a pipeline for each entry of `values`."""
    for name, value in values.items():
        kind, key = name.split(".")
        found = [transform for transform in pipeline if transform["type"] == kind]
        if len(found) != 1:
            raise ValueError(
                f"configs/finetune.py: {len(found)} transforms {kind}; expected one, to set {key}."
            )
        set_values(found[0], {key: value})


def set_schedule(cfg: Config, train: TrainParams) -> None:
    if train.optimizer == "sgd":
        optimizer = dict(type="SGD", momentum=train.momentum, nesterov=train.nesterov)
    else:
        optimizer = dict(type="AdamW")
    # linear scaling: Goyal et al. 2017, https://arxiv.org/abs/1706.02677
    optimizer["lr"] = train.lr * train.batch_size / train.lr_batch_size
    optimizer["weight_decay"] = train.weight_decay
    optimizer["fused"] = True  # torch's loop over the tensors takes a tenth of a step of small batches

    warmup = train.warmup_epochs
    schedulers = []
    if warmup > 0:
        schedulers.append(
            dict(
                type="WarmUp",
                start_factor=0.01,
                by_epoch=True,
                begin=0,
                end=warmup,
                convert_to_iter_based=True,
            )
        )
    if train.schedule == "cosine":
        schedulers.append(
            dict(
                type="CosineAnnealingLR",
                T_max=train.epochs - warmup,
                eta_min=0.0,
                by_epoch=True,
                begin=warmup,
                end=train.epochs,
                convert_to_iter_based=True,
            )
        )
    else:
        schedulers.append(
            dict(
                type="MultiStepLR",
                by_epoch=True,
                milestones=list(train.milestones),
                gamma=train.gamma,
            )
        )
    set_values(
        cfg,
        {
            "train_cfg.max_epochs": train.epochs,
            "optim_wrapper.optimizer": optimizer,
            "optim_wrapper.clip_grad": dict(max_norm=train.clip_grad) if train.clip_grad else None,
            "auto_scale_lr.base_batch_size": train.batch_size,
            "param_scheduler": schedulers,
        },
    )
    if train.head_lr_mult != 1:
        custom_keys = {"head.": dict(lr_mult=train.head_lr_mult)}
        cfg.optim_wrapper.paramwise_cfg.custom_keys = custom_keys


def set_balance(cfg: Config, train: TrainParams) -> None:
    """Rare classes seen more often (Mahajan et al. 2018, repeat factors), or weighing more."""
    if train.oversample > 0:
        seeded = cfg.train_dataloader.dataset
        seeded.dataset = dict(
            type="ClassBalancedDataset", dataset=seeded.dataset, oversample_thr=train.oversample
        )
    if train.class_weights == "balanced":
        cfg.custom_hooks.append(dict(type="BalancedLoss"))


def from_scratch(train: TrainParams) -> TrainParams:
    """Without pretrained weights there are no features to fit a head to, and no statistics to keep."""
    if train.strategy == "linear_probe":
        raise ValueError(
            "params.yaml: train.strategy is linear_probe, but weights.source is none, and the features "
            "of random weights say nothing. Set train.strategy to finetune, or another weights.source."
        )
    return train.replace(strategy="finetune", batch_norm="batch")


def set_strategy(cfg: Config, train: TrainParams) -> None:
    """What is trained in which order, the average of the weights, and when to stop."""
    if train.strategy != "finetune":
        cfg.custom_hooks.append(
            dict(
                type="FittedHead",
                weight_decay=train.probe_weight_decay,
                label_smoothing=train.label_smoothing,
            )
        )
    if train.batch_norm == "pretrained":
        cfg.custom_hooks.append(dict(type="PretrainedStatistics"))
    if train.strategy == "linear_probe":
        cfg.train_cfg.max_epochs = 0  # the fitted head is scored and kept
    if train.ema > 0:
        cfg.custom_hooks.append(dict(type="EMAHook", momentum=train.ema))
    if train.early_stopping > 0:
        cfg.custom_hooks.append(
            dict(
                type="EarlyStopping",
                monitor="accuracy/top1",
                patience=train.early_stopping,
                min_delta=5e-5,  # the history has four digits
            )
        )
    if train.layer_decay < 1:
        # Clark et al. 2020, https://arxiv.org/abs/2003.10555
        cfg.optim_wrapper.constructor = "LearningRateDecayOptimWrapperConstructor"
        cfg.optim_wrapper.paramwise_cfg.layer_decay_rate = train.layer_decay


def set_values(cfg: Config | ConfigDict, values: dict) -> None:
    """Set dotted keys that already exist; a number addresses an element of a list.

    Raises ValueError for a key the config does not know: mmengine would ignore it in silence.
    """
    for name, value in values.items():
        *parents, key = name.split(".")
        target = cfg
        for step in (*parents, None):
            known = range(len(target)) if isinstance(target, list) else list(target.keys())
            step_or_key = key if step is None else step
            if isinstance(target, list):
                step_or_key = int(step_or_key)
            if step_or_key not in known:
                raise ValueError(
                    f"config key {name!r} is unknown to the base: {step_or_key!r} is not one of "
                    f"{', '.join(map(str, known))}. Add it to configs/finetune.py."
                )
            if step is None:
                target[step_or_key] = value
            else:
                target = target[step_or_key]
