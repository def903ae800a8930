"""Beetles from above: domed ladybirds and long-horned beetles."""

import numpy as np

from bioclip_jax.datasets.tree_of_life_mini import curves, palette
from bioclip_jax.datasets.tree_of_life_mini.canvas import Canvas


def draw_beetle(canvas: Canvas, beetle) -> None:
    """Draw a beetle, head up; traits: elytra size and color, marks (right elytron), pronotum, antennae."""
    young = beetle.juvenile
    width = beetle.size("width", spread=0.03) * (1.06 if young else 1.0) * (0.95 if beetle.male else 1.04)
    top, foot = beetle.trait("shoulder"), beetle.trait("rear") * (0.93 if young else 1.0)
    neck = beetle.size("neck_width", spread=0.03)
    _legs(canvas, beetle, width, top, foot)
    _antennae(canvas, beetle, top)
    _head(canvas, beetle, top, neck)
    _elytra(canvas, beetle, width, top, foot)


def _legs(canvas, beetle, width, top, foot):
    tone, thick = beetle.color("leg", (34, 30, 28)), beetle.trait("leg_width", 0.05)
    sway = 0.05 * beetle.rng.standard_normal(6)
    reach = beetle.trait("leg_reach", 0.3)
    lines = []
    for k, (y, dy) in enumerate(
        ((top + 0.02, -0.26), ((top + foot) * 0.42, 0.02), (top + 0.62 * (foot - top), 0.30))
    ):
        for side, s in ((-1, sway[k]), (1, sway[k + 3])):
            knee = (side * (width * 0.9 + 0.45 * reach), y + 0.5 * dy + s)
            end = (side * (width * 0.85 + reach), y + 1.2 * dy + s)
            lines.append(np.array([(side * 0.4 * width, y), knee, end]))
    canvas.strokes(lines, tone, thick)
    canvas.strokes(
        [line[1:] for line in lines],
        palette.mix(tone, beetle.wear(beetle.trait("leg_band", tone)), 0.8),
        0.6 * thick,
    )


def _antennae(canvas, beetle, top):
    tone = beetle.color("antenna", (40, 34, 30))
    long = beetle.trait("antenna_length") * (1.0 if beetle.male else 0.8)
    start = top - beetle.trait("neck") - 0.6 * beetle.trait("head_size")
    curl = beetle.size("antenna_curl", 1.0, 0.15)
    for side in (-1, 1):
        line = curves.path(
            [
                (side * 0.07, start),
                (side * (0.10 + 0.34 * long * curl), start - 0.16 * long),
                (side * (0.12 + 0.56 * long * curl), start + 0.32 * long),
                (side * (0.12 + 0.60 * long * curl), start + 0.80 * long),
            ][: 4 if long > 0.5 else 2]
        )
        canvas.strokes([line], tone, beetle.trait("antenna_width", 0.03))
        if band := beetle.trait("antenna_band", ()):
            canvas.strokes(
                [line[i : i + 2] for i in range(1, len(line) - 1, 4)],
                beetle.wear(band),
                beetle.trait("antenna_width", 0.03),
            )


def _head(canvas, beetle, top, neck):
    length, size = beetle.trait("neck"), beetle.trait("head_size") * (1.12 if beetle.juvenile else 1.0)
    dark, pale = beetle.color("head", (30, 26, 26)), beetle.color("face", (238, 230, 212))
    with canvas.part(curves.ellipse(0, top - length, size, 0.8 * size), dark, relief=0.5, radius=0.1) as head:
        if beetle.trait("face", ()):
            head.dots(
                [(-0.5 * size, top - length - 0.3 * size), (0.5 * size, top - length - 0.3 * size)],
                0.25 * size,
                pale,
            )
    collar = beetle.color("pronotum", (34, 30, 30))
    outline = [
        (0, top - length),
        (0.55 * neck, top - 0.95 * length),
        (neck, top - 0.35 * length),
        (0.96 * neck, top + 0.06),
        (0, top + 0.12),
        (-0.96 * neck, top + 0.06),
        (-neck, top - 0.35 * length),
        (-0.55 * neck, top - 0.95 * length),
    ]
    with canvas.part(curves.smooth(outline), collar, relief=0.5, radius=0.16) as pronotum:
        for mark in beetle.trait("collar_marks", ()):
            _mark(pronotum, beetle, mark, lambda x, y: (x * neck, top - length + y * length))
        if shine := beetle.trait("shine", 0.5):
            pronotum.gloss(
                0.4 * neck * canvas.light[0], top - 0.6 * length, 0.3 * neck, 0.15 * length, 0.6 * shine
            )


def _elytra(canvas, beetle, width, top, foot):
    tone = beetle.color("elytra")
    if beetle.trait("morphs", ()) and beetle.rng.random() < 0.5:
        morphs = beetle.trait("morphs")
        tone = palette.mix(tone, beetle.wear(morphs[beetle.rng.integers(len(morphs))]), 0.7)
    square, taper = beetle.trait("square", 0.85), beetle.trait("taper", 0.8)
    long = foot - top
    right = np.array(
        [
            (0, 0.0),
            (square * 0.6, 0.01),
            (square, 0.12),
            (1.0, 0.42),
            (taper, 0.76),
            (0.42 * taper + 0.1, 0.95),
            (0, 1.0),
        ]
    ) * (width, long) + (0, top)
    outline = curves.smooth(np.concatenate([right, curves.mirror(right[1:-1])[::-1]]))
    with canvas.part(outline, tone, relief=0.6, radius=0.45) as shell:
        if fade := beetle.trait("fade", ()):
            shell.gradient((0, top), (0, foot), beetle.wear(fade))
        for mark in beetle.trait("marks", ()):
            _mark(shell, beetle, mark, lambda x, y: (x * width, top + y * long))
        shell.strokes([[(0, top), (0, foot)]], palette.shade(tone, 0.4), 0.018)
        if ribs := beetle.trait("ribs", 0):
            xs = [s * width * (i + 0.5) / ribs for i in range(ribs) for s in (-1, 1)]
            shell.strokes([[(x, top + 0.05), (0.8 * x, foot)] for x in xs], palette.shade(tone, 0.75), 0.01)
        shell.mottle(beetle.rng, 0.06, 0.05)
        if shine := beetle.trait("shine", 0.5):
            lx = canvas.light[0]
            shell.gloss(0.42 * width * lx, top + 0.3 * long, 0.22 * width, 0.16 * long, shine, 20 * lx)


def _mark(part, beetle, mark, where):
    """A `spot`, `patch` or `band` on both sides; marks with `middle = true` are drawn once, on the seam."""
    rng = beetle.rng
    tone = beetle.wear(mark["color"])
    at = np.array([where(x, y) for x, y in np.reshape(mark["at"], (-1, 2))])
    at = at + 0.012 * rng.standard_normal(at.shape)
    sides = (at,) if mark.get("middle") else (at, curves.mirror(at))
    width = mark.get("width", 0.0) * (1 + 0.08 * rng.standard_normal())
    for points in sides:
        if mark["kind"] == "spot":
            if "ring" in mark:
                part.dots(points, 1.5 * width, beetle.wear(mark["ring"]))
            part.dots(points, width, tone)
        elif mark["kind"] == "patch":
            part.fill([curves.smooth(points, 4)], tone)
        elif mark["kind"] == "band":
            part.strokes([curves.path(points)], tone, width)
        else:
            raise ValueError(f"{beetle.species.name}: no beetle mark is called {mark['kind']!r}")
