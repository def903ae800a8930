"""A camera's view: a static scene, and the light that falls on it by day, at dusk and from the flash.

Images are float32 RGB in 0 … 255 while they are being composed.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

WIDTH, HEIGHT = 256, 224
# Elevation of the sun in degrees at which the camera changes to infrared.
NIGHT = -3.0

_GROUNDS = {
    "forest": ((92, 74, 52), (66, 56, 40), (120, 92, 60)),
    "scrub": ((142, 122, 86), (118, 98, 66), (160, 142, 104)),
    "meadow": ((96, 112, 58), (78, 92, 48), (130, 128, 74)),
}
_GREENS = ((52, 78, 38), (84, 110, 52), (104, 118, 66), (42, 60, 36))


@dataclass(frozen=True)
class View:
    """The picture of a camera while nothing passes.

    scene: colors under even light. depth: 0 at the camera, 1 at the far end. horizon: row of the far end of
    the ground. blades: grass before everything else, premultiplied RGBA. canopy: shade of the leaves above,
    larger than the picture, so that it moves with the sun. tint: color response of this camera.
    """

    scene: Float[np.ndarray, "height width 3"]
    depth: Float[np.ndarray, "height width"]
    horizon: int
    blades: UInt8[np.ndarray, "height width 4"]
    canopy: Float[np.ndarray, "tall wide"]
    tint: Float[np.ndarray, "3"]

    @classmethod
    def draw(cls, rng: np.random.Generator, habitat: str) -> "View":
        """Draw the view of a camera in a habitat: forest, scrub or meadow."""
        horizon = int(HEIGHT * rng.uniform(0.22, 0.36))
        rows = np.arange(HEIGHT, dtype=np.float32)[:, None]
        depth = np.clip((HEIGHT - rows) / (HEIGHT - horizon), 0, 1) * np.ones(WIDTH, np.float32)
        scene = _ground(rng, habitat, horizon)
        _backdrop(scene, rng, habitat, horizon)
        # The lens is focused on what passes close by.
        scene = cv2.GaussianBlur(scene, (0, 0), rng.uniform(2.5, 4.5))
        scene = scene + (scene.mean((0, 1)) - scene) * np.float32(rng.uniform(0.3, 0.6))
        canopy = _noise(rng, 2 * HEIGHT, 2 * WIDTH, 7, 4)
        leafy = {"forest": 1.0, "scrub": 0.6, "meadow": 0.2}[habitat]
        return cls(
            scene=scene,
            depth=depth,
            horizon=horizon,
            blades=_blades(rng, habitat),
            canopy=np.float32(leafy) * np.clip(2.5 * canopy + 0.3, 0, 1),
            tint=np.exp(0.05 * rng.standard_normal(3)).astype(np.float32),
        )


@dataclass(frozen=True)
class Light:
    """Light of a moment: elevation of the sun in degrees, solar hour, and how overcast it is (0 … 1)."""

    elevation: float
    hour: float
    overcast: float

    @property
    def infrared(self) -> bool:
        """True if the camera uses its infrared flash."""
        return self.elevation < NIGHT

    @property
    def direction(self) -> tuple[float, float]:
        """Unit vector in the picture toward the light; the camera looks south."""
        angle = 0.0 if self.infrared else np.clip((12 - self.hour) / 7, -1, 1) * 1.2
        return (float(np.sin(angle)), -float(np.cos(angle)))

    @property
    def hard(self) -> float:
        """Strength of cast shadows, 0 … 1."""
        return 0.0 if self.infrared else float((1 - self.overcast) * np.clip(self.elevation / 15, 0, 1))

    def shine(
        self,
        image: Float[np.ndarray, "height width 3"],
        depth: Float[np.ndarray, "height width"],
        view: View,
        rng: np.random.Generator,
    ) -> UInt8[np.ndarray, "height width 3"]:
        """Light a composed picture, and add the noise of the sensor."""
        exposure = float(np.exp(0.08 * rng.standard_normal()))
        if self.infrared:
            gray = cv2.transform(image, np.float32([[0.42, 0.5, 0.08]]))
            # Plants are bright in the infrared; the flash reaches a few meters.
            flash = np.float32(exposure) * _vignette() * (1.25 - 0.95 * depth)
            lit = cv2.multiply(gray, flash)
            image = cv2.merge((lit, lit, lit))
            grain = 0.06
        else:
            low = float(np.clip(1 - self.elevation / 25, 0, 1))
            warm = (0.16 if self.elevation > 0 else -0.10) * low * (1 - 0.6 * self.overcast)
            color = view.tint * np.exp(np.float32([warm, 0.0, -warm]))
            dusk = 1 - 0.35 * float(np.clip(-self.elevation / 3 + 0.3, 0, 1))
            x = int((self.hour / 24) * WIDTH)
            y = int(HEIGHT * (0.5 + self.elevation / 400))
            shade = 1.06 - np.float32(0.45 * self.hard) * view.canopy[y : y + HEIGHT, x : x + WIDTH]
            haze = np.float32(18 * self.overcast)
            image = cv2.multiply(image, cv2.merge([np.float32(exposure * dusk * c) * shade for c in color]))
            image = image + haze * depth[..., None]
            grain = 0.02 + 0.04 * low
        noise = rng.integers(0, 256, (HEIGHT, WIDTH), np.uint8)
        noise = cv2.merge((noise, noise, noise))
        return cv2.addWeighted(image, 1.0, noise, grain, -128 * grain, dtype=cv2.CV_8U)


def stamp(image: UInt8[np.ndarray, "height width 3"], text: str) -> None:
    """Write the camera's line of text into the lowest rows."""
    cv2.putText(image, text, (4, HEIGHT - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.3, (240, 196, 120), 1, cv2.LINE_AA)


def _ground(rng, habitat: str, horizon: int) -> Float[np.ndarray, "height width 3"]:
    """Soil with litter, or grass, whose grain grows toward the camera."""
    tones = np.array(_GROUNDS[habitat], np.float32) * np.float32(rng.uniform(0.85, 1.15))
    fine, coarse = _noise(rng, HEIGHT, WIDTH, 24, 3), _noise(rng, HEIGHT, WIDTH, 5, 3)
    image = tones[0] + (tones[1] - tones[0]) * np.clip(0.5 + fine, 0, 1)[..., None]
    image = image + (tones[2] - image) * np.clip(coarse, 0, 0.8)[..., None]
    count = {"forest": 700, "scrub": 350, "meadow": 900}[habitat]
    rows = horizon + (HEIGHT - horizon) * rng.random(count) ** 0.7
    for row in np.sort(rows):
        near = (row - horizon) / (HEIGHT - horizon)
        x, size = rng.uniform(0, WIDTH), 1 + 5 * near
        tone = (tones[rng.integers(3)] * rng.uniform(0.6, 1.35)).tolist()
        if habitat == "meadow":
            lean = rng.uniform(-2, 2) * (1 + near)
            tip = (int(x + lean), int(row - 2 - 10 * near * rng.uniform(0.5, 1)))
            cv2.line(image, (int(x), int(row)), tip, tone, 1, cv2.LINE_AA)
        else:  # leaves and stones
            axes = (max(1, int(size * rng.uniform(0.4, 1))), max(1, int(size * 0.4)))
            cv2.ellipse(image, (int(x), int(row)), axes, rng.uniform(-40, 40), 0, 360, tone, -1, cv2.LINE_AA)
    return image


def _backdrop(image, rng, habitat: str, horizon: int) -> None:
    """Sky, leaves and trunks above the far end of the ground, out of focus."""
    tall = horizon + 6
    plate = np.empty((tall, WIDTH, 3), np.float32)
    plate[:] = np.float32(_GREENS[rng.integers(4)]) * 0.9
    if habitat != "forest":
        sky = np.float32([188, 204, 216]) * np.float32(rng.uniform(0.85, 1.1))
        plate[:] = sky
    leaves = {"forest": 260, "scrub": 130, "meadow": 60}[habitat]
    for _ in range(leaves):
        x, y = rng.uniform(0, WIDTH), tall * rng.random() ** 0.5
        tone = (np.float32(_GREENS[rng.integers(4)]) * rng.uniform(0.7, 1.5)).tolist()
        cv2.circle(plate, (int(x), int(y)), int(rng.integers(3, 12)), tone, -1, cv2.LINE_AA)
    for _ in range({"forest": 6, "scrub": 2, "meadow": 1}[habitat]):
        x, width, lean = rng.uniform(0, WIDTH), rng.uniform(5, 20), rng.uniform(-12, 12)
        tone = np.float32([96, 80, 64]) * rng.uniform(0.6, 1.2)
        trunk = [(x, tall), (x + width, tall), (x + 0.8 * width + lean, -5), (x + 0.1 * width + lean, -5)]
        cv2.fillPoly(plate, [np.int32(trunk)], tone.tolist(), cv2.LINE_AA)
        edge = np.int32([trunk[1], trunk[2]])
        cv2.polylines(plate, [edge], False, (0.6 * tone).tolist(), 3, cv2.LINE_AA)
    plate = cv2.GaussianBlur(plate, (5, 5), 1.6)
    seam = np.clip((tall - np.arange(tall, dtype=np.float32)) / 8, 0, 1)[:, None, None]
    image[:tall] = plate * seam + image[:tall] * (1 - seam)


def _blades(rng, habitat: str) -> UInt8[np.ndarray, "height width 4"]:
    """Grass close to the lens, at one side of the picture."""
    layer = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    count = int({"forest": 2, "scrub": 5, "meadow": 9}[habitat] * rng.uniform(0.3, 1.3))
    side = rng.integers(2) * WIDTH
    for _ in range(count):
        x = side + rng.normal(0, 40)
        tip = x + rng.normal(0, 25)
        points = [(x, HEIGHT), (0.4 * x + 0.6 * tip, HEIGHT - 40), (tip, HEIGHT - rng.uniform(45, 110))]
        tone = np.float32([108, 124, 66]) * rng.uniform(0.6, 1.2)
        cv2.polylines(layer, [np.int32(points)], False, (*tone.tolist(), 255), 2, cv2.LINE_AA)
    return cv2.GaussianBlur(layer, (5, 5), 1.2)


def _noise(rng, height: int, width: int, cells: int, octaves: int) -> Float[np.ndarray, "height width"]:
    """Smooth noise of about -1 … 1 whose largest blotches are 1/cells of the height."""
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        n = cells << octave
        layer = rng.random((n, n * width // height), np.float32) * 2 - 1
        total += cv2.resize(layer, (width, height), interpolation=cv2.INTER_LINEAR) * np.float32(0.6**octave)
    return total * np.float32(0.75)


def _vignette() -> Float[np.ndarray, "height width"]:
    y = np.linspace(-1, 1, HEIGHT, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, WIDTH, dtype=np.float32)
    return np.clip(1.15 - 0.5 * (x**2 + 0.7 * y**2), 0.1, None)
