"""A canvas, light, and bodies of revolution on it."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

Colour = tuple[float, float, float]
Profile = Callable[[np.ndarray], np.ndarray]
Random = np.random.Generator


@dataclass
class Canvas:
    random: Random
    height: int
    width: int
    pixels: np.ndarray = field(init=False)  # (H, W, 3)
    mask: np.ndarray = field(init=False)  # (H, W), how much of a pixel is fruit

    def __post_init__(self):
        random = self.random
        self.pixels = np.zeros((self.height, self.width, 3))
        self.mask = np.zeros((self.height, self.width))
        side = min(self.height, self.width)
        self.x = (np.arange(self.width)[None, :] - self.width / 2) / side  # (1, W)
        self.y = (np.arange(self.height)[:, None] - self.height / 2) / side  # (H, 1)
        self.pixel = 1 / side
        light = (between(random, -0.8, 0.8), between(random, -0.9, -0.2), between(random, 0.5, 1.1))
        length = np.sqrt(light[0] * light[0] + light[1] * light[1] + light[2] * light[2])
        self.light = tuple(part / length for part in light)
        self.ambient = between(random, 0.3, 0.6)
        warm = between(random, -0.12, 0.12)
        self.tint = (1 + warm, 1.0, 1 - warm)

    def lay(self, alpha: np.ndarray, colour: np.ndarray, fruit: bool = False) -> None:
        """Put a colour over the image. alpha: (H, W) in [0, 1], colour: (H, W, 3) or three numbers."""
        over = alpha[:, :, None]
        self.pixels = self.pixels * (1 - over) + np.asarray(colour) * over
        self.mask = self.mask * (1 - alpha) + (alpha if fruit else 0)


def between(random: Random, low: float, high: float) -> float:
    return low + (high - low) * random.random()


def direction(random: Random, steepest: float = 1.0) -> tuple[float, float]:
    """A random unit vector (cos, sin) by the rational parametrisation; steepest 1 allows all."""
    t = between(random, -steepest, steepest)
    cos, sin = (1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)
    return (cos, sin) if steepest < 1 or random.random() < 0.5 else (-cos, -sin)


def mix(one: Colour, other: Colour, share: float | np.ndarray) -> np.ndarray:
    share = np.asarray(share)[..., None]
    return np.asarray(one) * (1 - share) + np.asarray(other) * share


def smooth_step(low: float, high: float, value: np.ndarray) -> np.ndarray:
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def noise(random: Random, height: int, width: int, cells_y: int, cells_x: int) -> np.ndarray:
    """(H, W) in [0, 1]: random values on a coarse grid, smoothly joined."""
    grid = random.random((cells_y + 2, cells_x + 2))
    ys, xs = np.arange(height) * (cells_y / height), np.arange(width) * (cells_x / width)
    iy, ix = np.floor(ys).astype(int), np.floor(xs).astype(int)
    fy, fx = smooth_step(0, 1, ys - iy)[:, None], smooth_step(0, 1, xs - ix)[None, :]
    top = grid[iy][:, ix] * (1 - fx) + grid[iy][:, ix + 1] * fx
    bottom = grid[iy + 1][:, ix] * (1 - fx) + grid[iy + 1][:, ix + 1] * fx
    return top * (1 - fy) + bottom * fy


def waves(value: np.ndarray) -> np.ndarray:
    """A triangle wave in [0, 1] of period 1."""
    part = value - np.floor(value)
    return np.abs(2 * part - 1)


@dataclass(frozen=True)
class Pose:
    x: float
    y: float
    size: float
    """Half the length of the axis."""
    turn: tuple[float, float]
    """Cosine and sine of the axis against the vertical."""
    bend: float = 0.0

    def local(self, canvas: Canvas) -> tuple[np.ndarray, np.ndarray]:
        """(u, v), (H, W) each: across and along the axis, in sizes; v is -1 at the top."""
        x, y = (canvas.x - self.x) / self.size, (canvas.y - self.y) / self.size
        cos, sin = self.turn
        u, v = x * cos + y * sin, y * cos - x * sin
        return u - self.bend * v * v, v


def outline(
    canvas: Canvas, pose: Pose, q: Profile
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """alpha, u, v and the slope q'(v) of a body; alpha is soft over one pixel."""
    u, v = pose.local(canvas)
    h = 1e-3
    slope = (q(v + h) - q(v - h)) / (2 * h)
    level = q(v) - u * u
    steep = np.sqrt(4 * u * u + slope * slope) + 1e-6
    alpha = np.clip(level / steep * (pose.size / canvas.pixel) + 0.5, 0, 1)
    return alpha, u, v, slope


def draw_body(
    canvas: Canvas,
    pose: Pose,
    q: Profile,
    skin: Callable[[np.ndarray, np.ndarray], np.ndarray],
    gloss: float = 0.4,
    rough: float = 0.0,
    fruit: bool = True,
    shadow: bool = True,
) -> None:
    """A shaded body of revolution. skin: (u, v) to colours (H, W, 3)."""
    if shadow:
        draw_shadow(canvas, pose)
    # the surface's normal, rough where it is asked for
    alpha, u, v, slope = outline(canvas, pose, q)
    depth = np.sqrt(np.maximum(q(v) - u * u, 0))
    cos, sin = pose.turn
    across, along = u, -slope / 2
    normal = [across * cos - along * sin, across * sin + along * cos, depth]
    if rough:
        shape = (canvas.height, canvas.width)
        cells = max(int(shape[0] / 4), 2)
        for axis in (0, 1):
            normal[axis] = normal[axis] + rough * (noise(canvas.random, *shape, cells, cells) - 0.5)
    length = np.sqrt(normal[0] * normal[0] + normal[1] * normal[1] + normal[2] * normal[2]) + 1e-6
    normal = [part / length for part in normal]
    # light, and what the surface reflects of it
    lx, ly, lz = canvas.light
    lit = np.maximum(normal[0] * lx + normal[1] * ly + normal[2] * lz, 0)
    rim = 0.75 + 0.25 * normal[2]
    shade = (canvas.ambient + (1.15 - canvas.ambient) * lit) * rim
    half = np.sqrt(lx * lx + ly * ly + (lz + 1) * (lz + 1))
    shine = np.maximum((normal[0] * lx + normal[1] * ly + normal[2] * (lz + 1)) / half, 0)
    for _ in range(4):
        shine = shine * shine
    colour = skin(u, v) * shade[:, :, None] + gloss * (shine * shine)[:, :, None]
    canvas.lay(alpha, colour, fruit)


def draw_shadow(canvas: Canvas, pose: Pose) -> None:
    lx, ly, _ = canvas.light
    x = (canvas.x - pose.x + 0.35 * lx * pose.size) / (1.25 * pose.size)
    y = (canvas.y - pose.y + (0.35 * ly - 0.15) * pose.size) / (1.15 * pose.size)
    near = np.maximum(1 - x * x - y * y, 0)
    canvas.pixels = canvas.pixels * (1 - 0.55 * near * (2 - near))[:, :, None]


def disc(
    canvas: Canvas, pose: Pose, squeeze: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """alpha, u, v and the squared distance from the centre of a flat cut; squeeze is its height."""
    u, v = pose.local(canvas)
    v = v / squeeze
    distance = u * u + v * v
    alpha = np.clip((1 - distance) / 2 * (pose.size * squeeze / canvas.pixel) + 0.5, 0, 1)
    return alpha, u, v, distance


def draw_stem(
    canvas: Canvas, start: tuple[float, float], end: tuple[float, float], width: float
) -> None:
    """A thin brown-green line, a little curved."""
    steps = 24
    green = between(canvas.random, 0.25, 0.45)
    sag = between(canvas.random, -0.15, 0.15)
    for step in range(steps):
        t = step / (steps - 1)
        bow = sag * t * (1 - t)
        x = start[0] * (1 - t) + end[0] * t + bow
        y = start[1] * (1 - t) + end[1] * t
        squared = (canvas.x - x) * (canvas.x - x) + (canvas.y - y) * (canvas.y - y)
        canvas.lay(
            np.clip((width * width - squared) / (width * canvas.pixel), 0, 1), (0.35, green, 0.15), True
        )


def draw_leaf(canvas: Canvas, pose: Pose, colour: Colour, fruit: bool = False) -> None:
    vein = mix(colour, (0.9, 0.95, 0.7), 0.35)

    def skin(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        ribs = np.maximum(1 - np.abs(u) * 22, 0) + 0.3 * np.maximum(
            1 - 6 * waves(4 * v - 3 * np.abs(u)), 0
        )
        return mix(colour, tuple(vein), np.clip(ribs, 0, 1))

    draw_body(
        canvas, pose, lambda v: 0.16 * (1 - v * v) * np.abs(1 - v * v), skin, 0.15, 0, fruit, False
    )
