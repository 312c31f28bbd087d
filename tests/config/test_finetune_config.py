"""render-config computes what the MMPretrain tutorial edits by hand."""

import re
import sys

import mmpretrain
import pytest
from conftest import PARAMS, REPO, write_params
from mmengine.config import Config

from stages.core.config.finetune_config import finetune_config, rendered_text
from stages.core.config.settings import set_values
from stages.core.params import load_params

MODELS = f"{mmpretrain.__path__[0]}/.mim/configs"
FRUITS = ["apple", "banana", "cherry", "火龙果", "猕猴桃", 'it\'s "x"\n']
BASE = Config.fromfile(REPO / "configs/finetune.py", import_custom_modules=False)


def render(tmp_path, model="resnet/resnet18_8xb32_in1k", classes=FRUITS, source="mim", **sections):
    write_params(tmp_path, **sections)
    pretrained = Config.fromfile(f"{MODELS}/{model}.py")
    name = {"source": source, "model": model}
    return finetune_config(BASE, pretrained, name, load_params(tmp_path / "params.yaml"), classes)


def test_the_head_and_the_preprocessor_get_the_number_of_classes(tmp_path):
    cfg = render(tmp_path)
    assert cfg.model.head.num_classes == cfg.data_preprocessor.num_classes == 6
    assert cfg.data_preprocessor.mean == [123.675, 116.28, 103.53]  # those of the weights
    assert cfg.load_from == "data/weights/pretrained.pth"


def test_every_loader_reads_its_list_with_the_class_names(tmp_path):
    cfg = render(tmp_path)
    train = cfg.train_dataloader.dataset.dataset
    for split, dataset in (
        ("train", train),
        ("val", cfg.val_dataloader.dataset),
        ("test", cfg.test_dataloader.dataset),
    ):
        assert dataset.ann_file == f"data/dataset/{split}.txt"
        assert dataset.metainfo.classes == FRUITS


@pytest.mark.parametrize(("count", "topk"), [(2, (1,)), (4, (1,)), (5, (1, 5)), (30, (1, 5))])
def test_topk_fits_the_number_of_classes(tmp_path, count, topk):
    cfg = render(tmp_path, classes=[f"c{n}" for n in range(count)])
    assert tuple(cfg.val_evaluator[0].topk) == tuple(cfg.test_evaluator[0].topk) == topk
    assert tuple(cfg.model.head.topk) == topk


def test_the_preset_of_the_tutorial_has_the_tutorials_numbers(tmp_path):
    from stages.commands.use_preset import merged, read_preset

    preset = read_preset(REPO / "configs/presets", "fruit30-resnet18")
    text = merged(PARAMS.read_text(), preset["params"])
    (tmp_path / "params.yaml").write_text(text)
    params = load_params(tmp_path / "params.yaml")
    pretrained = Config.fromfile(f"{MODELS}/resnet/resnet18_8xb32_in1k.py")
    source = {"source": "mim", "model": "resnet18_8xb32_in1k"}
    cfg = finetune_config(BASE, pretrained, source, params, [f"c{n}" for n in range(30)])
    assert cfg.optim_wrapper.optimizer == dict(
        type="SGD", lr=0.1, momentum=0.9, weight_decay=0.0001, nesterov=False, fused=True
    )
    (steps,) = cfg.param_scheduler
    assert (steps.type, steps.milestones, steps.gamma) == ("MultiStepLR", [30, 60, 90], 0.1)
    assert cfg.train_cfg.max_epochs == 30 and cfg.train_dataloader.batch_size == 32
    assert cfg.default_hooks.checkpoint.save_best == "auto"
    assert cfg.model.head.num_classes == 30 and cfg.model.head.loss.type == "CrossEntropyLoss"
    assert [t.type for t in cfg.train_pipeline][:3] == [
        "LoadImage",
        "RandomResizedCrop",
        "ContiguousFlip",
    ]
    assert cfg.train_pipeline[1]["scale"] == 224 and cfg.test_pipeline[1]["scale"] == 256


@pytest.mark.parametrize(("batch", "lr"), [(32, 0.01), (64, 0.02), (8, 0.0025)])
def test_the_learning_rate_follows_the_batch(tmp_path, batch, lr):
    cfg = render(tmp_path, train={"batch_size": batch, "lr": 0.01, "lr_batch_size": 32})
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(lr)
    # mmengine also multiplies it by the number of processes
    assert cfg.auto_scale_lr == dict(enable=True, base_batch_size=batch)


def test_warm_up_then_cosine_cover_all_epochs(tmp_path):
    cfg = render(tmp_path, train={"epochs": 8, "warmup_epochs": 1})
    warmup, cosine = cfg.param_scheduler
    assert (warmup.begin, warmup.end, cosine.begin, cosine.end, cosine.T_max) == (0, 1, 1, 8, 7)


def test_the_seed_reaches_every_random_component(tmp_path):
    cfg = render(tmp_path, seed=7, train={"threads": 3})
    assert cfg.randomness == dict(seed=7, deterministic=True)
    assert cfg.train_dataloader.dataset.seed == 7
    assert cfg.custom_hooks[0] == dict(type="RepeatableRun") and cfg.threads == 3


def test_what_mim_train_adds_silently_is_in_the_config(tmp_path):
    cfg = render(tmp_path)
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        assert loader.collate_fn == dict(type="collate_by_value")
    assert cfg.test_dataloader.collate_fn == dict(type="default_collate")
    assert cfg.train_dataloader.persistent_workers is True


def test_mixup_uses_a_loss_that_accepts_mixed_labels(tmp_path):
    cfg = render(tmp_path, augment={"mixup": 0.2, "cutmix": 1.0}, train={"label_smoothing": 0.0})
    assert cfg.model.train_cfg.augments == [
        dict(type="Mixup", alpha=0.2),
        dict(type="CutMix", alpha=1.0),
    ]
    assert cfg.model.head.loss.use_soft is True
    assert "cal_acc" not in cfg.model.head


def test_rare_classes_can_be_repeated_or_weighted(tmp_path):
    cfg = render(tmp_path, train={"oversample": 0.1, "class_weights": "balanced"})
    seeded = cfg.train_dataloader.dataset
    assert (seeded.type, seeded.dataset.type) == ("SeededDataset", "ClassBalancedDataset")
    assert seeded.dataset.oversample_thr == 0.1 and seeded.dataset.dataset.metainfo.classes == FRUITS
    assert dict(type="BalancedLoss") in cfg.custom_hooks
    assert dict(type="BalancedLoss") not in render(tmp_path).custom_hooks


def test_source_none_loads_no_weights_and_fits_no_head(tmp_path):
    cfg = render(tmp_path, source="none")
    assert cfg.load_from is None
    assert {"FittedHead", "PretrainedStatistics"} & {hook["type"] for hook in cfg.custom_hooks} == set()
    with pytest.raises(ValueError, match="linear_probe, but weights.source is none"):
        render(tmp_path, source="none", train={"strategy": "linear_probe"})


@pytest.mark.parametrize(
    ("train", "hooks", "epochs"),
    [
        ({"strategy": "finetune", "batch_norm": "batch"}, [], 8),
        ({"strategy": "finetune", "batch_norm": "pretrained"}, ["PretrainedStatistics"], 8),
        ({"strategy": "lp_ft", "batch_norm": "batch"}, ["FittedHead"], 8),
        ({"strategy": "linear_probe", "batch_norm": "batch"}, ["FittedHead"], 0),
        ({"ema": 0.1, "early_stopping": 2}, ["EMAHook", "EarlyStopping"], 8),
    ],
)
def test_a_strategy_selects_hooks_and_epochs(tmp_path, train, hooks, epochs):
    off = {"strategy": "finetune", "batch_norm": "batch", "epochs": 8}
    cfg = render(tmp_path, train=off | train)
    assert [hook["type"] for hook in cfg.custom_hooks[2:]] == hooks
    assert cfg.train_cfg.max_epochs == epochs


def test_the_gradient_is_clipped_to_a_norm_or_not_at_all(tmp_path):
    assert render(tmp_path, train={"clip_grad": 1.0}).optim_wrapper.clip_grad == dict(max_norm=1.0)
    assert render(tmp_path, train={"clip_grad": 0.0}).optim_wrapper.clip_grad is None


@pytest.mark.parametrize(("size", "padded"), [(192, True), (224, None), (256, None)])
def test_swin_pads_a_grid_that_is_smaller_than_its_window(tmp_path, size, padded):
    cfg = render(
        tmp_path, "swin_transformer/swin-tiny_16xb64_in1k", image={"size": size, "resize": size}
    )
    assert cfg.model.backbone.get("pad_small_map") is padded and cfg.model.backbone.img_size == size


def test_a_network_with_position_embeddings_gets_the_image_size(tmp_path):
    cfg = render(
        tmp_path, "vision_transformer/vit-base-p16_64xb64_in1k-384px", image={"size": 160, "resize": 160}
    )
    assert cfg.model.backbone.img_size == 160


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("mae/mae_vit-base-p16_8xb512-amp-coslr-300e_in1k", "in1k is a MAE, not an ImageClassifier"),
        ("arcface/resnet50-arcface_8xb32_inshop", "inshop is a ImageToImageRetriever, not an"),
        (
            "csra/resnet101-csra_1xb16_voc07-448px",
            r"448px \(CSRAClsHead\) cannot be resized to the classes",
        ),
    ],
)
def test_a_model_that_cannot_be_a_classifier_is_refused_by_name(tmp_path, model, message):
    with pytest.raises(ValueError, match=message):
        render(tmp_path, model)


def test_a_key_that_the_base_does_not_have_is_an_error():
    cfg = Config({"train_cfg": {"max_epochs": 1}, "hooks": [{"type": "A"}]})
    with pytest.raises(
        ValueError, match=r"config key 'train_cfg.epochs' is unknown .* not one of max_epochs"
    ):
        set_values(cfg, {"train_cfg.epochs": 3})
    with pytest.raises(ValueError, match="'hooks.1.type' is unknown"):
        set_values(cfg, {"hooks.1.type": "B"})


def test_the_rendered_text_reads_back_as_the_same_config(tmp_path):
    cfg = render(tmp_path)
    text = rendered_text(cfg)
    assert text == rendered_text(render(tmp_path))
    path = tmp_path / "rendered.py"
    path.write_text(text, encoding="utf-8")
    read = Config.fromfile(path, import_custom_modules=False)
    assert read.to_dict() == cfg.to_dict()
    assert re.search(r"/(home|root|tmp|work)/", text) is None  # no path of this machine


TEMPLATES = [
    "{{$SECRET:x}}",
    "{{ '$SECRET:x' }}",
    "{{$UNSET:}}",
    "{{ fileBasename }}",
    "{{_base_.model}}",
    "\\{{ fileDirname }}",
    "{{{{$SECRET:x}}}}",
    "{\\x7b$SECRET:x}}",
    "{x}",
    "$SECRET",
]


@pytest.mark.parametrize(
    "folder",
    ["plain", "it's", 'a"b', "new\nline", "back\\slash", "{{ fileBasename }}", "$HOME", "\udcff"],
)
def test_no_name_of_a_class_or_a_folder_acts_as_a_template(tmp_path, monkeypatch, folder):
    """mmengine fills templates in, with environment variables for example."""
    monkeypatch.setenv("SECRET", "leaked")
    monkeypatch.setattr(sys, "path", list(sys.path))
    path = tmp_path / folder / "configs/rendered.py"
    path.parent.mkdir(parents=True)
    path.write_text(rendered_text(render(tmp_path, classes=TEMPLATES)), encoding="utf-8")
    read = Config.fromfile(path, import_custom_modules=False)
    assert read.test_dataloader.dataset.metainfo.classes == TEMPLATES
    assert sys.path[0] == str(tmp_path / folder)
