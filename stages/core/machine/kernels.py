"""Which instructions of the CPU torch may use: they decide the last bits of every sum.

ATen, oneDNN and MKL each look at the CPU and use its widest instructions, so the same run produces other
bytes on another CPU. Pinned to AVX2, which every x86-64 CPU of the last ten years has, they produce
the same. MKL has that setting for Intel's CPUs only. On others it silently uses the widest instructions;
SSE2 is the one setting that it respects there.

They read these variables when they first compute, so they are set as soon as anything of this package is
imported (stages/__init__.py), which the rendered config does for `mim train` too.
"""

import os
import platform
from pathlib import Path

from stages.core.yaml_files import load_yaml, read_yaml_text

AVX2 = {
    "ATEN_CPU_CAPABILITY": "avx2",  # PyTorch, aten/src/ATen/native/DispatchStub.cpp
    "ONEDNN_MAX_CPU_ISA": "AVX2",  # oneDNN developer guide, "CPU Dispatcher Control"
    "MKL_CBWR": "COMPATIBLE",  # oneMKL developer guide, "Specifying Code Branches"
}
VARIABLES = {"avx2": AVX2, "avx2_intel": AVX2 | {"MKL_CBWR": "AVX2"}, "native": {}}
"""What each train.cpu_kernels sets."""


def pin_kernels(path: Path) -> None:
    """Set the variables as train.cpu_kernels of params.yaml asks.

    path: of params.yaml. load_params reports what is wrong with it.
    """
    if not is_x86():
        return
    try:
        params = load_yaml(read_yaml_text(path, params=True), path)
        os.environ.update(VARIABLES[params["train"]["cpu_kernels"]])
    except (OSError, ValueError, KeyError, TypeError):
        return


def is_x86() -> bool:
    return platform.machine().lower() in ("x86_64", "amd64")


def check_kernels(kernels: str) -> None:
    """Raise RuntimeError unless this process computes with the kernels of the rendered config."""
    import torch

    expected = VARIABLES[kernels]
    if not expected or not is_x86():
        return
    found = torch.backends.cpu.get_cpu_capability()
    others = [f"{name}={value}" for name, value in expected.items() if os.environ.get(name) != value]
    if found != "AVX2" or others:
        raise RuntimeError(
            f"params.yaml: train.cpu_kernels is {kernels}, but torch computes with {found} here"
            + (f" and {', '.join(others)} is not set" if others else "")
            + ". Start the stage as `python -m stages.<name>` in the project's folder; on a CPU without "
            "AVX2 set train.cpu_kernels to native."
        )
