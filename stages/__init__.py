import os
import sys
import warnings
from pathlib import Path

from stages.core.errors import install_error_hook

if sys.argv[0] == "-m":  # a stage is being started, not imported
    install_error_hook()

from stages.core.machine.kernels import pin_kernels  # noqa: E402

pin_kernels(Path("params.yaml"))  # here, as it must come before torch computes anything

# mmengine asks for CUDA when it is imported; with this, torch counts the GPUs without starting CUDA,
# which would fix the GPUs of the process before it has claimed one (stages/core/machine/gpus.py)
os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")

# mmcv-lite has no compiled operators and warns about it at each import; classification needs none
warnings.filterwarnings("ignore", message="Fail to import ``MultiScaleDeformableAttention``")

# `python -m stages.predict` still runs stages/commands/predict.py
__path__.append(str(Path(__file__).parent / "commands"))
