"""How many threads compute, whatever the environment says: they decide how sums are split."""

import ctypes

import torch


def use_threads(count: int) -> None:
    """Let torch compute with this many threads. Raises RuntimeError if the environment forbids it.

    oneDNN splits its work among the threads that it asks for. If OpenMP starts fewer of them, a
    convolution's backward pass waits for the others for ever.
    """
    torch.set_num_threads(count)
    openmp = ctypes.CDLL(None)
    if not hasattr(openmp, "omp_get_thread_limit"):
        return  # this torch computes without OpenMP
    openmp.omp_set_dynamic(0)  # OMP_DYNAMIC: fewer threads on a busy machine
    openmp.omp_set_max_active_levels(max(1, openmp.omp_get_max_active_levels()))
    limit = openmp.omp_get_thread_limit()
    if limit < count:
        raise RuntimeError(
            f"OMP_THREAD_LIMIT allows {limit} threads, and train.threads of this run is {count}: torch "
            "would wait for the others for ever. Unset OMP_THREAD_LIMIT, or set train.threads in "
            f"params.yaml to {limit} and run `dvc repro`."
        )
