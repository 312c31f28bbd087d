"""Free GPUs for a run: claimed by a lock, so that no two runs on this machine share one.

Every worker of DVC's queue has the same environment, and so sees the same GPUs. The locks are the
operating system's: they end with the process that holds them, however it ends.
"""

import os
import stat
import tempfile
import time
from pathlib import Path

from filelock import FileLock, Timeout

from stages.core.params import RuntimeParams

HELD: dict[str, FileLock] = {}
"""The GPUs of this process, until it ends."""


def claim_gpus(runtime: RuntimeParams, count: int = 1) -> None:
    """Show CUDA only `count` GPUs that no other run holds, until this process ends; waits for them.

    To be called before CUDA is asked for anything. A process that torchrun started has its GPU already,
    and Slurm assigns each job its own. Raises RuntimeError when there are fewer than `count`.
    """
    if runtime.device == "cpu" or runtime.launcher == "slurm" or "LOCAL_RANK" in os.environ or HELD:
        return
    gpus = visible_gpus()
    if not gpus:
        return
    if count > len(gpus):
        raise RuntimeError(
            f"params.yaml: runtime.processes is {count}, but torch sees {len(gpus)} GPUs "
            f"(CUDA_VISIBLE_DEVICES={os.environ.get('CUDA_VISIBLE_DEVICES')!r}). "
            f"Set runtime.processes to {len(gpus)} at most."
        )
    HELD.update(claim(gpus, count, lock_folder()))
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(HELD)


def visible_gpus() -> list[str]:
    """The GPUs that CUDA would show, as CUDA_VISIBLE_DEVICES names them; CUDA itself is not started."""
    import torch  # here, as what waits for a GPU needs no more than a lock

    count = torch.cuda.device_count()
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = map(str, range(count)) if given is None else map(str.strip, given.split(","))
    return list(names)[:count]


def claim(gpus: list[str], count: int, folder: Path) -> dict[str, FileLock]:
    """Locks in `folder` on `count` of the `gpus`, by name.

    All at once or none: two runs that want two each would otherwise keep one each and wait forever.
    """
    waiting = False
    while True:
        with FileLock(folder / "claiming.lock"):
            free = {}
            for gpu in gpus:
                lock = FileLock(folder / f"{gpu.replace('/', '_')}.lock", timeout=0)
                try:
                    lock.acquire()
                except Timeout:
                    continue
                free[gpu] = lock
                if len(free) == count:
                    return free
            for lock in free.values():
                lock.release()
        if not waiting:
            taken = f"GPU {', '.join(gpus)}: {len(gpus) - len(free)} of {len(gpus)} taken by other runs"
            print(f"{taken}; waiting until {count} {'is' if count == 1 else 'are'} free", flush=True)
            waiting = True
        time.sleep(1)


def lock_folder() -> Path:
    """One for all projects of this user on this machine. Raises RuntimeError if it is another user's."""
    folder = Path(tempfile.gettempdir()) / f"finetune-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise RuntimeError(
            f"{folder} is a link or belongs to another user; expected a folder of your own, where "
            "the GPUs in use are locked. Remove it, or set TMPDIR to a folder of your own."
        )
    return folder
