"""Frogs from above, head up."""

import numpy as np

from bioclip_jax.datasets.tree_of_life_mini import curves, palette
from bioclip_jax.datasets.tree_of_life_mini.canvas import Canvas


def draw_frog(canvas: Canvas, frog) -> None:
    """Draw a frog; traits: width, leg and toe measures, colors of body and legs, marks, snout.

    Females are broader than males; juveniles have a larger head and eyes and shorter legs.
    """
    broad = frog.size("broad") * (0.94 if frog.male else 1.07)
    legs = frog.size("legs") * (0.85 if frog.juvenile else 1.0)
    tone, limb = frog.color("body"), frog.color("limb", frog.trait("body"))
    _hind_legs(canvas, frog, broad, legs, limb)
    _fore_legs(canvas, frog, broad, limb)
    _trunk(canvas, frog, broad, tone)
    for side in (-1, 1):
        _eye(canvas, frog, side, broad, tone)


def _limb(canvas, frog, line, widths, tone):
    """One leg with its bands or spots."""
    line = curves.path(line)
    outline = curves.ribbon(
        line, np.interp(np.linspace(0, 1, len(line)), np.linspace(0, 1, len(widths)), widths)
    )
    with canvas.part(outline, tone, relief=0.5, radius=0.1) as part:
        if band := frog.trait("leg_bands", ()):
            along = np.gradient(line, axis=0)[2:-2:4]
            normal = 0.15 * np.stack([-along[:, 1], along[:, 0]], 1) / (np.hypot(*along.T)[:, None] + 1e-9)
            middle = line[2:-2:4]
            part.strokes(list(np.stack([middle - normal, middle + normal], 1)), frog.wear(band), 0.045)
        if spot := frog.trait("leg_spots", ()):
            jitter = frog.rng.uniform(-0.05, 0.05, (len(line), 2))
            part.dots((line + jitter)[::2], 0.034, frog.wear(spot))


def _toes(canvas, frog, ends, tone, length, spread, pads):
    lines = [
        [end, end + length * np.array([np.cos(a), np.sin(a)])]
        for end, angle in ends
        for a in np.radians(angle + np.array(spread))
    ]
    canvas.strokes(lines, palette.shade(tone, 0.9), 0.032)
    if pads:
        canvas.flat([curves.ellipse(*line[1], 0.030, count=12) for line in lines], palette.shade(tone, 0.95))


def _hind_legs(canvas, frog, broad, legs, tone):
    sway = 0.06 * frog.rng.standard_normal(4)
    ends = []
    thick = frog.trait("thigh", 0.24)
    for side in (-1, 1):
        k = 0 if side < 0 else 2
        hip = np.array([side * 0.24 * broad, 0.48])
        knee = hip + np.array([side * (0.42 * legs + sway[k]), -0.20 * legs + sway[k + 1]])
        heel = hip + np.array([side * 0.14 * legs, 0.26 * legs])
        foot = heel + np.array([side * 0.42 * legs, 0.10 * legs])
        _limb(canvas, frog, [heel, curves.between(heel, foot, 0.5), foot], [0.09, 0.085, 0.07], tone)
        ends.append((foot, 20 if side > 0 else 160))
        _limb(
            canvas,
            frog,
            [knee, curves.between(knee, heel, 0.5) + (side * 0.02, 0.03), heel],
            [0.6 * thick, 0.62 * thick, 0.09],
            tone,
        )
        _limb(
            canvas,
            frog,
            [hip - (side * 0.06, 0.02), curves.between(hip, knee, 0.5) + (0, 0.03), knee],
            [0.8 * thick, thick, 0.55 * thick],
            tone,
        )
    _toes(canvas, frog, ends, tone, 0.20 * legs, (-45, -15, 15, 45), frog.trait("pads", False))


def _fore_legs(canvas, frog, broad, tone):
    ends = []
    for side in (-1, 1):
        s = 0.04 * frog.rng.standard_normal()
        shoulder = np.array([side * 0.28 * broad, -0.22])
        elbow = shoulder + np.array([side * 0.24, 0.10 + s])
        hand = elbow + np.array([side * 0.06, -0.24 + s])
        _limb(canvas, frog, [shoulder, elbow, hand], [0.15, 0.12, 0.085], tone)
        ends.append((hand, -90 + side * 15))
    _toes(canvas, frog, ends, tone, 0.13, (-42, -14, 14, 42), frog.trait("pads", False))


def _trunk(canvas, frog, broad, tone):
    snout = frog.trait("snout", 0.0)
    head = 1.10 if frog.juvenile else 1.0
    right = [
        (0, -0.80 - snout),
        (0.14, -0.75 - 0.5 * snout),
        (0.29 * head, -0.54),
        (0.33 * broad * head, -0.32),
        (0.34 * broad, -0.05),
        (0.37 * broad, 0.24),
        (0.28 * broad, 0.50),
        (0.12, 0.62),
        (0, 0.63),
    ]
    outline = curves.smooth(np.concatenate([right, curves.mirror(right[1:-1])[::-1]]))
    with canvas.part(outline, tone, relief=0.55, radius=0.45) as trunk:
        if flank := frog.trait("flank", ()):
            trunk.edge(outline, frog.wear(flank), 0.10)
            trunk.soften(0.05)
        if blotches := frog.trait("blotches", ()):
            _blotches(trunk, frog, blotches, broad)
        for mark in frog.trait("marks", ()):
            _mark(trunk, frog, mark, broad)
        if frog.trait("ridges", ()):
            ridge = curves.path([(0.20, -0.50), (0.25 * broad, -0.1), (0.22 * broad, 0.30), (0.14, 0.54)])
            trunk.strokes([ridge, curves.mirror(ridge)], frog.color("ridges"), 0.035)
        trunk.mottle(frog.rng, frog.trait("rough", 0.08), 0.04)
        lx = canvas.light[0]
        trunk.gloss(0.16 * lx, -0.18, 0.07, 0.20, frog.trait("shine", 0.3))


def _blotches(part, frog, blotches, broad):
    """Irregular blotches at rough positions, different in each individual."""
    rng, tone = frog.rng, frog.wear(blotches["color"])
    for x, y, r in blotches["at"]:
        for side in (-1, 1) if x else (1,):
            x2, y2 = side * x * broad + 0.02 * rng.standard_normal(), y + 0.03 * rng.standard_normal()
            shape = curves.blob(rng, x2, y2, r * rng.uniform(0.85, 1.15), blotches.get("rough", 0.3))
            if "ring" in blotches:
                part.fill([(shape - (x2, y2)) * 1.35 + (x2, y2)], frog.wear(blotches["ring"]))
            part.fill([shape], tone)


def _mark(part, frog, mark, broad):
    """A `band` along a line on both sides of the back (once with `middle = true`)."""
    at = np.reshape(mark["at"], (-1, 2)) * (broad, 1) + 0.015 * frog.rng.standard_normal((len(mark["at"]), 2))
    lines = [curves.path(at)] if mark.get("middle") else [curves.path(at), curves.path(curves.mirror(at))]
    part.strokes(lines, frog.wear(mark["color"]), mark["width"] * (1 + 0.1 * frog.rng.standard_normal()))


def _eye(canvas, frog, side, broad, tone):
    size = 0.095 * (1.25 if frog.juvenile else 1.0)
    x, y = side * 0.235, -0.55
    canvas.fill(curves.ellipse(x, y, size, 1.15 * size), palette.shade(tone, 0.92), relief=0.6, radius=0.08)
    canvas.flat(
        [curves.ellipse(x + side * 0.03, y - 0.01, 0.62 * size, 0.78 * size)],
        frog.color("iris", (60, 44, 30)),
    )
    canvas.flat([curves.ellipse(x + side * 0.04, y - 0.01, 0.38 * size, 0.5 * size)], (14, 12, 12))
    canvas.flat([curves.ellipse(x + side * 0.02, y - 0.04, 0.16 * size, count=10)], (245, 245, 245))
