"""A whole image: ground, clutter, one fruit, and what hides part of it."""

import hashlib
import io

import numpy as np
from PIL import Image

from stages.core.drawing.canvas import (
    Canvas,
    Colour,
    Pose,
    between,
    direction,
    disc,
    draw_body,
    draw_leaf,
    mix,
    noise,
    smooth_step,
    waves,
)
from stages.core.drawing.fruits import FRUITS, KINDS, draw_fruit, sphere

QUALITY = 85


def draw(kind: str, index: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """One image, (H, W, 3) uint8 RGB, and where its fruit can be seen, (H, W) bool.

    It depends on these three and on nothing else. Raises ValueError for an unknown kind.
    """
    if kind not in FRUITS:
        raise ValueError(f"no fruit is called {kind!r}; expected one of {', '.join(KINDS)}.")
    digest = hashlib.sha256(f"{seed}/{kind}/{index}".encode()).digest()
    random = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))
    canvas = Canvas(random, int(random.integers(136, 177)), int(random.integers(136, 177)))
    draw_ground(canvas)
    for _ in range(int(random.integers(0, 5))):
        draw_clutter(canvas)
    draw_fruit(canvas, kind)
    if random.random() < 0.45:
        draw_occluder(canvas)
    return develop(canvas), canvas.mask > 0.5


def encode(image: np.ndarray) -> bytes:
    """A JPEG without metadata. image: (H, W, 3) uint8 RGB."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=QUALITY, subsampling=2)
    return buffer.getvalue()


def draw_ground(canvas: Canvas) -> None:
    random, shape = canvas.random, (canvas.height, canvas.width)
    colour = GROUND_COLOURS[int(random.integers(len(GROUND_COLOURS)))]
    other = GROUND_COLOURS[int(random.integers(len(GROUND_COLOURS)))]
    x, y = np.broadcast_to(canvas.x, shape), np.broadcast_to(canvas.y, shape)
    cos, sin = direction(random)
    u, v = x * cos + y * sin, y * cos - x * sin
    pattern = int(random.integers(6))
    if pattern == 0:  # planks
        width = between(random, 0.12, 0.35)
        grain = noise(random, *shape, 40, 4) if random.random() < 0.5 else noise(random, *shape, 4, 40)
        share = 0.35 * grain + 0.25 * noise(random, *shape, 3, 3)
        share = share + 0.6 * (waves(u / width) > 0.94)
        base = mix((0.62, 0.43, 0.26), (0.25, 0.15, 0.08), np.clip(share, 0, 1))
    elif pattern == 1:  # tiles
        step = between(random, 0.2, 0.5)
        joints = np.maximum(
            smooth_step(0.93, 0.98, waves(u / step)), smooth_step(0.93, 0.98, waves(v / step))
        )
        base = (
            mix(colour, (0.75, 0.73, 0.7), joints)
            * (0.85 + 0.3 * noise(random, *shape, 6, 6))[:, :, None]
        )
    elif pattern == 2:  # checked cloth
        step = between(random, 0.1, 0.25)
        threads = 0.5 * (waves(u / step) > 0.5) + 0.5 * (waves(v / step) > 0.5)
        base = mix((0.93, 0.92, 0.88), colour, threads)
    elif pattern == 3:  # foliage
        patches = noise(random, *shape, 9, 9) * 0.6 + noise(random, *shape, 25, 25) * 0.4
        base = mix((0.08, 0.18, 0.06), (0.35, 0.55, 0.2), smooth_step(0.25, 0.8, patches))
    elif pattern == 4:  # a wall above a table
        edge = between(random, -0.2, 0.15)
        base = mix(colour, other, smooth_step(edge - 0.02, edge + 0.02, y + 0.1 * sin * x))
        base = base * (0.8 + 0.4 * noise(random, *shape, 4, 4))[:, :, None]
    else:  # plain, unevenly lit
        base = (
            mix(colour, other, smooth_step(-0.7, 0.7, u))
            * (0.9 + 0.2 * noise(random, *shape, 3, 3))[:, :, None]
        )
    canvas.pixels = base * 0.95


GROUND_COLOURS = [
    (0.85, 0.83, 0.78),
    (0.30, 0.32, 0.36),
    (0.55, 0.62, 0.70),
    (0.70, 0.30, 0.25),
    (0.35, 0.50, 0.40),
    (0.90, 0.75, 0.50),
    (0.45, 0.35, 0.55),
    (0.15, 0.15, 0.17),
    (0.80, 0.65, 0.60),
    (0.25, 0.42, 0.62),
]
TOY_COLOURS = [
    (0.80, 0.15, 0.12),
    (0.90, 0.75, 0.15),
    (0.30, 0.60, 0.20),
    (0.90, 0.50, 0.10),
    (0.35, 0.15, 0.40),
    (0.20, 0.40, 0.75),
    (0.85, 0.85, 0.80),
    (0.40, 0.28, 0.18),
]


def draw_clutter(canvas: Canvas) -> None:
    """A ball, a box, a leaf or a plate that is no fruit, in the colours of fruit."""
    random = canvas.random
    colour = TOY_COLOURS[int(random.integers(len(TOY_COLOURS)))]
    x, y = between(random, -0.6, 0.6), between(random, -0.6, 0.6)
    size = between(random, 0.06, 0.2)
    pose = Pose(x, y, size, direction(random))
    thing = int(random.integers(4))
    if thing == 0:
        draw_body(canvas, pose, sphere, lambda u, v: mix(colour, colour, 0 * u), 0.5, 0, False)
    elif thing == 1:
        draw_box(canvas, pose, between(random, 0.3, 1), colour)
    elif thing == 2:
        draw_leaf(canvas, pose, (between(random, 0.1, 0.4), between(random, 0.35, 0.6), 0.12))
    else:
        alpha, _, _, distance = disc(canvas, Pose(x, y, 1.8 * size, (1.0, 0.0)), between(random, 0.4, 1))
        rim = smooth_step(0.6, 0.7, distance)
        canvas.lay(alpha, mix((0.9, 0.9, 0.88), colour, rim) * (0.8 + 0.2 * rim)[:, :, None])


def draw_box(canvas: Canvas, pose: Pose, height: float, colour: Colour) -> None:
    u, v = pose.local(canvas)
    reach = pose.size / canvas.pixel
    alpha = np.clip((1 - np.abs(u)) * reach + 0.5, 0, 1) * np.clip(
        (height - np.abs(v)) * reach + 0.5, 0, 1
    )
    print_lines = 0.35 * (waves(v * 4) > 0.7) * (np.abs(u) < 0.7)
    canvas.lay(alpha, mix(colour, (0.95, 0.95, 0.92), print_lines) * (0.8 + 0.15 * u)[:, :, None])


def draw_occluder(canvas: Canvas) -> None:
    """Something in front of a part of the fruit: a leaf, a box, a price tag."""
    random = canvas.random
    side = 1 if random.random() < 0.5 else -1
    x, y = side * between(random, 0.12, 0.4), between(random, -0.3, 0.4)
    pose = Pose(x, y, between(random, 0.12, 0.26), direction(random))
    thing = int(random.integers(3))
    if thing == 0:
        draw_leaf(canvas, pose, (between(random, 0.1, 0.35), between(random, 0.3, 0.55), 0.1))
    elif thing == 1:
        draw_box(canvas, pose, between(random, 0.25, 0.6), TOY_COLOURS[int(random.integers(8))])
    else:
        draw_box(canvas, Pose(x, y, pose.size * 0.8, direction(random, 0.2)), 0.5, (0.95, 0.95, 0.9))


def develop(canvas: Canvas) -> np.ndarray:
    """Exposure, tint, a soft or a sharp lens, grain; (H, W, 3) uint8."""
    random = canvas.random
    pixels = canvas.pixels * np.asarray(canvas.tint) * between(random, 0.7, 1.15)
    for _ in range(int(random.integers(0, 3))):
        for axis in (0, 1):
            ahead, behind = np.roll(pixels, 1, axis), np.roll(pixels, -1, axis)
            pixels = 0.5 * pixels + 0.25 * (ahead + behind)
    grain = between(random, 0.01, 0.09)
    pixels = pixels + grain * (random.random(pixels.shape) + random.random(pixels.shape) - 1)
    return np.floor(np.clip(pixels, 0, 1) * 255 + 0.5).astype(np.uint8)
