"""Drawn images of fruit: shaded, varied, on cluttered grounds, and the same bytes on every machine.

Only operations that IEEE 754 rounds exactly are used (+ - * / sqrt, comparisons), on float64, and
generators seeded by hashes: no sine, no power, no matrix product, no sum whose order a CPU may choose.

A fruit is a body of revolution: at height v along its axis it is as wide as the square root of a profile
q(v). That gives its outline, its depth and its normals, hence light and shade. A cut is a flat disc.
Lengths are shares of the image's shorter side, colours are RGB in [0, 1].
"""

import numpy as np

from stages.core.drawing.canvas import (
    Canvas,
    Colour,
    Pose,
    Profile,
    between,
    direction,
    disc,
    draw_body,
    draw_leaf,
    draw_shadow,
    draw_stem,
    mix,
    noise,
    smooth_step,
    waves,
)


def sphere(v: np.ndarray) -> np.ndarray:
    return 1 - v * v


def draw_fruit(canvas: Canvas, kind: str) -> None:
    """One fruit, or several, or a heap; big enough to be the subject."""
    random = canvas.random
    many = random.random()
    count = (
        1 if many < 0.45 else int(random.integers(2, 5)) if many < 0.85 else int(random.integers(6, 11))
    )
    size = between(random, 0.24, 0.42) / (1, 1.3, 1.5, 1.6, 1.7, 1.9, 2, 2.1, 2.2, 2.3)[count - 1]
    spread = 0.08 if count == 1 else 0.34
    x, y = between(random, -0.08, 0.08), between(random, -0.05, 0.1)
    places = [
        (x + between(random, -spread, spread), y + between(random, -spread, spread))
        for _ in range(count)
    ]
    ripeness = random.random()
    for place in sorted(places, key=lambda place: place[1]):
        own = size * between(random, 0.85, 1.15)
        ripe = min(max(ripeness + between(random, -0.2, 0.2), 0), 1)
        steep = 0.35 if random.random() < 0.6 else 1.0
        pose = Pose(*place, own, direction(random, steep))
        FRUITS[kind](canvas, pose, ripe)


def blotches(canvas: Canvas, cells: int) -> np.ndarray:
    return noise(canvas.random, canvas.height, canvas.width, cells, cells)


def apple(canvas: Canvas, pose: Pose, ripe: float) -> None:
    random = canvas.random
    red, green, gold = (0.72, 0.08, 0.10), (0.50, 0.68, 0.18), (0.88, 0.70, 0.25)
    ground = green if ripe < 0.45 else gold
    blush = smooth_step(0.2, 0.8, blotches(canvas, 5) * 0.5 + ripe - 0.25)
    if random.random() < 0.25:
        cut_with_core(canvas, pose, (0.95, 0.90, 0.72), red if ripe > 0.5 else green)
        return

    def q(v: np.ndarray) -> np.ndarray:
        return 1.08 * (1 - v * v) * np.maximum(1.02 - 0.16 * v, 0.1)

    def skin(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        streaks = 0.3 * waves(u * 9 + 0.5 * blotches(canvas, 6))
        dip = smooth_step(0.22, 0.0, u * u * 1.5 + (v + 0.86) * (v + 0.86) * 5)
        return mix(ground, red, np.clip(blush - streaks * blush, 0, 1)) * (1 - 0.7 * dip)[:, :, None]

    draw_body(canvas, pose, q, skin, 0.5, 0.05)
    cos, sin = pose.turn
    top = (pose.x + 0.85 * pose.size * sin, pose.y - 0.85 * pose.size * cos)
    end = (top[0] + pose.size * between(random, -0.15, 0.3), top[1] - 0.32 * pose.size)
    draw_stem(canvas, top, end, 0.05 * pose.size + 0.004)


def cut_with_core(canvas: Canvas, pose: Pose, flesh: Colour, skin: Colour) -> None:
    draw_shadow(canvas, pose)
    alpha, u, v, distance = disc(canvas, pose, between(canvas.random, 0.75, 1.0))
    core = smooth_step(0.12, 0.05, u * u * 1.6 + v * v)
    colour = mix(flesh, (0.80, 0.72, 0.45), 0.5 * core + 0.2 * blotches(canvas, 6))
    colour = mix_over(colour, skin, smooth_step(0.86, 0.93, distance))
    for side in (-1, 1):
        seed = (u - 0.1 * side) * (u - 0.1 * side) * 5 + v * v
        colour = mix_over(colour, (0.22, 0.11, 0.05), smooth_step(0.022, 0.012, seed))
    canvas.lay(alpha, colour * (0.75 + 0.35 * canvas.ambient), True)


def mix_over(colours: np.ndarray, other: Colour, share: np.ndarray) -> np.ndarray:
    return colours * (1 - share[:, :, None]) + np.asarray(other) * share[:, :, None]


def pear(canvas: Canvas, pose: Pose, ripe: float) -> None:
    base = mix((0.52, 0.66, 0.20), (0.85, 0.72, 0.25), ripe)
    rust, red = (0.55, 0.36, 0.16), (0.66, 0.20, 0.14)
    spots = smooth_step(0.62, 0.9, blotches(canvas, 30))
    blush = smooth_step(0.55, 0.9, blotches(canvas, 3)) * (0.7 if canvas.random.random() < 0.4 else 0.1)

    def q(v: np.ndarray) -> np.ndarray:
        t = np.clip((v + 1) / 2, 0, 1)
        neck = 0.48 + 0.44 * smooth_step(0.2, 0.85, t)
        return (1 - v * v) * neck * neck * 1.05

    def skin(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        return mix_over(mix(tuple(base), rust, 0.6 * spots), red, blush)

    draw_body(canvas, pose, q, skin, 0.3, 0.04)
    cos, sin = pose.turn
    top = (pose.x + 0.95 * pose.size * sin, pose.y - 0.95 * pose.size * cos)
    end = (
        top[0] + pose.size * (0.4 * sin + between(canvas.random, -0.1, 0.15)),
        top[1] - 0.35 * pose.size * cos,
    )
    draw_stem(canvas, top, end, 0.045 * pose.size + 0.003)


def banana(canvas: Canvas, pose: Pose, ripe: float) -> None:
    random = canvas.random
    # one bent, tapered finger
    yellow = tuple(mix((0.62, 0.72, 0.22), (0.93, 0.78, 0.18), min(1.6 * ripe, 1)))
    spots = smooth_step(0.70, 0.85, blotches(canvas, 22)) * max(ripe - 0.4, 0) * 1.6
    bend = (1 if random.random() < 0.5 else -1) * between(random, 0.28, 0.45)
    long = Pose(pose.x, pose.y, pose.size * 1.25, direction(random), bend)

    def q(v: np.ndarray) -> np.ndarray:
        taper = np.clip(1 - v * v * v * v, -1, 1)
        return 0.052 * taper + 0.006 * (v < 0) * np.clip(1.15 + v, 0, 1) * (v > -1.15)

    def skin(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        tips = smooth_step(0.86, 0.97, np.abs(v))
        ridge = 0.18 * smooth_step(0.03, 0.0, np.abs(u - 0.08))
        return mix_over(
            mix_over(mix(yellow, (0.45, 0.3, 0.1), ridge), (0.32, 0.18, 0.06), spots),
            (0.25, 0.2, 0.08),
            tips,
        )

    # one to three of them, side by side
    number = int(random.integers(1, 4))
    for finger in range(number):
        shift = (finger - (number - 1) / 2) * 0.36 * pose.size
        cos, sin = long.turn
        own = Pose(
            long.x + shift * cos, long.y + shift * sin, long.size, long.turn, bend * (1 + 0.15 * finger)
        )
        draw_body(canvas, own, q, skin, 0.15, 0.03, shadow=finger == 0)


def round_citrus(
    canvas: Canvas, pose: Pose, peel: Colour, flesh: Colour, q: Profile, cut: float
) -> None:
    """Whole, or cut across with its segments."""
    # whole
    if canvas.random.random() >= cut:
        spread = 0.35 * (blotches(canvas, 5) - 0.5)
        light, dark = mix(peel, (1.0, 0.9, 0.5), 0.2), mix(peel, (0.35, 0.3, 0.1), 0.25)
        draw_body(
            canvas,
            pose,
            q,
            lambda u, v: mix(tuple(dark), tuple(light), np.clip(0.6 + spread, 0, 1)),
            0.45,
            0.28,
        )
        return
    # cut: flesh, the walls of ten segments, pith, peel
    draw_shadow(canvas, pose)
    alpha, u, v, distance = disc(canvas, pose, between(canvas.random, 0.65, 1.0))
    pith = mix((0.97, 0.94, 0.82), flesh, 0.15)
    colour = mix(flesh, tuple(mix(flesh, (1, 1, 0.9), 0.5)), 0.7 * blotches(canvas, 14) * distance)
    step_cos, step_sin = 0.8090169943749475, 0.5877852522924731  # a tenth of a turn
    cos, sin = direction(canvas.random)
    for _ in range(10):
        beside, ahead = np.abs(u * sin - v * cos), u * cos + v * sin
        wall = smooth_step(0.045, 0.015, beside) * (ahead > 0)
        colour = mix_over(colour, tuple(pith), wall)
        cos, sin = cos * step_cos - sin * step_sin, sin * step_cos + cos * step_sin
    colour = mix_over(
        colour,
        tuple(pith),
        np.maximum(smooth_step(0.70, 0.78, distance), smooth_step(0.02, 0.008, distance)),
    )
    colour = mix_over(colour, peel, smooth_step(0.86, 0.93, distance))
    canvas.lay(alpha, colour * (0.75 + 0.35 * canvas.ambient), True)


def orange(canvas: Canvas, pose: Pose, ripe: float) -> None:
    peel = tuple(mix((0.93, 0.62, 0.12), (0.90, 0.40, 0.06), ripe))
    round_citrus(canvas, pose, peel, (0.96, 0.58, 0.14), lambda v: 1.02 * (1 - v * v), 0.35)


def pointed(v: np.ndarray) -> np.ndarray:
    """A lemon's outline: an ellipsoid with a nipple at each end."""
    body = 0.56 * (1 - 1.25 * v * v)
    return np.maximum(body, 0.045 * (1 - v * v * v * v))


def lemon(canvas: Canvas, pose: Pose, ripe: float) -> None:
    peel = tuple(mix((0.78, 0.80, 0.22), (0.95, 0.82, 0.15), ripe))
    round_citrus(canvas, pose, peel, (0.95, 0.90, 0.52), pointed, 0.3)


def lime(canvas: Canvas, pose: Pose, ripe: float) -> None:
    peel = tuple(mix((0.20, 0.45, 0.10), (0.66, 0.72, 0.20), 0.9 * ripe))
    small = Pose(pose.x, pose.y, pose.size * 0.9, pose.turn)
    round_citrus(
        canvas,
        small,
        peel,
        (0.74, 0.82, 0.40),
        lambda v: np.maximum(0.72 * (1 - v * v), 0.02 * (1.08 - v * v)),
        0.3,
    )


def peach(canvas: Canvas, pose: Pose, ripe: float) -> None:
    blush = smooth_step(0.25, 0.85, 0.6 * blotches(canvas, 4) + 0.6 * ripe)
    crease = between(canvas.random, -0.3, 0.3)

    def skin(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        line = smooth_step(0.09, 0.0, np.abs(u - crease * (1 - v * v))) * (v < 0.7)
        fuzz = 0.85 + 0.3 * blotches(canvas, 40)
        return mix((0.95, 0.72, 0.36), (0.80, 0.24, 0.18), blush) * (fuzz * (1 - 0.3 * line))[:, :, None]

    draw_body(canvas, pose, lambda v: 1.02 * (1 - v * v), skin, 0.05, 0.08)
    if canvas.random.random() < 0.35:
        leaf = Pose(
            pose.x + 0.5 * pose.size, pose.y - 0.9 * pose.size, 0.6 * pose.size, direction(canvas.random)
        )
        draw_leaf(canvas, leaf, (0.22, 0.45, 0.14), fruit=True)


def kiwi(canvas: Canvas, pose: Pose, ripe: float) -> None:
    if canvas.random.random() < 0.5:
        hair = mix((0.38, 0.27, 0.14), (0.60, 0.47, 0.28), 0.5 * blotches(canvas, 45) + 0.4 * ripe)
        draw_body(canvas, pose, lambda v: 0.66 * (1 - v * v), lambda u, v: hair, 0.04, 0.25)
        return
    draw_shadow(canvas, pose)
    alpha, u, v, distance = disc(canvas, pose, between(canvas.random, 0.7, 1.0))
    flesh = tuple(mix((0.48, 0.66, 0.14), (0.72, 0.74, 0.24), ripe))
    rays = mix(flesh, (0.82, 0.88, 0.55), 0.5 * blotches(canvas, 16))
    colour = mix_over(rays, (0.93, 0.93, 0.75), smooth_step(0.12, 0.04, distance))
    cos, sin = direction(canvas.random)
    step_cos, step_sin = 0.9510565162951535, 0.3090169943749474  # a twentieth of a turn
    for _ in range(20):
        radius = between(canvas.random, 0.38, 0.55)
        du, dv = u - radius * cos, v - radius * sin
        out, side = du * cos + dv * sin, dv * cos - du * sin
        colour = mix_over(
            colour, (0.10, 0.08, 0.05), smooth_step(0.0035, 0.0015, 0.35 * out * out + 1.4 * side * side)
        )
        cos, sin = cos * step_cos - sin * step_sin, sin * step_cos + cos * step_sin
    colour = mix_over(colour, (0.42, 0.30, 0.16), smooth_step(0.90, 0.95, distance))
    canvas.lay(alpha, colour * (0.75 + 0.35 * canvas.ambient), True)


def strawberry(canvas: Canvas, pose: Pose, ripe: float) -> None:
    red = tuple(mix((0.88, 0.30, 0.22), (0.74, 0.05, 0.09), ripe))
    pale = 0.5 * (1 - ripe)

    def skin(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        row = np.floor(v * 6)
        a, b = v * 6 - row - 0.5, u * 5 + 0.5 * (row - 2 * np.floor(row / 2))
        b = b - np.floor(b) - 0.5
        pips = smooth_step(0.05, 0.02, a * a * 0.6 + b * b * 1.6)
        colour = mix(red, (0.95, 0.85, 0.65), pale * smooth_step(-0.3, -1.0, v))
        return mix_over(colour, (0.92, 0.80, 0.35), 0.8 * pips)

    # the fruit, and five leaves on top
    draw_body(
        canvas, pose, lambda v: 0.62 * (1 - v * v) * np.maximum(1.02 - 0.62 * v, 0.1), skin, 0.5, 0.1
    )
    cos, sin = pose.turn
    top = (pose.x + 0.88 * pose.size * sin, pose.y - 0.88 * pose.size * cos)
    for _ in range(5):
        leaf = direction(canvas.random)
        at = (top[0] - 0.28 * pose.size * leaf[1], top[1] + 0.18 * pose.size * abs(leaf[0]) * 0.5)
        draw_leaf(
            canvas,
            Pose(*at, 0.38 * pose.size, leaf),
            (0.20, between(canvas.random, 0.42, 0.6), 0.14),
            True,
        )


def cherry(canvas: Canvas, pose: Pose, ripe: float) -> None:
    random = canvas.random
    red = tuple(mix((0.78, 0.10, 0.12), (0.28, 0.03, 0.07), ripe))
    knot = (
        pose.x + pose.size * between(random, -0.4, 0.4),
        pose.y - pose.size * between(random, 0.9, 1.3),
    )
    for side in (-1, 1) if random.random() < 0.7 else (0,):
        x = pose.x + 0.55 * side * pose.size * between(random, 0.8, 1.1)
        y = pose.y + pose.size * between(random, 0.15, 0.45)
        ball = Pose(x, y, 0.52 * pose.size, direction(random, 0.3))
        draw_body(
            canvas,
            ball,
            lambda v: 1.06 * (1 - v * v),
            lambda u, v: mix(red, (0.5, 0.05, 0.08), 0.4 * blotches(canvas, 5)),
            0.8,
        )
        draw_stem(canvas, (x, y - 0.45 * pose.size), knot, 0.03 * pose.size + 0.003)


def grape(canvas: Canvas, pose: Pose, ripe: float) -> None:
    random = canvas.random
    dark = random.random() < 0.55
    skin = tuple(
        mix((0.42, 0.10, 0.22), (0.20, 0.12, 0.30), ripe)
        if dark
        else mix((0.55, 0.68, 0.25), (0.80, 0.78, 0.40), ripe)
    )
    # shadow and stem
    berry = 0.24 * pose.size
    draw_shadow(canvas, pose)
    draw_stem(
        canvas,
        (pose.x, pose.y - 0.7 * pose.size),
        (pose.x + 0.1 * pose.size, pose.y - 1.25 * pose.size),
        0.05 * pose.size,
    )
    # berries in rows, each row one shorter
    for row in range(5):
        for column in range(5 - row):
            if random.random() < 0.12:
                continue
            x = pose.x + berry * (1.75 * (column - (4 - row) / 2) + between(random, -0.35, 0.35))
            y = pose.y + berry * (1.45 * row - 2.6 + between(random, -0.35, 0.35))
            bloom = 0.35 * blotches(canvas, 12)
            ball = Pose(x, y, berry * between(random, 0.9, 1.15), direction(random))
            draw_body(
                canvas,
                ball,
                lambda v: 0.9 * (1 - v * v),
                lambda u, v, bloom=bloom: mix(skin, (0.75, 0.75, 0.82), bloom),
                0.5,
                shadow=False,
            )


def watermelon(canvas: Canvas, pose: Pose, ripe: float) -> None:
    random = canvas.random
    rind, stripe = tuple(mix((0.45, 0.62, 0.28), (0.62, 0.74, 0.42), ripe)), (0.08, 0.26, 0.10)
    wobble = blotches(canvas, 7)
    # whole, with stripes
    if random.random() < 0.45:
        draw_body(
            canvas,
            pose,
            lambda v: 0.85 * (1 - v * v),
            lambda u, v: mix(
                rind,
                stripe,
                smooth_step(
                    0.35, 0.6, waves(2.4 * u / np.sqrt(np.maximum(1.05 - v * v, 0.05)) + 0.5 * wobble)
                ),
            ),
            0.35,
        )
        return
    # cut: flesh, 14 seeds, rind
    draw_shadow(canvas, pose)
    alpha, u, v, distance = disc(canvas, pose, between(random, 0.75, 1.0))
    if random.random() < 0.7:  # a slice: half a disc
        alpha = alpha * np.clip(v * (pose.size / canvas.pixel) + 0.5, 0, 1)
    colour = mix((0.88, 0.22, 0.22), (0.95, 0.45, 0.38), 0.7 * blotches(canvas, 10))
    for _ in range(14):
        cos, sin = direction(random)
        radius = between(random, 0.3, 0.7)
        du, dv = u - radius * cos, v - radius * sin
        out, side = du * cos + dv * sin, dv * cos - du * sin
        colour = mix_over(
            colour, (0.10, 0.06, 0.05), smooth_step(0.004, 0.002, 0.4 * out * out + 1.3 * side * side)
        )
    colour = mix_over(colour, (0.88, 0.90, 0.72), smooth_step(0.74, 0.82, distance))
    colour = mix_over(colour, stripe, smooth_step(0.88, 0.93, distance))
    canvas.lay(alpha, colour * (0.75 + 0.35 * canvas.ambient), True)


FRUITS = {
    "apple": apple,
    "banana": banana,
    "cherry": cherry,
    "grape": grape,
    "kiwi": kiwi,
    "lemon": lemon,
    "lime": lime,
    "orange": orange,
    "peach": peach,
    "pear": pear,
    "strawberry": strawberry,
    "watermelon": watermelon,
}
KINDS = tuple(FRUITS)
