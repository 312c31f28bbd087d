import warnings
from pathlib import Path

from stages.core.kernels import hold_kernels

hold_kernels(Path("params.yaml"))  # here, as it must come before any stage imports torch

# mmcv-lite has no compiled operators and says so at each import; classification needs none
warnings.filterwarnings("ignore", message="Fail to import ``MultiScaleDeformableAttention``")
# mmcv's colour jitter says this of its own choice
warnings.filterwarnings("ignore", message="Only use 'alpha' for pillow backend")
