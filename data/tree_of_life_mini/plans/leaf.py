"""Leaves of broad-leaved trees: feather-lobed, hand-lobed, simple or made of leaflets."""

import numpy as np

from bioclip_jax.datasets.tree_of_life_mini import curves, palette
from bioclip_jax.datasets.tree_of_life_mini.canvas import Canvas

_AUTUMN = ((205, 160, 50), (200, 105, 40), (165, 60, 40), (130, 95, 55))


def draw_leaf(canvas: Canvas, leaf) -> None:
    """Draw a leaf; traits: form (pinnate, palmate, simple, compound), its measures, teeth and color.

    Young leaves are small and yellow-green; adult ones are anything from summer green to autumn.
    """
    rng = leaf.rng
    tone = leaf.color("green")
    if leaf.juvenile:
        tone = palette.mix(tone, (190, 200, 90), 0.45)
    elif rng.random() < 0.3:
        tone = palette.mix(tone, _AUTUMN[rng.integers(len(_AUTUMN))], rng.uniform(0.4, 1.0))
    _FORMS[leaf.trait("form")](canvas, leaf, palette.vary(rng, tone, 0.06))


def _stalk(canvas, leaf, start, tone, length=0.34):
    bend = 0.12 * leaf.rng.standard_normal()
    line = curves.path(
        [start, (start[0] + 0.3 * bend, start[1] + 0.5 * length), (start[0] + bend, start[1] + length)]
    )
    canvas.fill(
        curves.ribbon(line, np.linspace(0.045, 0.03, len(line))),
        palette.mix(tone, (150, 100, 60), 0.5),
        relief=0.5,
        radius=0.05,
    )


def _blade(canvas, leaf, outline, veins, tone, midribs):
    """One blade with its veins; the minor ones are finer than the midribs."""
    with canvas.part(outline, tone, relief=0.4, radius=0.16) as blade:
        low, high = outline.min(0), outline.max(0)
        blade.gradient((0, high[1]), (0, low[1]), palette.shade(tone, leaf.rng.uniform(0.75, 1.25)))
        blade.mottle(leaf.rng, 0.12, 0.09)
        pale = palette.mix(tone, (235, 230, 170), 0.45)
        dark = palette.shade(tone, 0.72)
        blade.strokes([line + (0.008, 0.01) for line in veins], dark, 0.012)
        blade.strokes(veins, pale, 0.012)
        blade.strokes([line + (0.01, 0.012) for line in midribs], dark, 0.022)
        blade.strokes(midribs, pale, 0.022)
        blade.edge(outline, palette.shade(tone, 0.8), 0.008)


def _pinnate(canvas, leaf, tone):
    """Feather-lobed, as in oaks: lobes along a midrib from base (y = 0.62) to tip (y = -0.85)."""
    lobes, depth, sharp = leaf.trait("lobes"), leaf.size("depth"), leaf.trait("sharp")
    width, top, foot = leaf.size("width"), -0.85, 0.60
    side, veins = [], []
    for i in range(lobes):
        t = (i + 0.6) / (lobes + 0.35)
        reach = (
            width
            * (np.sin(np.pi * min(1, 0.12 + 0.88 * t ** leaf.trait("belly", 0.8))) ** 0.7)
            * (1 + 0.06 * leaf.rng.standard_normal())
        )
        y, step = foot + (top - foot) * t, (foot - top) / (lobes + 0.35)
        lift = 0.55 * step
        out = np.array([reach, y - lift])
        bay = np.array([reach * (1 - depth), y - 0.52 * step])
        if sharp > 0.5:  # bristle-tipped lobes with side teeth
            side += [
                (reach * (1 - depth), y + 0.30 * step),
                (reach * 0.80, y + 0.02 * step),
                (reach * 0.82, y - 0.12 * step),
                out + (0.03, -0.02),
                (reach * 0.80, y - 0.34 * step),
                bay,
            ]
        else:
            side += [
                (reach * (1 - depth) * 1.02, y + 0.32 * step),
                (reach * 0.86, y + 0.10 * step),
                (reach * 1.02, y - 0.12 * step),
                (reach * 0.92, y - 0.36 * step),
                bay,
            ]
        veins += [
            np.array([(0, y + 0.30 * step), out * (0.9, 1)]),
            np.array([(0, y + 0.30 * step), out * (-0.9, 1)]),
        ]
    side = np.array([(0.02, foot), *side, (0.30 * width * (1 - depth) + 0.05, top + 0.06)])
    control = np.concatenate([side, [(0, top)], curves.mirror(side)[::-1] * (leaf.rng.uniform(0.9, 1.1), 1)])
    outline = control if sharp > 0.5 else curves.smooth(control, 4)
    _stalk(canvas, leaf, (0, foot - 0.03), tone)
    _blade(canvas, leaf, outline, veins, tone, [np.array([(0, foot), (0, top)])])


def _palmate(canvas, leaf, tone):
    """Hand-lobed, as in maples: lobes radiate from the foot of the blade at (0, 0.38)."""
    angles = np.array(
        leaf.trait("angles"), float
    )  # degrees from straight up, right side, the middle lobe first
    reaches = np.array(leaf.trait("reaches"), float) * (1 + 0.04 * leaf.rng.standard_normal(len(angles)))
    breadth, bay, teeth = leaf.size("breadth"), leaf.size("bay"), leaf.trait("teeth", 0)
    foot = np.array([0.0, 0.38])
    side = []
    for i, (angle, reach) in enumerate(zip(angles, reaches)):
        half = breadth * reach
        lobe = [
            (0.62 * reach, -half),
            *_teeth(teeth, reach, half, -1),
            (reach, 0.0),
            *_teeth(teeth, reach, half, 1)[::-1],
            (0.62 * reach, half),
        ]
        lobe = lobe[len(lobe) // 2 :] if angle == 0 else lobe
        side += list(curves.transform(lobe, foot, angle - 90))
        if i + 1 < len(angles):
            between = (angle + angles[i + 1]) / 2
            side += list(curves.transform([(bay * min(reach, reaches[i + 1]), 0)], foot, between - 90))
    control = np.concatenate(
        [
            np.array(side),
            [(0.05, 0.42), (0, 0.36)],
            curves.mirror([(0.05, 0.42)]),
            curves.mirror(side)[::-1][:-1],
        ]
    )
    outline = curves.smooth(control, 3) if leaf.trait("soft", False) else control
    tips = [
        curves.transform([(0, 0), (0.9 * r, 0)], foot, s * a - 90)
        for a, r in zip(angles, reaches)
        for s in (1, -1)
    ]
    minor = []
    for a, r in zip(angles, reaches):
        for s in (1, -1):
            for t in (0.35, 0.55):
                start = curves.transform([(t * r, 0)], foot, s * a - 90)[0]
                minor += [
                    np.stack([start, start + curves.transform([(0.3 * r, 0)], (0, 0), s * a - 90 + turn)[0]])
                    for turn in (-38, 38)
                ]
    _stalk(canvas, leaf, (0, 0.36), tone, 0.5)
    _blade(canvas, leaf, outline, minor, tone, tips)


def _teeth(count, reach, half, side):
    """Control points along one flank of a tapering lobe with forward teeth, from its waist to its tip."""
    points = []
    for i in range(count):
        t = 0.66 + 0.26 * i / max(count, 1)
        flank = half * (1 - (t - 0.62) / 0.38) ** 0.7
        points += [
            ((t + 0.05) * reach, side * (flank + 0.075 * reach)),
            ((t + 0.09) * reach, side * 0.72 * flank),
        ]
    return points


def _simple(canvas, leaf, tone):
    """Undivided, with side veins that run straight to the margin."""
    _stalk(canvas, leaf, (0, 0.70), tone, 0.22)
    _leaflet(canvas, leaf, tone, (0, 0.72), -90, leaf.size("length"), leaf.size("width"))


def _compound(canvas, leaf, tone):
    """Leaflets spread like fingers from the end of the stalk."""
    foot, count = (0, 0.30), leaf.trait("leaflets")
    _stalk(canvas, leaf, foot, tone, 0.55)
    fan = leaf.trait("fan", 75.0)
    for k in sorted(range(count), key=lambda k: -abs(k - (count - 1) / 2)):
        share = 2 * k / (count - 1) - 1
        length = leaf.size("length") * (1 - 0.35 * abs(share))
        _leaflet(
            canvas,
            leaf,
            palette.vary(leaf.rng, tone, 0.04),
            foot,
            -90 + fan * share,
            length,
            leaf.size("width"),
        )


def _leaflet(canvas, leaf, tone, foot, angle, length, width):
    belly, tip, teeth = leaf.trait("belly", 0.5), leaf.trait("tip", 0.15), leaf.trait("teeth", 0)
    outline = curves.petal(length, width, tip, belly)
    if teeth:
        along = outline[:, 0] / length
        wave = np.abs((along * teeth) % 1.0 - 0.5)
        outline = outline * np.stack([np.ones_like(wave), 0.9 + 0.28 * wave], 1)
        outline[:, 0] += 0.05 * width * (wave - 0.25)
    rows = np.linspace(0.12, 0.82, leaf.trait("veins", 7))
    lines = [
        curves.transform([(t * length, 0), ((t + 0.16) * length, s * 0.5 * width)], foot, angle)
        for t in rows
        for s in (-1, 1)
    ]
    midrib = curves.transform([(0, 0), (0.96 * length, 0)], foot, angle)
    _blade(canvas, leaf, curves.transform(outline, foot, angle), lines, tone, [midrib])


_FORMS = {"pinnate": _pinnate, "palmate": _palmate, "simple": _simple, "compound": _compound}
