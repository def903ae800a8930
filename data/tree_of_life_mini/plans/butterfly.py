"""Butterflies with spread wings, from above: one side is drawn and mirrored."""

import functools

import numpy as np

from bioclip_jax.datasets.tree_of_life_mini import curves, palette
from bioclip_jax.datasets.tree_of_life_mini.canvas import Canvas

# Outlines of the right wings by shape; the body is on the line x = 0.
_FORE = {
    "round": [
        (0.03, -0.22), (0.30, -0.52), (0.62, -0.74), (0.84, -0.78), (0.90, -0.62), (0.84, -0.34),
        (0.74, -0.12), (0.45, -0.02), (0.03, 0.02),
    ],
    "angled": [
        (0.03, -0.22), (0.28, -0.52), (0.60, -0.76), (0.84, -0.80), (0.90, -0.66), (0.76, -0.50),
        (0.80, -0.26), (0.72, -0.06), (0.42, 0.02), (0.03, 0.04),
    ],
    "long": [
        (0.03, -0.24), (0.30, -0.50), (0.64, -0.70), (0.92, -0.74), (0.97, -0.60), (0.82, -0.38),
        (0.74, -0.16), (0.50, -0.02), (0.03, 0.02),
    ],
    "broad": [
        (0.03, -0.26), (0.30, -0.60), (0.62, -0.84), (0.90, -0.92), (0.94, -0.76), (0.86, -0.44),
        (0.78, -0.12), (0.45, -0.04), (0.03, 0.0),
    ],
    "narrow": [
        (0.03, -0.22), (0.32, -0.54), (0.68, -0.80), (0.93, -0.90), (0.95, -0.78), (0.78, -0.50),
        (0.62, -0.14), (0.36, -0.02), (0.03, 0.0),
    ],
    "hooked": [
        (0.03, -0.22), (0.26, -0.54), (0.56, -0.76), (0.86, -0.84), (0.82, -0.62), (0.76, -0.34),
        (0.70, -0.10), (0.42, 0.0), (0.03, 0.02),
    ],
}  # fmt: skip
_HIND = {
    "round": [
        (0.03, -0.05), (0.40, -0.10), (0.72, 0.02), (0.78, 0.28), (0.66, 0.56), (0.42, 0.70), (0.20, 0.62),
        (0.06, 0.36),
    ],
    "angled": [
        (0.03, -0.05), (0.40, -0.10), (0.72, 0.02), (0.74, 0.24), (0.68, 0.36), (0.70, 0.52), (0.50, 0.58),
        (0.38, 0.70), (0.20, 0.60), (0.06, 0.36),
    ],
    "tailed": [
        (0.03, -0.05), (0.40, -0.12), (0.68, 0.02), (0.72, 0.26), (0.64, 0.44), (0.60, 0.60), (0.62, 0.84),
        (0.55, 0.92), (0.49, 0.82), (0.47, 0.66), (0.36, 0.68), (0.18, 0.60), (0.06, 0.34),
    ],
    "swept": [
        (0.03, -0.05), (0.34, -0.10), (0.54, 0.04), (0.60, 0.30), (0.58, 0.50), (0.62, 0.72), (0.52, 0.70),
        (0.40, 0.62), (0.18, 0.58), (0.06, 0.34),
    ],
    "pointed": [
        (0.03, -0.05), (0.40, -0.10), (0.72, 0.04), (0.76, 0.30), (0.66, 0.48), (0.60, 0.68), (0.46, 0.64),
        (0.20, 0.60), (0.06, 0.36),
    ],
}  # fmt: skip


def draw_butterfly(canvas: Canvas, insect) -> None:
    """Draw a butterfly; traits: fore, hind (shapes), ground, hind_ground, edge, veins, marks on each wing."""
    stretch = np.array([insect.size("span", 1.0, 0.03), 1.0]) * (0.92 if insect.male else 1.0)
    if insect.juvenile:  # freshly emerged, with small and soft wings
        stretch *= (0.78, 0.9)
    spread = 4 * insect.rng.standard_normal()
    for wing, shapes, ground in (("hind", _HIND, "hind_ground"), ("fore", _FORE, "ground")):
        turn = (-spread if wing == "fore" else spread) + insect.trait(f"{wing}_turn", 0.0)
        outline = curves.rotate(curves.smooth(shapes[insect.trait(wing)]) * stretch, turn)
        tone = insect.color(ground, insect.trait("ground"))
        with canvas.part(outline, tone, relief=0.3, radius=0.12) as part:
            where = functools.partial(_onto_wing, stretch=stretch, turn=turn)
            _paint(part, insect, wing, tone, outline, where)
    canvas.mirror_right()
    _body(canvas, insect)


def _onto_wing(points, stretch, turn):
    return curves.rotate(np.asarray(points) * stretch, turn)


def _paint(part, insect, wing, tone, outline, where):
    """Paint one wing: root glow, veins, marks, edge, in this order."""
    root, far = (0.05, -0.1), (0.8, -0.6) if wing == "fore" else (0.6, 0.5)
    if root_tone := insect.trait("root", ()):
        part.gradient(curves.between(root, far, 0.55), root, insect.wear(root_tone), 1.5)
    if fringe := insect.trait("fringe", ()):
        part.gradient(curves.between(root, far, 0.5), far, insect.wear(fringe))
    marks = [mark for mark in insect.trait("marks", ()) if mark["on"] == wing]
    for mark in (m for m in marks if m["kind"] != "spot"):
        _mark(part, insect, mark, where)
    if veins := insect.trait("veins", 0.0):
        _veins(part, wing, insect.color("vein", (30, 24, 20)), veins, where)
    if edge := insect.trait(f"{wing}_edge", insect.trait("edge", 0.0)):
        part.edge(outline, insect.color("edge_color", (32, 26, 24)), edge)
    if insect.trait("edge_dots", 0.0):
        _edge_dots(part, insect, outline)
    for mark in (m for m in marks if m["kind"] == "spot"):
        _mark(part, insect, mark, where)
    part.mottle(insect.rng, 0.07, 0.04)


def _mark(part, insect, mark, where):
    """One mark: `spot` (disc), `eye` (ringed disc), `patch` (closed outline) or `band` (line of a width)."""
    tone = insect.wear(mark["color"])
    at = where(np.asarray(mark["at"], float).reshape(-1, 2))
    wobble = 1 + 0.08 * insect.rng.standard_normal()
    if mark["kind"] == "patch":
        part.fill([curves.smooth(at, 4)], tone)
    elif mark["kind"] == "band":
        part.strokes([curves.path(at)], tone, mark["width"] * wobble)
    elif mark["kind"] == "spot":
        part.dots(at, mark["width"] * wobble, tone)
    elif mark["kind"] == "eye":
        radius = mark["width"] * wobble
        part.dots(at, radius * 1.3, insect.wear(mark["ring"]))
        part.dots(at, radius, tone)
        part.dots(at - (0.3 * radius, 0.3 * radius), radius * 0.42, insect.wear(mark["pupil"]))
    else:
        raise ValueError(f"{insect.species.name}: no butterfly mark is called {mark['kind']!r}")


_VEINS = {
    "fore": [
        [(0.05, -0.15), (0.45, -0.48), (1.0, -0.80)], [(0.05, -0.12), (0.42, -0.36), (1.0, -0.60)],
        [(0.05, -0.10), (0.42, -0.24), (0.95, -0.38)], [(0.05, -0.08), (0.40, -0.14), (0.9, -0.18)],
    ],
    "hind": [
        [(0.05, 0.0), (0.35, 0.02), (0.85, 0.08)], [(0.05, 0.02), (0.32, 0.16), (0.85, 0.36)],
        [(0.05, 0.05), (0.28, 0.26), (0.70, 0.62)], [(0.05, 0.08), (0.20, 0.30), (0.42, 0.78)],
    ],
}  # fmt: skip


def _veins(part, wing, tone, width, where):
    part.strokes([curves.path(where(line)) for line in _VEINS[wing]], tone, width)


def _edge_dots(part, insect, outline):
    """Pale dots along the outer margin, at the points of the outline that are far from the body."""
    outer = outline[(outline[:, 0] > 0.42) & (np.abs(outline[:, 1] + 0.2) > 0.05)]
    center = np.array([0.42, -0.35]) if outline[0, 1] < -0.15 else np.array([0.38, 0.24])
    dots = center + (outer - center) * 0.9
    part.dots(
        dots[:: max(1, len(dots) // 9)], insect.trait("edge_dots"), insect.color("edge_dot", (240, 238, 230))
    )


def _body(canvas, insect):
    tone = insect.color("body", (48, 40, 36))
    stout = (1.0 if insect.male else 1.25) * insect.size("stout", 1.0)
    for side in (-1, 1):
        tip = np.array([side * 0.26, -0.72])
        line = curves.path([(side * 0.02, -0.30), (side * 0.10, -0.54), tip])
        canvas.strokes([line], (40, 34, 30), 0.016)
        canvas.flat([curves.ellipse(*tip, 0.026, 0.026)], (40, 34, 30))
    abdomen = [
        (0, -0.02),
        (0.05 * stout, 0.05),
        (0.055 * stout, 0.25),
        (0.03, 0.46),
        (0, 0.52),
        (-0.03, 0.46),
        (-0.055 * stout, 0.25),
        (-0.05 * stout, 0.05),
    ]
    with canvas.part(curves.smooth(abdomen), tone, relief=0.6, radius=0.1) as part:
        rings = [[(-0.1, y), (0.1, y)] for y in np.arange(0.1, 0.5, 0.08)]
        part.strokes(rings, palette.shade(tone, 0.6), 0.012)
    with canvas.part(
        curves.ellipse(0, -0.13, 0.062 * stout, 0.13), palette.shade(tone, 1.15), relief=0.6
    ) as thorax:
        thorax.mottle(insect.rng, 0.2, 0.02)
    canvas.fill(curves.ellipse(0, -0.29, 0.045, 0.045), tone, relief=0.6)
