"""A burst of frames: individuals that pass through a camera's view."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache

import cv2
import numpy as np
from jaxtyping import UInt8

from bioclip_jax.datasets.camera_trap_mini.ecology import BLANK, BURST, CENTER, FIRST_NUMBER, HABITATS, PERSON
from bioclip_jax.datasets.camera_trap_mini.species import SPECIES, draw_false_hours
from bioclip_jax.datasets.camera_trap_mini.sun import sun_elevation
from bioclip_jax.datasets.camera_trap_mini.view import HEIGHT, WIDTH, Light, View, stamp
from bioclip_jax.datasets.tree_of_life_mini import curves, palette, plans, tree
from bioclip_jax.datasets.tree_of_life_mini.canvas import Canvas
from bioclip_jax.datasets.tree_of_life_mini.individual import Individual

_HELD_OUT = 7_771
_SIZES = (205.0, 255.0)  # side in pixels of the square that an individual is drawn in
_FEET = 0.8  # of that square's half: the row of the feet
_JACKETS = ((186, 88, 44), (58, 84, 120), (70, 92, 62), (150, 40, 48))
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Passage:
    """Individuals that pass together: an index of SPECIES, BLANK or PERSON, and their numbers."""

    kind: int
    numbers: tuple[int, ...]


@dataclass(frozen=True)
class Burst:
    """Frames of a burst and, for each, the boxes of what is in it.

    A box is x, y of its top left corner, width and height, in shares of the frame.
    """

    frames: tuple[UInt8[np.ndarray, "224 256 3"], ...]
    boxes: tuple[tuple[Box, ...], ...]
    passage: Passage


def draw_burst(name: str, number: int) -> Burst:
    """Draw a burst that is in no world, as a pure function of its arguments: for pools of scores.

    name: one of SPECIES, or "" for a false trigger. Time, view, weather and group size are distributed as in
    a world. Raises ValueError for another name.
    """
    names = [traits.name for traits in SPECIES]
    if name and name not in names:
        raise ValueError(f"{name!r} is not one of {', '.join(names)}")
    kind = names.index(name) if name else BLANK
    rng = np.random.default_rng([_HELD_OUT, zlib.crc32(name.encode()), number])
    if name:
        count = int(rng.choice((1, 2, 3), p=SPECIES[kind].groups))
        hour = float(SPECIES[kind].draw_hours(rng, 1)[0])
    else:
        count, hour = 0, float(draw_false_hours(rng, 1)[0])
    noon = np.datetime64("2025-09-01T12:00", "s") + np.timedelta64(int(rng.integers(30)), "D")
    time = noon + np.timedelta64(int(3600 * (hour - 12 - CENTER[1] / 15)), "s")
    light = Light(float(sun_elevation(time, *CENTER)), hour, float(rng.random()))
    passage = Passage(kind, draw_numbers(rng, count))
    shown = time - np.timedelta64(1, "h")
    texts = [str(shown + np.timedelta64(frame, "s")).replace("T", "  ") for frame in range(BURST)]
    return take_burst(_held_out_view(int(rng.integers(64))), light, passage, texts, rng)


def draw_numbers(rng: np.random.Generator, count: int) -> tuple[int, ...]:
    """Numbers of individuals that are in no split of tree_of_life_mini."""
    return tuple(rng.integers(FIRST_NUMBER, 1 << 31, count).tolist())


def take_burst(
    view: View, light: Light, passage: Passage, texts: Sequence[str], rng: np.random.Generator
) -> Burst:
    """Photograph a passage; `texts` are the lines that the camera writes into the frames."""
    walkers = _walkers(view, light, passage, rng)
    frames, boxes = [], []
    for frame, text in enumerate(texts):
        image, depth, found = view.scene.copy(), view.depth.copy(), []
        for walker in walkers:
            box = walker.pass_through(image, depth, frame, light)
            if box is not None:
                found.append(box)
        _composite(image, view.blades)
        photograph = light.shine(image, depth, view, rng)
        stamp(photograph, text)
        frames.append(photograph)
        boxes.append(tuple(found))
    return Burst(tuple(frames), tuple(boxes), passage)


@dataclass(frozen=True)
class _Walker:
    """An individual: its picture, size in pixels, position of its center, and step and turn by frame."""

    layer: UInt8[np.ndarray, "side side 4"]
    size: float
    aspect: float
    positions: tuple[tuple[float, float], ...]
    turns: tuple[float, ...]
    blur: int
    depth: float

    def pass_through(self, image, depth, frame: int, light: Light) -> Box | None:
        """Composite it into a frame, with its shadow, and return its box."""
        side = len(self.layer)
        x, y = self.positions[frame]
        matrix = cv2.getRotationMatrix2D((side / 2, side / 2), -self.turns[frame], self.size / side)
        matrix[:, 1] *= self.aspect
        matrix[:, 2] = (x, y) - matrix[:, :2] @ (side / 2, side / 2)
        placed = cv2.warpAffine(self.layer, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR)
        if self.blur > 1:
            placed = cv2.blur(placed, (self.blur, 1))
        self._shadow(image, x, y + _FEET * self.size * self.aspect / 2, light)
        alpha = _composite(image, placed)
        depth += (np.float32(self.depth) - depth) * alpha
        left, top, wide, tall = cv2.boundingRect(cv2.threshold(placed[..., 3], 60, 255, cv2.THRESH_BINARY)[1])
        return (left / WIDTH, top / HEIGHT, wide / WIDTH, tall / HEIGHT) if wide else None

    def _shadow(self, image, x: float, foot: float, light: Light) -> None:
        """Darken the ground below and away from the light."""
        side = len(self.layer)
        scale = self.size / side
        flat, lean = 0.22 * scale, -0.5 * scale * light.direction[0]
        # Rows above the feet fall on rows behind the foot, away from the light.
        feet = (1 + _FEET) / 2 * side
        matrix = np.float32(
            [[scale, -lean, x - scale * side / 2 + lean * feet], [0, flat, foot - flat * feet]]
        )
        alpha = self.layer[..., 3]
        shadow = cv2.blur(cv2.warpAffine(alpha, matrix, (WIDTH, HEIGHT)), (9, 5))
        dark = np.float32(1) - shadow * np.float32((0.22 + 0.3 * light.hard) / 255)
        cv2.multiply(image, cv2.merge((dark, dark, dark)), dst=image)


def _walkers(view: View, light: Light, passage: Passage, rng: np.random.Generator) -> list[_Walker]:
    """Individuals of a passage, the farthest first."""
    if passage.kind == BLANK:
        return []
    count = max(1, len(passage.numbers))
    sizes = np.sort(rng.uniform(*_SIZES, count) * (1.0, 0.68, 0.55)[count - 1])
    ahead = 1 if rng.random() < 0.5 else -1
    slots = rng.permutation(count)
    walkers = []
    for index, (size, slot) in enumerate(zip(sizes.tolist(), slots.tolist())):
        if passage.kind == PERSON:
            layer, upright, aspect, size = _person(rng), True, 1.0, 1.3 * size
        else:
            layer, upright = _figure(SPECIES[passage.kind].name, passage.numbers[index], light, ahead)
            aspect = 1.0 if upright else rng.uniform(0.85, 0.97)
        near = size / _SIZES[1]
        # The sensor triggers in the middle of the view; what is farther away is higher up.
        x = WIDTH * (slot + 0.5 + rng.uniform(-0.07, 0.07)) / count
        y = HEIGHT * (0.38 + 0.13 * near + rng.uniform(-0.03, 0.03))
        step, heading = size * rng.uniform(0.02, 0.12), rng.uniform(-14, 14)
        path, turns = [], []
        for frame in range(BURST):
            along = (frame - 1) * step
            if upright:
                path.append((x + ahead * along, y - rng.uniform(0, 0.03) * size))
                turns.append(rng.normal(0, 4))
            else:
                angle = np.radians(heading)
                path.append((float(x + along * np.sin(angle)), float(y - 0.6 * along * np.cos(angle))))
                turns.append(heading + rng.normal(0, 3))
        if size < 0.55 * len(layer):  # or it would be aliased
            layer = cv2.resize(layer, (len(layer) // 2,) * 2, interpolation=cv2.INTER_AREA)
        blur = 1 + 2 * int(rng.integers(0, 3 if light.elevation < 5 else 2))
        walkers.append(_Walker(layer, size, aspect, tuple(path), tuple(turns), blur, 0.75 - 0.6 * near))
    return walkers


def _figure(name: str, number: int, light: Light, ahead: int) -> tuple[UInt8[np.ndarray, "256 256 4"], bool]:
    """Picture of an individual, and True if it is seen from the side, looking ahead (1: right, -1: left)."""
    individual = Individual.from_seed(_species()[name], number)
    x, y = light.direction
    bird = individual.trait("plan") == "bird"
    flip = bird and ahead < 0
    canvas = Canvas((-x if flip else x, y))
    plans.PLANS[individual.trait("plan")](canvas, individual)
    layer = cv2.merge([*cv2.split(canvas.rgb), canvas.alpha])
    return (np.ascontiguousarray(layer[:, ::-1]) if flip else layer), bird


def _person(rng: np.random.Generator) -> UInt8[np.ndarray, "256 256 4"]:
    """A standing person, who tends the camera, in premultiplied RGBA."""
    canvas = Canvas()
    jacket = palette.vary(rng, _JACKETS[rng.integers(len(_JACKETS))])
    trousers, skin = palette.vary(rng, (62, 60, 66)), palette.vary(rng, (190, 146, 116), 0.15)
    stride = rng.uniform(0.04, 0.14)
    for side in (-1, 1):
        leg = curves.path([(0.06 * side, 0.1), (0.08 * side + 0.3 * stride, 0.45), (stride * side, 0.8)])
        canvas.fill(curves.ribbon(leg, np.linspace(0.17, 0.11, len(leg))), trousers, relief=0.5)
        arm = curves.path([(0.17 * side, -0.48), (0.22 * side, -0.2), (0.2 * side + stride, 0.06)])
        canvas.fill(curves.ribbon(arm, 0.1), palette.shade(jacket, 0.85), relief=0.5)
    trunk = [(-0.2, -0.5), (0, -0.58), (0.2, -0.5), (0.19, -0.1), (0.17, 0.16), (-0.17, 0.16), (-0.19, -0.1)]
    canvas.fill(curves.smooth(trunk), jacket, relief=0.6, radius=0.2)
    canvas.fill(curves.ellipse(0, -0.72, 0.1, 0.13), skin, relief=0.5)
    canvas.fill(curves.ellipse(0, -0.79, 0.12, 0.08), palette.vary(rng, (56, 50, 44), 0.2), relief=0.4)
    return cv2.merge([*cv2.split(canvas.rgb), canvas.alpha])


@cache
def _species() -> dict[str, tree.Species]:
    """Species of the world, without the perches of birds."""
    return {one.name: replace(one, traits={**one.traits, "perch": False}) for one in tree.species()}


@lru_cache(maxsize=64)
def _held_out_view(index: int) -> View:
    rng = np.random.default_rng([_HELD_OUT, index])
    return View.draw(rng, HABITATS[rng.integers(len(HABITATS))])


def _composite(image, layer: UInt8[np.ndarray, "height width 4"]):
    """Put a premultiplied layer over an image, in place, and return its alpha in 0 … 1."""
    alpha = layer[..., 3] * np.float32(1 / 255)
    behind = 1 - alpha
    cv2.multiply(image, cv2.merge((behind, behind, behind)), dst=image)
    cv2.add(image, cv2.cvtColor(layer, cv2.COLOR_RGBA2RGB), dst=image, dtype=cv2.CV_32F)
    return alpha
