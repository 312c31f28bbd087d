"""What loading costs training: epochs with it against as many steps on one batch, in one process.

    python benchmarks/training/loading.py --pairs 4

Prints the ratio of pictures a second of each pair, and their median. An epoch with loading stands
between two halves of an epoch without, so that a machine that becomes slower meanwhile changes little.
measure.py compares whole stages in processes of their own. Needs what `dvc repro` makes.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO))

import torch  # noqa: E402
from bare import network  # noqa: E402
from mmengine.optim import build_optim_wrapper  # noqa: E402
from mmengine.runner import Runner  # noqa: E402
from mmpretrain.utils import register_all_modules  # noqa: E402

from stages.core.layout import Layout  # noqa: E402
from stages.core.params import load_params  # noqa: E402
from stages.core.runtime import place, read_config, use_kernels  # noqa: E402


def main(pairs: int) -> None:
    layout = Layout(REPO)
    cfg = place(read_config(layout.rendered_config), REPO, load_params(layout.params).runtime, "cpu")
    use_kernels(cfg, "cpu")
    torch.use_deterministic_algorithms(True)

    register_all_modules()
    model = network(cfg)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
    batch = next(iter(loader))
    half = len(loader) // 2

    def rate(batches) -> float:
        pictures, start = 0, time.perf_counter()
        for data in batches:
            model.train_step(data, wrapper)
            pictures += len(data["inputs"])
        return pictures / (time.perf_counter() - start)

    rate([batch] * 5)
    rate(loader)
    ratios = []
    for epoch in range(pairs):
        loader.sampler.set_epoch(epoch)
        before, loaded, after = rate([batch] * half), rate(loader), rate([batch] * half)
        ratios.append(2 * loaded / (before + after))
    print("with loading / without:", *(f"{ratio:.2f}" for ratio in ratios))
    print(f"median {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=4)
    main(parser.parse_args().pairs)
