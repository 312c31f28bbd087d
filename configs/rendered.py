"""Written by `python -m stages.render_config` from configs/finetune.py, the model's own config and
params.yaml. Do not edit: change params.yaml and run `dvc repro`. Works on its own, too:

    mim train mmpretrain configs/rendered.py
"""

import sys

# so that custom_imports finds stages/ from wherever this file is opened; mmengine reads no config that
# imports os or pathlib, and would put a path with a quote into this text as it is
sys.path.insert(0, sys._getframe().f_code.co_filename.rsplit('/', 2)[0])

auto_scale_lr = dict(base_batch_size=16, enable=True)
compiled = dict(cpu=False, cuda=False)
cpu_kernels = 'avx2'
custom_hooks = [
    dict(type='RepeatableRun'),
    dict(type='TrainingHistory'),
    dict(label_smoothing=0.0, type='FittedHead', weight_decay=0.01),
    dict(type='PretrainedStatistics'),
]
custom_imports = dict(
    allow_failed_imports=False,
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
    ])
data_preprocessor = dict(
    mean=[
        127.0,
        127.0,
        127.0,
    ],
    num_classes=12,
    std=[
        128.0,
        128.0,
        128.0,
    ],
    to_rgb=True,
    type='ClsDataPreprocessor')
default_hooks = dict(
    checkpoint=dict(
        interval=1, max_keep_ckpts=1, save_best='auto', type='CheckpointHook'),
    logger=dict(interval=5, type='LoggerHook'),
    param_scheduler=dict(type='ParamSchedulerHook'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    timer=dict(type='IterTimerHook'),
    visualization=dict(enable=False, type='VisualizationHook'))
default_scope = 'mmpretrain'
env_cfg = dict(
    cudnn_benchmark=False,
    dist_cfg=dict(backend='nccl'),
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0))
load_from = 'data/weights/pretrained.pth'
log_level = 'INFO'
log_processor = dict(by_epoch=True)
memory_format = 'channels_last'
model = dict(
    backbone=dict(arch='b0', type='EfficientNetLite'),
    head=dict(
        in_channels=1280,
        loss=dict(loss_weight=1.0, type='CrossEntropyLoss', use_soft=False),
        num_classes=12,
        topk=(
            1,
            5,
        ),
        type='LinearClsHead'),
    neck=dict(type='GlobalAveragePooling'),
    train_cfg=None,
    type='ImageClassifier')
optim_wrapper = dict(
    clip_grad=dict(max_norm=1.0),
    optimizer=dict(
        fused=True,
        lr=0.02,
        momentum=0.9,
        nesterov=True,
        type='SGD',
        weight_decay=0.0001),
    paramwise_cfg=dict(),
    type='OptimWrapper')
param_scheduler = [
    dict(
        begin=0,
        by_epoch=True,
        convert_to_iter_based=True,
        end=1,
        start_factor=0.01,
        type='WarmUp'),
    dict(
        T_max=7,
        begin=1,
        by_epoch=True,
        convert_to_iter_based=True,
        end=8,
        eta_min=0.0,
        type='CosineAnnealingLR'),
]
precision = dict(cpu='fp32', cuda='fp32')
randomness = dict(deterministic=True, seed=0)
resume = False
test_cfg = dict()
test_dataloader = dict(
    batch_size=16,
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        ann_file='data/dataset/test.txt',
        data_root='',
        metainfo=dict(classes=[
            'apple',
            'banana',
            'cherry',
            'grape',
            'kiwi',
            'lemon',
            'lime',
            'orange',
            'peach',
            'pear',
            'strawberry',
            'watermelon',
        ]),
        pipeline=[
            dict(reduce=256, type='LoadImage'),
            dict(
                backend='pillow',
                edge='short',
                interpolation='bicubic',
                scale=146,
                type='ResizeEdge'),
            dict(crop_size=128, type='CenterCrop'),
            dict(
                meta_keys=(
                    'sample_idx',
                    'img_path',
                    'listed_path',
                    'ori_shape',
                    'img_shape',
                ),
                type='PackInputs'),
        ],
        type='ListedImages'),
    drop_last=False,
    num_workers=2,
    persistent_workers=False,
    pin_memory=False,
    sampler=dict(shuffle=False, type='DefaultSampler'))
test_evaluator = [
    dict(topk=(
        1,
        5,
    ), type='Accuracy'),
    dict(type='Loss'),
]
test_pipeline = [
    dict(reduce=256, type='LoadImage'),
    dict(
        backend='pillow',
        edge='short',
        interpolation='bicubic',
        scale=146,
        type='ResizeEdge'),
    dict(crop_size=128, type='CenterCrop'),
    dict(
        meta_keys=(
            'sample_idx',
            'img_path',
            'listed_path',
            'ori_shape',
            'img_shape',
        ),
        type='PackInputs'),
]
threads = 2
train_cfg = dict(by_epoch=True, max_epochs=8, val_interval=1)
train_dataloader = dict(
    batch_size=16,
    collate_fn=dict(type='collate_by_value'),
    dataset=dict(
        dataset=dict(
            ann_file='data/dataset/train.txt',
            data_root='',
            metainfo=dict(classes=[
                'apple',
                'banana',
                'cherry',
                'grape',
                'kiwi',
                'lemon',
                'lime',
                'orange',
                'peach',
                'pear',
                'strawberry',
                'watermelon',
            ]),
            pipeline=[
                dict(reduce=256, type='LoadImage'),
                dict(
                    backend='pillow',
                    crop_ratio_range=(
                        0.4,
                        1.0,
                    ),
                    interpolation='bicubic',
                    scale=128,
                    type='RandomResizedCrop'),
                dict(direction='horizontal', prob=0.5, type='ContiguousFlip'),
                dict(
                    brightness=0.2,
                    contrast=0.2,
                    saturation=0.2,
                    type='ColorMatrixJitter'),
                dict(type='PackInputs'),
            ],
            type='ListedImages'),
        seed=0,
        type='SeededDataset'),
    drop_last=False,
    num_workers=2,
    persistent_workers=True,
    pin_memory=False,
    sampler=dict(batch_size=16, shuffle=True, type='EpochSampler'))
train_pipeline = [
    dict(reduce=256, type='LoadImage'),
    dict(
        backend='pillow',
        crop_ratio_range=(
            0.4,
            1.0,
        ),
        interpolation='bicubic',
        scale=128,
        type='RandomResizedCrop'),
    dict(direction='horizontal', prob=0.5, type='ContiguousFlip'),
    dict(
        brightness=0.2, contrast=0.2, saturation=0.2,
        type='ColorMatrixJitter'),
    dict(type='PackInputs'),
]
val_cfg = dict()
val_dataloader = dict(
    batch_size=16,
    collate_fn=dict(type='collate_by_value'),
    dataset=dict(
        ann_file='data/dataset/val.txt',
        data_root='',
        metainfo=dict(classes=[
            'apple',
            'banana',
            'cherry',
            'grape',
            'kiwi',
            'lemon',
            'lime',
            'orange',
            'peach',
            'pear',
            'strawberry',
            'watermelon',
        ]),
        pipeline=[
            dict(reduce=256, type='LoadImage'),
            dict(
                backend='pillow',
                edge='short',
                interpolation='bicubic',
                scale=146,
                type='ResizeEdge'),
            dict(crop_size=128, type='CenterCrop'),
            dict(
                meta_keys=(
                    'sample_idx',
                    'img_path',
                    'listed_path',
                    'ori_shape',
                    'img_shape',
                ),
                type='PackInputs'),
        ],
        type='ListedImages'),
    drop_last=False,
    num_workers=2,
    persistent_workers=True,
    pin_memory=False,
    sampler=dict(shuffle=False, type='DefaultSampler'))
val_evaluator = [
    dict(topk=(
        1,
        5,
    ), type='Accuracy'),
    dict(type='Loss'),
]
visualizer = dict(
    type='UniversalVisualizer', vis_backends=[
        dict(type='LocalVisBackend'),
    ])
work_dir = '.work/train'
# checksum of all above: 36aa8093
