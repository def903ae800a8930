"""Scene of an organism: pose, background, shadow and light.

Light has the same wide distribution for all species. Backgrounds are mostly the habitat of the order or
class, and otherwise any, so that they never identify the species.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from bioclip_jax.datasets.tree_of_life_mini import curves
from bioclip_jax.datasets.tree_of_life_mini.canvas import SIZE, Canvas

PICTURE = 128
_PLATE = 64  # half resolution, since backgrounds are out of focus


@dataclass(frozen=True)
class Pose:
    """Perspective map from the canvas to the picture at canvas resolution."""

    matrix: Float[np.ndarray, "3 3"]
    degrees: float
    flipped: bool

    @classmethod
    def draw(cls, rng: np.random.Generator, turn: float, scale: float) -> "Pose":
        """A random pose rotated by up to `turn` degrees, with about 15 % of perspective, scale and shift."""
        degrees, flipped = float(rng.uniform(-turn, turn)), bool(rng.random() < 0.5)
        scale = scale * rng.uniform(0.98, 1.1)
        corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)], float)
        moved = corners * (-scale if flipped else scale, scale) * (1, rng.uniform(0.9, 1.0))
        moved = curves.rotate(moved, degrees) + rng.uniform(-0.05, 0.05, 2) + rng.uniform(-0.05, 0.05, (4, 2))
        matrix = cv2.getPerspectiveTransform(_pixels(corners), _pixels(moved))
        return cls(matrix, degrees, flipped)

    def into_organism(self, direction) -> tuple[float, float]:
        """Map a direction on the picture to the organism's frame."""
        x, y = curves.rotate(np.asarray(direction), -self.degrees)
        return (-x if self.flipped else x, y)

    def apply(self, canvas: Canvas) -> UInt8[np.ndarray, "128 128 4"]:
        """Warp the canvas to this pose at picture resolution, premultiplied RGBA."""
        layer = cv2.merge([*cv2.split(canvas.rgb), canvas.alpha])
        layer = cv2.warpPerspective(layer, self.matrix, (SIZE, SIZE), flags=cv2.INTER_LINEAR)
        return cv2.resize(layer, (PICTURE, PICTURE), interpolation=cv2.INTER_AREA)


@dataclass(frozen=True)
class Light:
    """Direction, color and strength of the light on the scene."""

    direction: tuple[float, float]
    gains: tuple[float, float, float]
    gamma: float
    saturation: float
    slope: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Light":
        """Random light, from a warm evening to blue shade, from under- to overexposed."""
        angle = np.radians(rng.uniform(-160, -20))
        warm, green = 0.17 * rng.standard_normal(), 0.07 * rng.standard_normal()
        exposure = np.exp(0.12 * rng.standard_normal())
        return cls(
            direction=(float(np.cos(angle)), float(np.sin(angle))),
            gains=tuple(float(exposure * np.exp(g)) for g in (warm, green, -warm)),
            gamma=float(np.exp(0.16 * rng.standard_normal())),
            saturation=float(np.clip(0.9 + 0.28 * rng.standard_normal(), 0.3, 1.4)),
            slope=float(rng.uniform(0.0, 0.35)),
        )

    def shine_on(self, image: Float[np.ndarray, "128 128 3"]) -> UInt8[np.ndarray, "128 128 3"]:
        """Light the picture of a scene in 0 … 255."""
        gray = (1 - self.saturation) * np.array([[0.3, 0.59, 0.11]])
        color = np.diag(self.gains) @ (self.saturation * np.eye(3) + gray.repeat(3, axis=0))
        image = cv2.transform(image, color.astype(np.float32))
        fall = np.linspace(-self.slope, self.slope, PICTURE, dtype=np.float32)
        fall = np.float32(self.direction[0]) * fall + (1 + np.float32(self.direction[1]) * fall[:, None])
        image = cv2.multiply(image, cv2.merge((fall, fall, fall)), dtype=cv2.CV_8U)
        steps = (255 * (np.arange(256) / 255) ** self.gamma).astype(np.uint8)
        return cv2.LUT(image, steps)


def compose(
    canvas: Canvas, pose: Pose, light: Light, scenes, rng: np.random.Generator
) -> UInt8[np.ndarray, "128 128 3"]:
    """Composite the organism on a background under the light; `scenes` are its preferred backgrounds."""
    layer = pose.apply(canvas)
    alpha = layer[..., 3]
    kinds = tuple(BACKGROUNDS)
    kind = (
        scenes[rng.integers(len(scenes))]
        if scenes and rng.random() < 0.6
        else kinds[rng.integers(len(kinds))]
    )
    image = _out_of_focus(BACKGROUNDS[kind](rng).astype(np.float32), rng)

    depth = rng.uniform(2, 8)
    shift = np.float32([[1, 0, -light.direction[0] * depth], [0, 1, -light.direction[1] * depth]])
    k = int(depth) | 1
    shadow = cv2.blur(cv2.warpAffine(alpha, shift, (PICTURE, PICTURE)), (k, k))
    behind = (1 - shadow * np.float32(rng.uniform(0.15, 0.5) / 255)) * (1 - alpha * np.float32(1 / 255))
    image = cv2.multiply(image, cv2.merge((behind, behind, behind)))
    image = light.shine_on(cv2.add(image, cv2.cvtColor(layer, cv2.COLOR_RGBA2RGB), dtype=cv2.CV_32F))
    if rng.random() < 0.3:
        image = cv2.GaussianBlur(image, (3, 3), rng.uniform(0.3, 0.8))
    grain = rng.integers(0, 256, (PICTURE, PICTURE), np.uint8)
    strength = rng.uniform(0.01, 0.05)
    return cv2.addWeighted(image, 1.0, cv2.merge((grain, grain, grain)), strength, -128 * strength)


def _pixels(points) -> Float[np.ndarray, "points 2"]:
    return (np.asarray(points) * (SIZE / 2) + SIZE / 2).astype(np.float32)


def _out_of_focus(
    plate: Float[np.ndarray, "64 64 3"], rng: np.random.Generator
) -> Float[np.ndarray, "128 128 3"]:
    """Blur a background and reduce its contrast, as a lens focused on the organism."""
    k = int(rng.integers(1, 4)) * 2 + 1
    plate = cv2.blur(cv2.blur(plate, (k, k)), (k, k))
    mean = plate.mean((0, 1))
    plate = mean + (plate - mean) * np.float32(rng.uniform(0.3, 0.9))
    return cv2.resize(plate, (PICTURE, PICTURE), interpolation=cv2.INTER_LINEAR)


def _noise(rng: np.random.Generator, cells: int, octaves: int = 3) -> Float[np.ndarray, "64 64"]:
    """Smooth noise in about -1 … 1 whose largest blotches are 1/cells of the picture."""
    total = np.zeros((_PLATE, _PLATE), np.float32)
    for octave in range(octaves):
        size = min(_PLATE, cells << octave)
        layer = rng.random((size, size), np.float32) * 2 - 1
        total += cv2.resize(layer, (_PLATE, _PLATE), interpolation=cv2.INTER_CUBIC) * np.float32(0.6**octave)
    return total * np.float32(0.75)


def _tone(rng: np.random.Generator, *colors) -> Float[np.ndarray, "3"]:
    """A random mixture of the colors, with random brightness."""
    shares = rng.random(len(colors)) ** 2
    tone = shares @ np.array(colors, float) * (rng.uniform(0.75, 1.2) / shares.sum())
    return np.minimum(tone, 255).astype(np.float32)


def _blend(a, b, weight) -> Float[np.ndarray, "64 64 3"]:
    return a + (b - a) * np.clip(weight, 0, 1).astype(np.float32)[..., None]


def _sky(rng):
    top = _tone(rng, (90, 150, 215), (150, 190, 225), (200, 200, 205), (235, 190, 150))
    low = _tone(rng, (200, 220, 235), (235, 225, 215), (170, 195, 220))
    slope = np.linspace(0, 1, _PLATE, dtype=np.float32)[:, None] * np.ones((1, _PLATE), np.float32)
    sky = _blend(top, low, slope)
    return _blend(sky, np.float32([240, 240, 242]), _noise(rng, 3, 4) * rng.uniform(0.2, 1.0))


def _foliage(rng):
    """Leaves out of focus, as discs of light on a soft ground."""
    greens = ((60, 95, 45), (110, 145, 60), (40, 65, 50), (150, 150, 80), (120, 95, 60))
    image = _blend(_tone(rng, *greens), _tone(rng, *greens), _noise(rng, 3, 2) + 0.5)
    for _ in range(rng.integers(10, 22)):
        center = tuple(int(v) for v in rng.integers(0, _PLATE, 2))
        cv2.circle(
            image,
            center,
            int(rng.integers(2, 11)),
            _tone(rng, *greens, (190, 200, 120)).tolist(),
            -1,
            cv2.LINE_AA,
        )
    return image


def _grass(rng):
    greens = ((70, 110, 45), (130, 160, 70), (160, 150, 90), (95, 85, 50))
    image = np.empty((_PLATE, _PLATE, 3), np.float32)
    image[:] = _tone(rng, *greens) * 0.7
    for _ in range(rng.integers(25, 50)):
        x, lean = rng.uniform(-5, _PLATE + 5), rng.uniform(-15, 15)
        height = rng.uniform(10, 70)
        points = np.int32([(x, _PLATE), (x + lean * 0.3, _PLATE - height * 0.6), (x + lean, _PLATE - height)])
        cv2.polylines(
            image, [points], False, _tone(rng, *greens).tolist(), int(rng.integers(1, 3)), cv2.LINE_AA
        )
    return image


def _soil(rng):
    browns = ((105, 80, 58), (75, 58, 45), (150, 120, 90), (110, 100, 95))
    image = _blend(_tone(rng, *browns), _tone(rng, *browns), _noise(rng, 8, 4) + 0.5)
    for _ in range(rng.integers(6, 18)):
        center = tuple(int(v) for v in rng.integers(0, _PLATE, 2))
        axes = tuple(int(v) for v in rng.integers(1, 5, 2))
        tone = _tone(rng, *browns, (170, 140, 80), (90, 100, 50))
        cv2.ellipse(image, center, axes, float(rng.uniform(0, 180)), 0, 360, tone.tolist(), -1, cv2.LINE_AA)
    return image * (1 + 0.15 * _noise(rng, 24, 2))[..., None]


def _water(rng):
    blues = ((40, 100, 130), (60, 140, 150), (30, 70, 110), (90, 130, 110), (120, 175, 190))
    image = _blend(
        _tone(rng, *blues), _tone(rng, *blues), np.linspace(0, 1, _PLATE)[:, None] * np.ones(_PLATE)
    )
    ripples = cv2.resize(rng.random((20, 5), np.float32), (_PLATE, _PLATE), interpolation=cv2.INTER_CUBIC)
    return _blend(image, np.float32([215, 235, 235]), (ripples - 0.55) * rng.uniform(0.2, 1.2))


def _rock(rng):
    grays = ((130, 128, 122), (90, 90, 95), (165, 155, 140), (120, 105, 95))
    image = _blend(_tone(rng, *grays), _tone(rng, *grays), _noise(rng, 4, 5) + 0.5)
    lichen = _noise(rng, 10, 3) - rng.uniform(0.2, 0.8)
    return _blend(image, _tone(rng, (170, 175, 120), (190, 150, 80), (200, 200, 195)), lichen * 3)


def _paper(rng):
    paper = _tone(rng, (238, 234, 224), (225, 215, 195), (245, 245, 245), (205, 205, 200)) * rng.uniform(
        0.8, 1.05
    )
    return np.clip(paper, 0, 255) * (1 + 0.03 * _noise(rng, 24, 2))[..., None]


def _bark(rng):
    browns = ((95, 75, 58), (130, 110, 92), (70, 62, 55), (150, 140, 125))
    grain = cv2.resize(rng.random((6, 48), np.float32), (_PLATE, _PLATE), interpolation=cv2.INTER_CUBIC)
    image = _blend(_tone(rng, *browns), _tone(rng, *browns) * 0.5, grain + 0.3 * _noise(rng, 8, 3))
    return image if rng.random() < 0.5 else image.transpose(1, 0, 2)


BACKGROUNDS = {
    "sky": _sky,
    "foliage": _foliage,
    "grass": _grass,
    "soil": _soil,
    "water": _water,
    "rock": _rock,
    "paper": _paper,
    "bark": _bark,
}
