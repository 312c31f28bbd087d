"""The device that computes, and how it keeps its memory."""

import ctypes
import os
import sys

import mmengine.device.utils
import torch


def use_device(device: str) -> str:
    """Make mmengine use `device` (auto, cpu or cuda) and return the one taken.

    Raises RuntimeError for cuda without CUDA: mmengine would fall back to the CPU silently.
    """
    # cuBLAS needs it for deterministic results, and reads it when CUDA starts
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # from here on CUDA itself decides whether it works
    os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)
    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        raise RuntimeError(
            "params.yaml: runtime.device is cuda, but torch sees no CUDA device "
            f"(CUDA_VISIBLE_DEVICES={visible!r}, torch {torch.__version__}, built for CUDA "
            f"{torch.version.cuda}). Check `nvidia-smi`, or set runtime.device to auto or cpu."
        )
    taken = "cuda" if available and device != "cpu" else "cpu"
    mmengine.device.utils.DEVICE = taken  # what Runner asks; decided at import otherwise
    return taken


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h


def keep_freed_memory() -> None:
    """Let glibc keep the memory of freed tensors for the next ones, instead of giving it back.

    A step's large tensors come from the system anew otherwise, which clears each page of them first.
    Does nothing with another C library.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        mallopt(M_MMAP_THRESHOLD, 1 << 30)
        mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)


def machine_facts(device: str, processes: int) -> tuple:
    """What a result depends on beside the inputs and the code: the kernels that compute it."""
    name = torch.cuda.get_device_name() if device == "cuda" else torch.backends.cpu.get_cpu_capability()
    return device, name, processes
