"""The structure of a fine-tuning run, written by hand as an mmengine config.

`render-config` fills in the model of data/weights/pretrained.py and the values of params.yaml, and
writes configs/rendered.py. It replaces each None and each empty list. It sets only keys that this file
or the model's own config has, so a misspelled key is an error.
"""

default_scope = 'mmpretrain'
custom_imports = dict(
    imports=[
        'stages.core.images.loading',
        'stages.core.networks.efficientnet_lite',
        'stages.core.scoring.metrics',
        'stages.core.training.augmentation',
        'stages.core.training.history',
        'stages.core.training.hooks',
        'stages.core.training.linear_probe',
        'stages.core.training.sampling',
        'stages.core.training.schedules',
    ],
    allow_failed_imports=False)

# --- model: from data/weights/pretrained.py -----------------------------------------------------------
model = None
data_preprocessor = dict(
    type='ClsDataPreprocessor', num_classes=None, mean=None, std=None, to_rgb=None)
load_from = None
resume = False

# --- data -------------------------------------------------------------------------------------------
# Pillow resizes with antialiasing and in integers, so every CPU computes the same pixels. How val and test
# fit an image into the square is put after LoadImage: image.fit
train_pipeline = [
    dict(type='LoadImage', reduce=None),
    dict(
        type='RandomResizedCrop',
        scale=None,
        crop_ratio_range=None,
        backend='pillow',
        interpolation=None),
    dict(type='ContiguousFlip', prob=None, direction='horizontal'),
    dict(type='ColorMatrixJitter', brightness=None, contrast=None, saturation=None),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImage', reduce=None),
    dict(
        type='PackInputs',
        meta_keys=('sample_idx', 'img_path', 'listed_path', 'ori_shape', 'img_shape')),
]

# `mim train` would silently add default_collate and persistent workers, so both are set here.
train_dataloader = dict(
    batch_size=None,
    num_workers=2,
    persistent_workers=True,
    pin_memory=False,
    drop_last=False,
    collate_fn=dict(type='collate_by_value'),
    sampler=dict(type='EpochSampler', batch_size=None, shuffle=True),
    dataset=dict(
        type='SeededDataset',
        seed=None,
        dataset=dict(
            type='ListedImages',
            data_root='',
            ann_file='data/dataset/train.txt',
            metainfo=dict(classes=[]),
            pipeline=train_pipeline)))
val_dataloader = dict(
    batch_size=None,
    num_workers=2,
    persistent_workers=True,
    pin_memory=False,
    drop_last=False,
    collate_fn=dict(type='collate_by_value'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='ListedImages',
        data_root='',
        ann_file='data/dataset/val.txt',
        metainfo=dict(classes=[]),
        pipeline=test_pipeline))
test_dataloader = dict(
    batch_size=None,
    num_workers=2,
    persistent_workers=False,
    pin_memory=False,
    drop_last=False,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='ListedImages',
        data_root='',
        ann_file='data/dataset/test.txt',
        metainfo=dict(classes=[]),
        pipeline=test_pipeline))

val_evaluator = [dict(type='Accuracy', topk=None), dict(type='Loss')]
test_evaluator = [dict(type='Accuracy', topk=None), dict(type='Loss')]

# --- schedule ---------------------------------------------------------------------------------------
train_cfg = dict(by_epoch=True, max_epochs=None, val_interval=1)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=None,
    clip_grad=None,
    # any key in it makes mmengine put each tensor into its own group, and each step 1 % slower
    paramwise_cfg=dict())
# lr is for one process; mmengine multiplies it by the number of processes
auto_scale_lr = dict(enable=True, base_batch_size=None)
param_scheduler = []

# --- running ----------------------------------------------------------------------------------------
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=None),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=1, save_best='auto'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='VisualizationHook', enable=False))
custom_hooks = [
    dict(type='RepeatableRun'),
    dict(type='TrainingHistory'),
]
env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'))
# read by the stages: mmengine has no such keys, or none for each device
precision = dict(cpu=None, cuda=None)
compiled = dict(cpu=None, cuda=None)
memory_format = None
cpu_kernels = None
threads = None
randomness = dict(seed=None, deterministic=None)
log_processor = dict(by_epoch=True)
visualizer = dict(type='UniversalVisualizer', vis_backends=[dict(type='LocalVisBackend')])
log_level = 'INFO'
work_dir = '.work/train'
