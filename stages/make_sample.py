"""Draw the default dataset.

Reads   params.yaml: sample
Writes  data/sample/<class>/*.jpg          drawn images of fruit
        data/sample_masks/<class>/*.png    where the fruit is in each: white

    python -m stages.make_sample
"""

import sys
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from stages.core.drawing.fruits import KINDS
from stages.core.drawing.scene import draw, encode
from stages.core.files import together, whole_folder
from stages.core.layout import Layout
from stages.core.params import load_params


def main(root: Path = Path()) -> None:
    layout = Layout(root)
    params = load_params(layout.params)
    count = params.sample.images_per_class
    wanted = [(kind, index) for kind in KINDS for index in range(count)]
    workers = params.runtime.workers
    pool = ProcessPoolExecutor(workers) if workers else nullcontext()
    with (
        together(),
        whole_folder(layout.sample) as images,
        whole_folder(layout.sample_masks) as masks,
        pool,
    ):
        jobs = [(kind, index, params.sample.seed, images, masks) for kind, index in wanted]
        sizes = pool.map(draw_image, jobs, chunksize=8) if workers else map(draw_image, jobs)
        quiet = not sys.stderr.isatty()
        total = sum(tqdm(sizes, "drawing", len(jobs), unit="image", disable=quiet))
    print(
        f"{len(jobs)} images of {len(KINDS) if jobs else 0} kinds, {total / 1e6:.1f} MB "
        f"-> {layout.relative(layout.sample)}"
    )


def draw_image(job: tuple[str, int, int, Path, Path]) -> int:
    """Draw and write one image and its mask; returns the size of the JPEG in bytes."""
    kind, index, seed, images, masks = job
    image, mask = draw(kind, index, seed)
    content = encode(image)
    name = f"{kind}-{index:03d}"
    for parent in (images, masks):
        (parent / kind).mkdir(exist_ok=True)
    (images / kind / f"{name}.jpg").write_bytes(content)
    Image.fromarray(mask).save(masks / kind / f"{name}.png")
    return len(content)


if __name__ == "__main__":
    main()
