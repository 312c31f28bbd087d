"""Training in several processes, started by torchrun or by Slurm."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import torch.distributed

from stages.core.params import RuntimeParams

STARTED = "FINETUNE_PROCESSES_STARTED"
"""Set in the environment of processes that start_processes started."""


def starts_processes(runtime: RuntimeParams) -> bool:
    """Whether this process starts those that train.

    It does when there is a launcher, unless it is one of them, or the user's own torchrun started it (on
    several machines).
    """
    started = "TORCHELASTIC_RUN_ID" in os.environ or STARTED in os.environ
    return runtime.launcher != "none" and not started


def start_processes(runtime: RuntimeParams, module: str, root: Path) -> None:
    """Run `python -m module` in as many processes as params.yaml says, and wait for them."""
    # the launcher's command
    if runtime.launcher == "pytorch":
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        command += [f"--nproc-per-node={runtime.processes}", "-m", module]
    else:
        command = ["srun", f"--ntasks={runtime.processes}", "--kill-on-bad-exit=1"]
        command += [sys.executable, "-m", module]

    # start it
    print(f"starting {runtime.processes} processes by {runtime.launcher}", flush=True)
    environment = os.environ | {STARTED: "1", "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    ignore = runtime.launcher == "pytorch"  # which would end in three tracebacks
    try:
        process = subprocess.Popen(
            command, cwd=root, env=environment, preexec_fn=ignore_interrupts if ignore else None
        )
    except FileNotFoundError:
        raise RuntimeError(
            f"params.yaml: runtime.launcher is {runtime.launcher}, but there is no {command[0]} here. "
            "Set runtime.launcher to none or pytorch."
        ) from None

    # wait for it, and leave nothing running
    try:
        code = process.wait()
    except KeyboardInterrupt:
        if runtime.launcher == "pytorch":
            kill_all(psutil.Process(process.pid))
        else:
            process.terminate()  # srun ends its tasks, on other machines too
            process.wait()
        print("\ninterrupted: `dvc repro` resumes after the last complete epoch", flush=True)
        sys.exit(130)
    if code:
        sys.exit(code if code > 0 else 128 - code)


def ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def kill_all(process: psutil.Process) -> None:
    """The process and all that it started: a run loses no more by it than the epoch it is in."""
    descendants = process.children(recursive=True)
    for each in (process, *descendants):
        with suppress(psutil.NoSuchProcess):
            each.kill()
    psutil.wait_procs([process, *descendants])


def rank() -> int:
    """The number of this process among those that train together; 0 writes."""
    name = "SLURM_PROCID" if STARTED in os.environ and "RANK" not in os.environ else "RANK"
    return int(os.environ.get(name, 0))


def join_processes(runtime: RuntimeParams, device: str) -> None:
    """Wait for the other processes; afterwards all see the same files.

    On GPUs mmengine does it, when it builds the Runner.
    """
    alone = runtime.launcher == "none" or device == "cuda"
    if not alone and not torch.distributed.is_initialized():
        torch.distributed.init_process_group("gloo")
