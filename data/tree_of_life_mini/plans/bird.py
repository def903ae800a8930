"""Small perching birds, from the side."""

import numpy as np

from bioclip_jax.datasets.tree_of_life_mini import curves, palette
from bioclip_jax.datasets.tree_of_life_mini.canvas import Canvas

# A beak 10 mm deep takes a fifth of the body, so that differences of millimeters are visible.
_UNITS_PER_MM = 0.0205


def draw_bird(canvas: Canvas, bird) -> None:
    """Draw a perching bird; traits: back, breast, belly, wing, head marks, beak_depth, beak_length in mm.

    The trait `perch` = False leaves the perch out.
    """
    rng = bird.rng
    back, belly, wing = bird.color("back"), bird.color("belly"), bird.color("wing")
    head = bird.size("head", 1.0, 0.03) * (1.12 if bird.juvenile else 1.0)
    plump = bird.size("plump", 1.0, 0.04) * (1.1 if bird.juvenile else 1.0) * (0.95 if bird.male else 1.06)
    center = np.array([0.36, -0.42])

    if rng.random() < 0.7 and bird.trait("perch", True):
        _perch(canvas, rng)
    _legs(canvas, bird)
    _tail(canvas, bird, back)

    r = 0.235 * head
    outline = curves.smooth(
        [
            center + (0.02, -r), center + (0.80 * r, -0.62 * r), center + (r, 0.05),
            center + (0.82 * r, 0.75 * r), (0.44, 0.05 * plump), (0.34, 0.30 * plump), (0.05, 0.47 * plump),
            (-0.28, 0.45), (-0.56, 0.36), (-0.54, 0.22), (-0.32, -0.06), (0.02, -0.30),
            center + (-0.85 * r, -0.35 * r),
        ]
    )  # fmt: skip
    with canvas.part(outline, back, relief=0.5, radius=0.4) as body:
        under = curves.smooth(
            [(0.75, -0.3), (0.42, -0.26), (0.20, -0.05), (-0.06, 0.22), (-0.5, 0.36), (-0.4, 0.8), (0.7, 0.8)]
        )
        body.fill([under], belly)
        breast = curves.smooth(
            [(0.75, -0.3), (0.42, -0.3), (0.16, -0.05), (0.10, 0.12), (0.4, 0.2), (0.75, 0.1)]
        )
        body.fill([breast], bird.color("breast", bird.trait("belly")))
        body.soften(0.07)
        _streaks(body, bird, back)
        _head(body, bird, center, r)
        if bird.trait("belly_stripe", ()):
            broad = bird.size("stripe_width", 0.09, 0.1) * (1.35 if bird.male else 0.7)
            stripe = curves.path([(0.58, -0.2), (0.42, 0.05), (0.25, 0.32), (0.0, 0.5)])
            body.strokes([stripe], bird.color("belly_stripe"), broad)
        body.mottle(rng, 0.12, 0.05)
    _wing(canvas, bird, wing)
    _beak(canvas, bird, center, r)
    _eye(canvas, bird, center + (0.42 * r, -0.18 * r))


def _perch(canvas, rng):
    y = 0.80
    line = curves.path(
        [(-0.9, y + rng.uniform(-0.06, 0.1)), (-0.2, y), (0.3, y), (0.95, y + rng.uniform(-0.1, 0.06))]
    )
    tone = palette.vary(rng, (112, 88, 66), 0.15)
    canvas.fill(curves.ribbon(line, rng.uniform(0.05, 0.1)), tone, relief=0.6, radius=0.06)


def _legs(canvas, bird):
    tone = bird.color("leg", (58, 50, 48))
    for x in (-0.02, 0.13):
        foot = (x + 0.06, 0.79)
        lines = [[(x, 0.40), (x - 0.03, 0.60), foot], [foot, (x + 0.17, 0.80)], [foot, (x - 0.05, 0.81)]]
        canvas.strokes(lines, tone, 0.03)


def _tail(canvas, bird, back):
    length = bird.size("tail", 0.45) * (1.12 if bird.male else 0.92)
    tip = curves.between((-0.42, 0.28), (-0.95, 0.62), length / 0.6)
    dark = palette.shade(palette.mix(back, bird.color("wing"), 0.7), 0.8)
    line = curves.path([(-0.35, 0.22), curves.between((-0.35, 0.22), tip, 0.5), tip])
    with canvas.part(curves.ribbon(line, np.linspace(0.16, 0.20, len(line))), dark, relief=0.4) as tail:
        tail.strokes([line, line + (0.02, 0.04)], palette.shade(dark, 0.6), 0.012)


def _streaks(body, bird, back):
    amount = bird.trait("streaks", 0.0)
    if not amount:
        return
    count = int(70 * amount)
    at = bird.rng.uniform((-0.35, -0.15), (0.55, 0.45), (count, 2))
    length = bird.rng.uniform(0.04, 0.08, (count, 1))
    lines = np.stack([at, at + length * (-0.55, 0.8)], 1)
    body.strokes(list(lines), palette.shade(back, 0.55), 0.02)


def _head(body, bird, center, r):
    if bird.trait("hood", ()):
        body.fill([curves.ellipse(*(center + (0.1, -0.02)), 1.5 * r, 1.32 * r, 15)], bird.color("hood"))
    if bird.trait("cap", ()):
        cap = [(-1.1, 0.3), (-0.9, -0.8), (0, -1.3), (1.1, -0.9), (1.2, -0.15), (0.4, -0.22)]
        body.fill([curves.smooth(center + np.array(cap) * r)], bird.color("cap"))
    if bird.trait("bib", ()):
        long = bird.trait("bib_length", 1.0)
        bib = [(1.3, 0.1), (0.55, 0.5), (0.1, 0.85), (-0.1, 1.3 * long), (0.9, 1.55 * long), (1.4, 1.1)]
        body.fill([curves.smooth(center + np.array(bib) * r)], bird.color("bib"))
    if bird.trait("cheek", ()):
        body.fill(
            [curves.ellipse(*(center + (-0.02 * r, 0.35 * r)), 0.62 * r, 0.42 * r, 12)], bird.color("cheek")
        )
    if bird.trait("nape", ()):
        body.fill(
            [curves.ellipse(*(center + (-0.85 * r, 0.1 * r)), 0.25 * r, 0.5 * r, 25)], bird.color("nape")
        )
    if bird.trait("eye_stripe", ()):
        line = center + np.array([(1.0, 0.0), (0.42, -0.18), (-0.3, -0.1), (-0.9, 0.1)]) * r
        body.strokes([curves.path(line)], bird.color("eye_stripe"), 0.05)
    if bird.trait("brow", ()):
        line = center + np.array([(1.0, -0.3), (0.3, -0.55), (-0.6, -0.35)]) * r
        body.strokes([curves.path(line)], bird.color("brow"), 0.045)


def _wing(canvas, bird, tone):
    outline = curves.smooth(
        [
            (0.22, -0.12),
            (0.24, 0.06),
            (0.05, 0.24),
            (-0.3, 0.34),
            (-0.66, 0.40),
            (-0.5, 0.24),
            (-0.25, 0.02),
            (0.05, -0.16),
        ]
    )
    with canvas.part(outline, tone, relief=0.5, radius=0.16) as wing:
        wing.gradient((-0.05, 0.05), (-0.6, 0.4), palette.shade(tone, 0.55))
        dark = palette.shade(tone, 0.5)
        feathers = [
            curves.path(
                [(0.02 - 0.1 * i, 0.26 + 0.02 * i), (-0.25 - 0.06 * i, 0.2 + 0.03 * i), (-0.62, 0.39)]
            )
            for i in range(3)
        ]
        wing.strokes(feathers, dark, 0.014)
        edges = [
            curves.path([(0.16 - 0.09 * i, 0.20 - 0.03 * i), (0.06 - 0.1 * i, 0.06), (0.08 - 0.1 * i, -0.1)])
            for i in range(3)
        ]
        wing.strokes(edges, palette.mix(tone, dark, 0.5), 0.014)
        if bird.trait("wing_bar", ()):
            bar = curves.path([(0.10, 0.22), (-0.02, 0.08), (-0.06, -0.08)])
            bars = [bar, bar + (0.13, -0.03)] if bird.trait("wing_bars", 1) > 1 else [bar]
            wing.strokes(bars, bird.color("wing_bar"), 0.05)


def _beak(canvas, bird, center, r):
    depth = bird.trait_value if bird.trait_name == "beak_depth" else bird.size("bill_depth", 4.5)
    deep = depth * _UNITS_PER_MM
    long = bird.size("beak_length", spread=0.04) * _UNITS_PER_MM * (0.88 if bird.juvenile else 1.0)
    root = center + (0.86 * r, 0.10 * r)
    tip = root + (long, 0.10 * deep + 0.02 * bird.trait("hook", 0.0))
    up, low = 0.60 * deep, 0.40 * deep
    curve = bird.trait("culmen", 0.7)
    upper = [
        root + (-0.04, -up),
        root + (0.3 * long, -up * 0.92),
        root + (0.72 * long, -up * curve * 0.75),
        tip,
        root + (0.4 * long, 0.02),
        root,
    ]
    lower = [
        root + (-0.03, 0),
        root + (0.5 * long, 0.01),
        tip - (0.1 * long, -0.005),
        root + (0.45 * long, low * 0.85),
        root + (-0.04, low),
    ]
    tone = bird.color("beak")
    canvas.fill(curves.smooth(lower, 4), palette.shade(tone, 0.75), relief=0.5, radius=0.08)
    canvas.fill(curves.smooth(upper, 4), tone, relief=0.6, radius=0.1)
    canvas.strokes([curves.path([root, root + (0.5 * long, 0.012), tip])], palette.shade(tone, 0.4), 0.012)
    if bird.trait("crest", 0.0):
        crest = center + np.array([(0.5, -0.85), (-0.2, -1.9), (-0.55, -2.0), (-0.3, -1.3), (-0.7, -0.6)]) * r
        with canvas.part(curves.smooth(crest), bird.color("cap"), relief=0.4) as tuft:
            tuft.strokes([crest[[0, 1]], crest[[4, 2]]], palette.shade(bird.color("cap"), 0.5), 0.02)


def _eye(canvas, bird, at):
    size = 0.042 * (1.3 if bird.juvenile else 1.0)
    canvas.flat([curves.ellipse(*at, size * 1.35)], palette.mix(bird.color("back"), (200, 190, 170), 0.4))
    canvas.flat([curves.ellipse(*at, size)], (22, 16, 14))
    canvas.flat(
        [curves.ellipse(at[0] + 0.3 * size, at[1] - 0.4 * size, 0.3 * size, count=10)], (245, 245, 245)
    )
