"""Mushrooms from the side: caps on stalks, and the funnels of chanterelles."""

import numpy as np

from bioclip_jax.datasets.tree_of_life_mini import curves, palette
from bioclip_jax.datasets.tree_of_life_mini.canvas import Canvas

_GROUND = 0.86


def draw_mushroom(canvas: Canvas, fungus) -> None:
    """Draw a fruiting body; traits: form (cap or funnel), cap, stalk sizes, warts, ring, volva, pores, net.

    Juveniles are buttons: a closed, rounder cap on a short stout stalk.
    """
    if fungus.trait("form", "cap") == "funnel":
        _funnel(canvas, fungus)
    else:
        _capped(canvas, fungus)
    _litter(canvas, fungus)


def _capped(canvas, fungus):
    young = fungus.juvenile
    width = fungus.size("cap_width") * (0.78 if young else 1.0)
    height = fungus.size("cap_height") * (1.15 if young else 1.0)
    stalk = fungus.size("stalk") * (1.25 if young else 1.0)
    long = fungus.size("stalk_length") * (0.72 if young else 1.0)
    lean = 0.05 * fungus.rng.standard_normal()
    rim = _GROUND - long
    _stalk(canvas, fungus, rim, stalk, lean)
    _underside(canvas, fungus, rim, width, lean)
    _cap(canvas, fungus, rim, width, height, lean)


def _stalk(canvas, fungus, rim, width, lean):
    tone, rng = fungus.color("stalk_color"), fungus.rng
    bulb = fungus.size("bulb", 1.15)
    line = curves.path([(lean, rim - 0.08), (0.4 * lean, (rim + _GROUND) / 2), (0, _GROUND)])
    t = np.linspace(0, 1, len(line))
    widths = width * (1 + (bulb - 1) * t ** fungus.trait("bulb_rise", 2.0))
    sides = curves.ribbon(line, widths)
    foot = [(-0.38, 0.14), (-0.2, 0.2), (0, 0.22), (0.2, 0.2), (0.38, 0.14)]
    foot = np.array(foot) * widths[-1] + (0, _GROUND)
    outline = np.concatenate([sides[: len(line)], foot, sides[len(line) :]])
    with canvas.part(outline, tone, relief=0.55, radius=0.22) as stalk:
        fibres = [line + (x * width, 0) for x in rng.uniform(-0.5, 0.5, 7)]
        stalk.strokes(fibres, palette.shade(tone, 0.88), 0.01)
        if fungus.trait("net", ()):
            _net(stalk, fungus, rim, width * bulb)
        if fungus.trait("scabers", ()):
            at = np.stack([rng.uniform(-width, width, 60), rng.uniform(rim, _GROUND, 60)], 1)
            stalk.fill([curves.ellipse(x, y, 0.013, 0.024, count=8) for x, y in at], fungus.color("scabers"))
        if flush := fungus.trait("stalk_flush", ()):
            stalk.gradient((0, rim + 0.1), (0, _GROUND), fungus.wear(flush))
        stalk.mottle(rng, 0.08, 0.06)
    if fungus.trait("volva", ()):
        tone = fungus.color("volva")
        w = width * bulb
        cup = [
            (-0.72 * w, _GROUND - 0.17),
            (-0.4 * w, _GROUND - 0.10),
            (0, _GROUND - 0.14),
            (0.45 * w, _GROUND - 0.09),
            (0.72 * w, _GROUND - 0.18),
            (0.78 * w, _GROUND),
            (0.3 * w, _GROUND + 0.09),
            (-0.3 * w, _GROUND + 0.09),
            (-0.78 * w, _GROUND),
        ]
        canvas.fill(curves.smooth(cup), tone, relief=0.5, radius=0.12)
    if fungus.trait("rings_of_warts", 0):
        for i in range(fungus.trait("rings_of_warts")):
            y = _GROUND - 0.04 - 0.065 * i
            belt = curves.path(
                [(-0.56 * width * bulb, y - 0.015), (0, y + 0.03), (0.56 * width * bulb, y - 0.015)]
            )
            canvas.fill(curves.ribbon(belt, 0.035), palette.shade(tone, 1.06), relief=0.5, radius=0.04)
    if fungus.trait("ring", ()) and not fungus.juvenile:
        y = rim + fungus.trait("ring_at", 0.2)
        w = width * 0.95
        skirt = [
            (lean - 0.5 * w, y - 0.06),
            (lean + 0.5 * w, y - 0.06),
            (lean + 0.95 * w, y + 0.06),
            (lean + 0.3 * w, y + 0.09),
            (lean - 0.3 * w, y + 0.09),
            (lean - 0.95 * w, y + 0.06),
        ]
        with canvas.part(curves.smooth(skirt), fungus.color("ring"), relief=0.45, radius=0.08) as part:
            pleats = [
                [(lean + x * 0.5 * w, y - 0.06), (lean + x * 0.9 * w, y + 0.1)]
                for x in np.linspace(-0.8, 0.8, 7)
            ]
            part.strokes(pleats, palette.shade(fungus.color("ring"), 0.8), 0.01)


def _net(stalk, fungus, rim, width):
    tone = fungus.color("net")
    ys = np.arange(rim, _GROUND, 0.075)
    lines = [[(s * width * 0.6, y), (-s * width * 0.6, y + 0.28)] for y in ys for s in (-1, 1)]
    stalk.strokes([curves.path(line) for line in lines], tone, 0.013)


def _underside(canvas, fungus, rim, width, lean):
    """Gills or pores seen beneath the rim."""
    tone = fungus.color("under")
    drop = fungus.size("under_depth", 0.10)
    lens = [
        (lean - width, rim),
        (lean - 0.5 * width, rim - 0.02),
        (lean + 0.5 * width, rim - 0.02),
        (lean + width, rim),
        (lean + 0.55 * width, rim + drop),
        (lean - 0.55 * width, rim + drop),
    ]
    with canvas.part(curves.smooth(lens), palette.shade(tone, 0.85), relief=0.35, radius=0.1) as under:
        if fungus.trait("pores", False):
            dots = fungus.rng.uniform((lean - width, rim), (lean + width, rim + drop), (50, 2))
            under.dots(dots, 0.009, palette.shade(tone, 0.65))
        else:
            xs = np.linspace(-1, 1, 19)
            gills = [
                [(lean + 0.97 * x * width, rim - 0.01), (lean + 0.3 * x * width, rim + 1.3 * drop)]
                for x in xs
            ]
            under.strokes(gills, palette.shade(tone, 0.6), 0.012)


def _cap(canvas, fungus, rim, width, height, lean):
    tone, rng = fungus.color("cap"), fungus.rng
    peak, flat = fungus.size("peak", 0.0, 0.2), fungus.trait("square", 0.62)
    x = np.array([1.0, 1.0, 0.86, flat, 0.28 * (1 - 0.4 * peak), 0.0])
    y = np.array(
        [
            0.05,
            -0.10,
            -0.46 * (1 - 0.25 * peak),
            -0.80 * (1 - 0.28 * peak),
            -0.97 * (1 - 0.1 * peak),
            -1.0 - 0.12 * peak,
        ]
    )
    if fungus.trait("dish", 0.0) and not fungus.juvenile:  # old caps open and sink in the middle
        y[3:] += fungus.trait("dish") * np.array([0.0, 0.35, 0.5])
    right = np.stack([x * width, y * height], 1)
    sag = np.array([(0.5 * width, 0.07), (0.0, 0.10)]) * (1, fungus.trait("sag", 1.0))
    control = np.concatenate([right[::-1], sag, curves.mirror(sag[:1]), curves.mirror(right)[:-1]])
    outline = curves.smooth(control + (lean, rim))
    with canvas.part(outline, tone, relief=0.55, radius=0.4) as cap:
        if center := fungus.trait("cap_center", ()):
            cap.gradient((lean, rim - 0.1 * height), (lean, rim - height), fungus.wear(center))
        if margin := fungus.trait("cap_margin", ()):
            cap.gradient((lean, rim - 0.45 * height), (lean, rim + 0.05), fungus.wear(margin))
        if fungus.trait("striate", False):
            lines = [
                [(lean + s * width, rim + 0.05), (lean + 0.88 * s * width, rim - 0.24 * height)]
                for s in np.linspace(-1, 1, 21)
            ]
            cap.strokes(lines, palette.shade(tone, 0.72), 0.014)
        if fungus.trait("fibres", False):
            tips = np.linspace(-1, 1, 15)
            cap.strokes(
                [[(lean, rim - height), (lean + s * width, rim)] for s in tips],
                palette.shade(tone, 0.8),
                0.011,
            )
        if fungus.trait("cracks", False):
            at = rng.uniform((lean - width, rim - height), (lean + width, rim), (34, 2))
            cap.fill([curves.blob(rng, *p, 0.035, 0.5, 5) for p in at], palette.shade(tone, 1.25))
        if warts := fungus.trait("warts", 0):
            _warts(cap, fungus, warts, rim, width, height, lean)
        cap.mottle(rng, 0.08, 0.1)
        if shine := fungus.trait("shine", 0.25):
            lx, ly = canvas.light
            cap.gloss(lean + 0.38 * width * lx, rim - 0.62 * height, 0.22 * width, 0.13 * height, shine)


def _warts(cap, fungus, count, rim, width, height, lean):
    """Flecks of the veil, smaller toward the rim, spread evenly by a golden angle."""
    rng = fungus.rng
    k = np.arange(int(count * rng.uniform(0.85, 1.15)))
    r = np.sqrt((k + 0.5) / len(k))
    angle = 2.39996 * k + rng.uniform(0, 6.28)
    x = lean + 0.93 * width * r * np.sin(angle)
    y = rim - height * (0.52 + 0.46 * r * np.cos(angle) * 0.9)
    size = fungus.trait("wart_size", 0.045) * rng.uniform(0.6, 1.2, len(k)) * (1.15 - 0.5 * r)
    flecks = [curves.blob(rng, a, b, s, 0.3, 6) * (1, 1) for a, b, s in zip(x, y, size)]
    cap.fill([f + (0.008, 0.012) for f in flecks], palette.shade(fungus.color("cap"), 0.6))
    cap.fill(flecks, fungus.color("wart"))


def _funnel(canvas, fungus):
    """A chanterelle: the stalk widens into a wavy funnel whose ridges run down the outside."""
    rng, tone = fungus.rng, fungus.color("cap")
    width = fungus.size("cap_width") * (0.75 if fungus.juvenile else 1.0)
    long = fungus.size("stalk_length") * (0.8 if fungus.juvenile else 1.0)
    stalk, flare = fungus.size("stalk"), fungus.trait("flare", 2.2)
    top = _GROUND - long
    t = np.linspace(0, 1, 14)
    half = stalk / 2 + (width - stalk / 2) * t**flare
    y = _GROUND - t * long
    waves = fungus.trait("waves", 0.05) * (0.35 if fungus.juvenile else 1.0)
    xs = np.linspace(1, -1, 13)[1:-1]
    brim = [(s * width, top - 0.04 + waves * rng.uniform(-1, 1)) for s in xs]
    side = np.stack([half, y], 1)
    outline = curves.smooth(np.concatenate([side, brim, curves.mirror(side)[::-1]]), 3)
    dip = fungus.size("mouth", 0.16)
    mouth = curves.smooth(
        [*((x, yy - 0.02) for x, yy in brim), *[(s * width, top + dip * (1 - s * s)) for s in xs[::-1]]], 4
    )
    outer = fungus.color("under")
    with canvas.part(outline, outer, relief=0.5, radius=0.25) as body:
        count = fungus.trait("ridges", 13)
        ridges = [np.stack([s * half * 0.97, y], 1)[3:] for s in np.linspace(-1, 1, count)] if count else []
        body.strokes(ridges, palette.shade(outer, 0.66), 0.018)
        body.gradient((0, _GROUND - 0.45 * long), (0, _GROUND), fungus.color("stalk_color"))
        body.mottle(rng, 0.1, 0.08)
    with canvas.part(mouth, tone, relief=0.5, radius=0.12) as inside:
        inside.gradient((0, top), (0, top + dip), palette.shade(tone, fungus.trait("throat", 0.7)))
        inside.mottle(rng, 0.1, 0.06)


def _litter(canvas, fungus):
    """A few blades and crumbs at the foot."""
    rng = fungus.rng
    if rng.random() < 0.6:
        tone = palette.vary(rng, ((92, 110, 56), (120, 96, 64))[rng.integers(2)], 0.15)
        roots = rng.uniform(-0.32, 0.32, 9)
        blades = [curves.petal(rng.uniform(0.12, 0.26), 0.04, 0.0) for _ in roots]
        canvas.flat(
            [curves.transform(b, (x, 0.95), rng.uniform(-130, -50)) for b, x in zip(blades, roots)], tone
        )
