"""Flowers face on: rays and discs of daisies, five petals of roses and cherries."""

import numpy as np

from bioclip_jax.datasets.tree_of_life_mini import curves, palette
from bioclip_jax.datasets.tree_of_life_mini.canvas import Canvas


def draw_flower(canvas: Canvas, flower) -> None:
    """Draw a flower with stem and leaves; traits: petals, rows, length, width, tip, notch, disc and colors.

    Juveniles are opening buds: short, cupped petals around a large green-tinged center.
    """
    rng = flower.rng
    length = flower.size("length") * (0.66 if flower.juvenile else 1.0)
    disc = flower.size("disc") * (1.08 if flower.juvenile else 1.0)
    tilt = np.array([1.0, rng.uniform(0.82, 1.0)])
    center = np.array([0.0, flower.trait("rise", -0.12)])
    _stem(canvas, flower, center)
    if flower.trait("sepals", ()):
        _sepals(canvas, flower, center, disc + length, tilt)
    turn = rng.uniform(0, 360)
    rows = flower.trait("rows", 1)
    for row in range(rows):
        _ring(
            canvas,
            flower,
            center,
            disc,
            length * (1 - 0.24 * row),
            turn + row * 180 / flower.trait("petals"),
            row,
            tilt,
        )
    _center(canvas, flower, center, disc, tilt)


def _stem(canvas, flower, center):
    green = palette.vary(flower.rng, flower.trait("leaf_color", (92, 128, 62)), 0.08)
    bend = 0.18 * flower.rng.standard_normal()
    line = curves.path([center, (0.3 * bend, 0.4), (bend, 1.05)])
    canvas.fill(curves.ribbon(line, flower.trait("stem", 0.07)), green, relief=0.5, radius=0.08)
    for side in (-1, 1):
        long = flower.size("leaf_length", 0.42, 0.12)
        outline = curves.transform(
            curves.petal(long, flower.trait("leaf_width", 0.2), flower.trait("leaf_tip", 0.1)),
            (0.5 * bend, 0.66 + 0.08 * side),
            -90 + side * (58 + 10 * flower.rng.standard_normal()),
        )
        with canvas.part(outline, palette.shade(green, 0.95), relief=0.45, radius=0.1) as leaf:
            leaf.strokes([[outline[0], outline[len(outline) // 2]]], palette.shade(green, 1.35), 0.014)


def _sepals(canvas, flower, center, reach, tilt):
    tone, count = flower.color("sepals"), flower.trait("petals")
    shape = curves.petal(reach * flower.trait("sepal_length", 0.95), 0.13, 0.05)
    canvas.flat(
        [curves.transform(shape, (0, 0), 360 * (i + 0.5) / count) * tilt + center for i in range(count)], tone
    )


def _ring(canvas, flower, center, disc, length, turn, row, tilt):
    """One whorl; every other petal is drawn first, so that neighbors overlap."""
    rng, count = flower.rng, flower.trait("petals")
    width, tip, belly, notch = (
        flower.size("width"),
        flower.trait("tip", 0.5),
        flower.trait("belly", 0.6),
        flower.trait("notch", 0.0),
    )
    tone = palette.shade(flower.color("petal"), 1 - 0.07 * row)
    root = flower.wear(flower.trait("petal_root")) if flower.trait("petal_root", ()) else None
    tips = flower.wear(flower.trait("petal_tip")) if flower.trait("petal_tip", ()) else None
    droop = flower.trait("droop", 0.0)
    relief = 0.42 if count <= 8 else 0.3
    for i in [*range(0, count, 2), *range(1, count, 2)]:
        angle = turn + 360 * i / count + rng.uniform(-1, 1) * flower.trait("scatter", 3.0)
        long = 0.85 * disc + length * rng.uniform(0.93, 1.05)
        outline = (
            curves.transform(
                curves.petal(long, width * rng.uniform(0.94, 1.06), tip, belly, notch), (0, 0), angle
            )
            * tilt
            + center
        )
        if droop:
            outline[:, 1] += droop * np.clip(np.hypot(*(outline - center).T) - disc, 0, None)
        own = palette.shade(tone, rng.uniform(0.93, 1.05))
        if count > 12:  # many narrow rays need no shading of their own
            canvas.flat([outline], own, rim=palette.shade(own, 0.72))
            if root is not None:
                canvas.flat([center + (outline - center) * 0.56], root)
            continue
        end = curves.transform([(long, 0.0)], (0, 0), angle)[0] * tilt + center
        with canvas.part(outline, own, relief=relief, radius=0.14) as petal:
            if root is not None:
                petal.gradient(curves.between(center, end, flower.trait("root_reach", 0.6)), center, root)
            if tips is not None:
                petal.gradient(curves.between(center, end, 0.72), end, tips)
            veins = [
                [center, curves.transform([(long, s * width)], (0, 0), angle)[0] * tilt + center]
                for s in (-0.3, -0.1, 0.1, 0.3)
            ]
            petal.strokes(veins, palette.shade(own, 0.9), 0.01)


def _center(canvas, flower, center, disc, tilt):
    rng, tone = flower.rng, flower.color("disc_color")
    if flower.juvenile:
        tone = palette.mix(tone, (150, 165, 80), 0.4)
    high = flower.trait("cone", 1.0)
    outline = curves.ellipse(0, 0, disc, disc) * tilt * (1, high) + center - (0, disc * (high - 1) * 0.6)
    with canvas.part(outline, tone, relief=0.6, radius=0.25) as part:
        if eye := flower.trait("disc_eye", ()):
            part.dots(center, 0.5 * disc, flower.wear(eye))
        k = np.arange(flower.trait("florets", 70))
        r, a = disc * np.sqrt((k + 0.5) / len(k)), 2.39996 * k
        spiral = np.stack([r * np.cos(a), r * np.sin(a)], 1) * tilt * (1, high) + outline.mean(0)
        size = 0.9 * disc / np.sqrt(len(k))
        part.dots(spiral + (0.25 * size, 0.3 * size), 0.8 * size, palette.shade(tone, 0.62))
        part.dots(spiral, 0.55 * size, palette.shade(tone, 1.18))
    if count := flower.trait("stamens", 0):
        reach = flower.size("stamen_reach", 0.24)
        angles, long = rng.uniform(0, 2 * np.pi, count), reach * rng.uniform(0.75, 1.1, count)
        ends = center + np.stack([np.cos(angles), np.sin(angles)], 1) * long[:, None] * tilt
        canvas.strokes([[center, end] for end in ends], flower.color("filament", (238, 226, 190)), 0.012)
        canvas.flat(
            [curves.ellipse(*end, 0.022, count=10) for end in ends], flower.color("anther", (222, 176, 60))
        )
