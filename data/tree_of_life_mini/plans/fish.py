"""Reef fishes from the side."""

import numpy as np

from bioclip_jax.datasets.tree_of_life_mini import curves, palette
from bioclip_jax.datasets.tree_of_life_mini.canvas import Canvas


def draw_fish(canvas: Canvas, fish) -> None:
    """Draw a fish that faces right; traits: depth, snout, fins, bars, marks, and the colors of body and fins.

    Juveniles are deeper with a larger eye; males are longer-finned than females.
    """
    depth = fish.size("depth", spread=0.04) * (1.08 if fish.juvenile else 1.0) * (0.94 if fish.male else 1.04)
    snout = fish.size("snout", 0.0, 0.05)
    fins = fish.size("fins", 1.0) * (1.15 if fish.male else 0.9)
    body, fin = fish.color("body"), fish.color("fin", fish.trait("body"))
    bend = 0.05 * fish.rng.standard_normal()

    def swim(points):
        """The body curves toward the tail."""
        points = np.asarray(points, float)
        return points + np.stack(
            [np.zeros(len(points)), bend * np.clip(0.2 - points[:, 0], 0, None) ** 2 * 3], 1
        )

    pattern = _pattern(fish, swim, depth)
    _tail(canvas, fish, swim)
    _median_fins(canvas, fish, swim, depth, fins, fin, pattern)
    _body(canvas, fish, swim, depth, snout, body, pattern)
    _pectoral(canvas, fish, fins, fin)
    _eye(canvas, fish, depth, snout)


def _body(canvas, fish, swim, depth, snout, tone, pattern):
    top = [
        (-0.56, -0.11),
        (-0.34, -0.30 * depth - 0.10),
        (0.0, -0.58 * depth),
        (0.32, -0.46 * depth),
        (0.52, -0.22 * depth),
    ]
    nose = 0.66 + snout
    slim = 0.035 + 0.05 * (snout < 0.05)
    mouth = [
        (0.60 + 0.5 * snout, -slim - 0.03 + 0.04),
        (nose, 0.03 - slim * 0.6),
        (nose, 0.05 + slim * 0.6),
        (0.60 + 0.5 * snout, slim + 0.07),
    ]
    low = [
        (0.50, 0.26 * depth + 0.02),
        (0.28, 0.46 * depth),
        (0.0, 0.56 * depth),
        (-0.34, 0.28 * depth + 0.10),
        (-0.56, 0.11),
    ]
    outline = swim(curves.smooth([*top, *mouth, *low]))
    with canvas.part(outline, tone, relief=0.5, radius=0.4) as body:
        if back := fish.trait("back", ()):
            body.gradient((0, 0.2 * depth), (0, -0.55 * depth), fish.wear(back))
        if belly := fish.trait("belly", ()):
            body.gradient((0, 0.0), (0, 0.5 * depth), fish.wear(belly))
        if rear := fish.trait("rear", ()):
            body.gradient((-0.1, 0), (-0.5, 0), fish.wear(rear))
        _paint(body, pattern)
        body.strokes(
            [curves.path([(nose + 0.02, 0.04), (nose - 0.10, 0.07)])], palette.shade(tone, 0.4), 0.016
        )
        gill = curves.path([(0.34, -0.16 * depth), (0.28, 0.05), (0.36, 0.26 * depth)])
        body.strokes([gill], palette.shade(tone, 0.62), 0.014)
        body.mottle(fish.rng, 0.08, 0.03)


def _pattern(fish, swim, depth):
    """Chevrons, marks and bars as (kind, shapes, color, width), to be painted on body and fins alike."""
    paint = []
    if lines := fish.trait("chevrons", ()):
        step, upper, lower = lines
        chevrons = [
            swim(curves.path([(x - upper, -0.7), (x, 0.0), (x - lower, 0.7)], 3))
            for x in np.arange(-0.5, 0.5, step)
        ]
        paint.append(("band", chevrons, fish.color("chevron_color", (90, 80, 60)), 0.014))
    for mark in fish.trait("marks", ()):
        at = swim(np.reshape(mark["at"], (-1, 2)) * np.array([1, depth]))
        width = mark.get("width", 0) * (1 + 0.06 * fish.rng.standard_normal())
        if "ring" in mark:
            paint.append(("spot", [at], fish.wear(mark["ring"]), 1.4 * width))
        shape = {"spot": lambda at: at, "patch": lambda at: curves.smooth(at, 4), "band": curves.path}[
            mark["kind"]
        ](at)
        paint.append((mark["kind"], [shape], fish.wear(mark["color"]), width))
    bars, rim = fish.trait("bars", ()), fish.trait("bar_rim", ())
    for x, width, lean in bars:
        width *= 1 + 0.07 * fish.rng.standard_normal()
        bar = [swim(curves.path([(x - lean, -0.85), (x, -0.2), (x + 0.03, 0.1), (x - lean, 0.85)]))]
        if rim:
            paint.append(("band", bar, fish.wear(rim), width + 0.05))
        paint.append(("band", bar, fish.color("bar"), width))
    return paint


def _paint(part, pattern):
    for kind, shapes, tone, width in pattern:
        if kind == "spot":
            part.dots(shapes[0], width, tone)
        elif kind == "patch":
            part.fill(shapes, tone)
        else:
            part.strokes(shapes, tone, width)


def _tail(canvas, fish, swim):
    tone = fish.color("tail", fish.trait("fin", fish.trait("body")))
    fork, high = fish.trait("fork", 0.1), fish.trait("tail_height", 0.30) * (1.06 if fish.male else 0.96)
    outline = [
        (-0.50, -0.10),
        (-0.66, -0.16),
        (-0.92 - 0.3 * fork, -high),
        (-0.90 + 0.1 * fork, -0.5 * high),
        (-0.90 + fork, 0.0),
        (-0.90 + 0.1 * fork, 0.5 * high),
        (-0.92 - 0.3 * fork, high),
        (-0.66, 0.16),
        (-0.50, 0.10),
    ]
    with canvas.part(swim(curves.smooth(outline)), tone, relief=0.35, radius=0.12) as tail:
        rays = [swim([(-0.55, 0.3 * y), (-1.0, y)]) for y in np.linspace(-high, high, 9)]
        tail.strokes(rays, palette.shade(tone, 0.78), 0.012)
        if band := fish.trait("tail_band", ()):
            tail.strokes(
                [swim(curves.path([(-0.80, -high), (-0.76, 0), (-0.80, high)]))], fish.wear(band), 0.06
            )


def _median_fins(canvas, fish, swim, depth, fins, tone, pattern):
    high = 0.17 * fins
    dorsal = [
        (0.34, -0.44 * depth),
        (0.18, -0.54 * depth - high),
        (-0.08, -0.56 * depth - 0.9 * high),
        (-0.32, -0.36 * depth - 0.16 - 0.9 * high),
        (-0.52, -0.20 - 0.5 * high),
        (-0.50, -0.06),
        (0.0, -0.3 * depth),
    ]
    anal = [
        (0.02, 0.44 * depth),
        (-0.12, 0.54 * depth + 0.7 * high),
        (-0.34, 0.34 * depth + 0.14 + high),
        (-0.52, 0.20 + 0.5 * high),
        (-0.50, 0.05),
        (-0.1, 0.3 * depth),
    ]
    pelvic = [
        (0.22, 0.42 * depth),
        (0.18, 0.52 * depth + 1.3 * high),
        (0.04, 0.50 * depth + 1.0 * high),
        (0.06, 0.44 * depth),
    ]
    if banner := fish.trait("banner", 0.0):
        streamer = curves.path(
            [
                (0.20, -0.50 * depth),
                (0.04, -0.74 * depth),
                (-0.40, -0.80 * depth),
                (-0.88 * banner, -0.62 * depth),
            ]
        )
        canvas.fill(
            swim(curves.ribbon(streamer, np.linspace(0.17, 0.03, len(streamer)))),
            fish.color("banner_color", (240, 238, 230)),
            relief=0.4,
        )
    for outline, up in ((dorsal, -1), (anal, 1), (pelvic, 1)):
        with canvas.part(swim(curves.smooth(outline)), tone, relief=0.3, radius=0.1) as fin:
            _paint(fin, pattern)
            rays = [
                swim([(x + 0.1, 0.0), (x - 0.12, up * (0.6 * depth + 0.4))])
                for x in np.arange(-0.5, 0.45, 0.09)
            ]
            fin.strokes(rays, palette.shade(tone, 0.75), 0.01)
            if edge := fish.trait("fin_edge", ()):
                fin.edge(swim(curves.smooth(outline)), fish.wear(edge), 0.03)


def _pectoral(canvas, fish, fins, tone):
    outline = curves.transform(
        curves.petal(0.30 * fins, 0.20 * fins, 0.7), (0.22, 0.10), 150 + 12 * fish.rng.standard_normal()
    )
    tone = palette.shade(fish.color("pectoral", fish.trait("fin", fish.trait("body"))), 1.08)
    with canvas.part(outline, tone, relief=0.4, radius=0.08, opacity=0.85) as fin:
        fin.strokes(
            [np.stack([(0.22, 0.10), outline[i]]) for i in range(6, len(outline) - 6, 4)],
            palette.shade(tone, 0.75),
            0.01,
        )


def _eye(canvas, fish, depth, snout):
    at, size = (0.47, -0.10 * depth - 0.01), 0.062 * (1.35 if fish.juvenile else 1.0)
    canvas.flat([curves.ellipse(*at, size)], fish.color("iris", (225, 190, 90)))
    canvas.flat([curves.ellipse(*at, 0.66 * size)], (16, 16, 22))
    canvas.flat(
        [curves.ellipse(at[0] + 0.25 * size, at[1] - 0.3 * size, 0.22 * size, count=10)], (250, 250, 250)
    )
