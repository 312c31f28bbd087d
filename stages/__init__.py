import warnings

# mmcv-lite has no compiled operators and says so at each import; classification needs none
warnings.filterwarnings("ignore", message="Fail to import ``MultiScaleDeformableAttention``")
# mmcv's colour jitter says this of its own choice
warnings.filterwarnings("ignore", message="Only use 'alpha' for pillow backend")
