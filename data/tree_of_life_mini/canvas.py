"""A transparent canvas of layered parts that are antialiased, shaded and clipped to their outlines.

Drawing is at twice the stored resolution in the unit frame of the organism (x right, y down, -1 … 1). Colors
are RGB triples of floats in 0 … 255. Patterns may exceed a part, since its outline clips them when it is
composited.
"""

import cv2
import numpy as np
from jaxtyping import Float, UInt8

SIZE = 256
_SHIFT = 4


class Canvas:
    """Premultiplied RGBA canvas; `light` is the unit vector toward the light in the organism's frame."""

    def __init__(self, light=(-0.6, -0.8)):
        self.rgb: UInt8[np.ndarray, "256 256 3"] = np.zeros((SIZE, SIZE, 3), np.uint8)
        self.alpha: UInt8[np.ndarray, "256 256"] = np.zeros((SIZE, SIZE), np.uint8)
        self.light = light

    def part(
        self, outline, color, relief: float = 0.35, radius: float = 0.12, opacity: float = 1.0
    ) -> "Part":
        """Open a part bounded by `outline`; leaving its `with` block shades and composites it.

        `relief` is the strength of the shading, `radius` its reach from the edge.
        """
        return Part(self, outline, color, relief, radius, opacity)

    def fill(self, outline, color, relief: float = 0.35, radius: float = 0.12, opacity: float = 1.0) -> None:
        """Composite a part without a pattern."""
        with Part(self, outline, color, relief, radius, opacity):
            pass

    def flat(self, outlines, color, rim=None) -> None:
        """Draw unshaded polygons that do not overlap, with a fine outline if `rim` is a color."""
        polygons = [_fixed(points, 0, 0) for points in outlines]
        cv2.fillPoly(self.rgb, polygons, color, cv2.LINE_AA, _SHIFT)
        cv2.fillPoly(self.alpha, polygons, 255, cv2.LINE_AA, _SHIFT)
        if rim is not None:
            cv2.polylines(self.rgb, polygons, True, rim, 1, cv2.LINE_AA, _SHIFT)
            cv2.polylines(self.alpha, polygons, True, 255, 1, cv2.LINE_AA, _SHIFT)

    def strokes(self, lines, color, width: float = 0.012) -> None:
        """Draw open lines of one width."""
        polygons = [_fixed(points, 0, 0) for points in lines]
        thickness = _thickness(width)
        cv2.polylines(self.rgb, polygons, False, color, thickness, cv2.LINE_AA, _SHIFT)
        cv2.polylines(self.alpha, polygons, False, 255, thickness, cv2.LINE_AA, _SHIFT)

    def mirror_right(self) -> None:
        """Replace the left half by the mirror image of the right half."""
        half = SIZE // 2
        self.rgb[:, :half] = self.rgb[:, half:][:, ::-1]
        self.alpha[:, :half] = self.alpha[:, half:][:, ::-1]

    def tint_inside(self, outlines, color, opacity: float = 1.0, soften: float = 0.0) -> None:
        """Blend a color into the drawing within the outlines, for spots, lesions and shade."""
        mask = np.zeros((SIZE, SIZE), np.uint8)
        cv2.fillPoly(mask, [_fixed(points, 0, 0) for points in outlines], 255, cv2.LINE_AA, _SHIFT)
        if soften:
            k = _odd(soften)
            mask = cv2.blur(mask, (k, k))
        weight = mask * np.float32(opacity / 255.0)
        x, y, w, h = cv2.boundingRect(mask)
        box = np.s_[y : y + h, x : x + w]
        weight = weight[box]
        target = self.alpha[box].astype(np.float32)[..., None] * np.asarray(color, np.float32) / 255.0
        self.rgb[box] = cv2.blendLinear(
            target.astype(np.uint8), np.ascontiguousarray(self.rgb[box]), weight, 1 - weight
        )


class Part:
    """One shaded part; paint on it inside a `with` block."""

    def __init__(self, canvas, outline, color, relief, radius, opacity):
        fixed = np.asarray(outline, float) * (SIZE / 2) + SIZE / 2
        low = np.clip(np.floor(fixed.min(0)) - 1, 0, SIZE - 1).astype(int)
        high = np.clip(np.ceil(fixed.max(0)) + 2, low + 1, SIZE).astype(int)
        self._canvas, self._x, self._y = canvas, int(low[0]), int(low[1])
        self._relief, self._radius, self._opacity = relief, radius, opacity
        shape = (int(high[1] - low[1]), int(high[0] - low[0]))
        self.rgb = np.empty((*shape, 3), np.uint8)
        self.rgb[:] = np.clip(color, 0, 255)
        self.mask = np.zeros(shape, np.uint8)
        cv2.fillPoly(self.mask, [self._local(outline)], 255, cv2.LINE_AA, _SHIFT)
        self._gloss = self._gain = None

    def _local(self, points):
        return _fixed(points, self._x, self._y)

    def fill(self, outlines, color) -> None:
        """Paint polygons."""
        cv2.fillPoly(self.rgb, [self._local(points) for points in outlines], color, cv2.LINE_AA, _SHIFT)

    def strokes(self, lines, color, width: float = 0.012) -> None:
        """Paint open lines."""
        lines = [self._local(points) for points in lines]
        cv2.polylines(self.rgb, lines, False, color, _thickness(width), cv2.LINE_AA, _SHIFT)

    def edge(self, outline, color, width: float) -> None:
        """Paint a border of the given width inside the outline."""
        cv2.polylines(
            self.rgb, [self._local(outline)], True, color, _thickness(2 * width), cv2.LINE_AA, _SHIFT
        )

    def dots(self, centers, radius, color) -> None:
        """Paint discs; `radius` is one number or one per center."""
        centers = self._local(np.asarray(centers, float).reshape(-1, 2))
        radii = np.broadcast_to(np.asarray(radius, float), len(centers)) * (SIZE / 2) * (1 << _SHIFT)
        for (x, y), r in zip(centers.tolist(), radii.tolist()):
            cv2.circle(self.rgb, (x, y), max(int(r), 8), color, -1, cv2.LINE_AA, _SHIFT)

    def gradient(self, start, end, color, power: float = 1.0) -> None:
        """Blend toward a color along the line from `start` (none of it) to `end` (all of it)."""
        start, end = (
            np.asarray(p, np.float32) * (SIZE / 2) + SIZE / 2 - (self._x, self._y) for p in (start, end)
        )
        along = end - start
        along = along / max(float(along @ along), 1e-6)
        h, w = self.mask.shape
        xs = (np.arange(w, dtype=np.float32) - start[0]) * along[0]
        ys = (np.arange(h, dtype=np.float32) - start[1]) * along[1]
        weight = np.clip(ys[:, None] + xs[None, :], 0, 1).astype(np.float32)
        if power != 1.0:
            weight = weight**power
        self.blend(weight, color)

    def blend(self, weight, color) -> None:
        """Blend toward a color by a weight image in 0 … 1."""
        paint = np.empty_like(self.rgb)
        paint[:] = np.clip(color, 0, 255)
        self.rgb = cv2.blendLinear(paint, self.rgb, weight, 1 - weight)

    def soften(self, width: float) -> None:
        """Blur what has been painted, for fur, feathers and watercolor edges."""
        k = _odd(width)
        self.rgb = cv2.blur(self.rgb, (k, k))

    def mottle(self, rng: np.random.Generator, strength: float, grain: float = 0.06) -> None:
        """Multiply by smooth noise whose blotches are `grain` across."""
        h, w = self.mask.shape
        cells = max(2, round(h / (grain * SIZE / 2))), max(2, round(w / (grain * SIZE / 2)))
        noise = rng.random(cells, np.float32)
        noise = cv2.resize(noise, (w, h), interpolation=cv2.INTER_LINEAR)
        self._gain = (1 - strength) + noise * np.float32(2 * strength)

    def gloss(
        self, x: float, y: float, rx: float, ry: float, strength: float = 0.6, turn: float = 0.0
    ) -> None:
        """A soft white highlight."""
        spot = np.zeros(self.mask.shape, np.uint8)
        center = (int(x * SIZE / 2 + SIZE / 2 - self._x), int(y * SIZE / 2 + SIZE / 2 - self._y))
        axes = (max(1, int(rx * SIZE / 2)), max(1, int(ry * SIZE / 2)))
        cv2.ellipse(spot, center, axes, turn, 0, 360, int(255 * strength), -1, cv2.LINE_AA)
        k = max(3, 2 * (min(axes) // 2) + 1)
        self._gloss = (
            cv2.blur(spot, (k, k)) if self._gloss is None else cv2.max(self._gloss, cv2.blur(spot, (k, k)))
        )

    def __enter__(self):
        return self

    def __exit__(self, exc_type, exc, traceback):
        if exc_type is None:
            self._composite()

    def _composite(self):
        h, w = self.mask.shape
        rgb, gain = self.rgb, self._gain
        if self._relief:
            gain = self._shade() if gain is None else self._shade() * gain
        if gain is not None:
            rgb = cv2.multiply(rgb, cv2.merge((gain, gain, gain)), dtype=cv2.CV_8U)
        if self._gloss is not None:
            rgb = cv2.add(rgb, cv2.merge((self._gloss, self._gloss, self._gloss)))
        box = np.s_[self._y : self._y + h, self._x : self._x + w]
        weight = self.mask * np.float32(self._opacity / 255.0)
        canvas = self._canvas
        canvas.rgb[box] = cv2.blendLinear(rgb, np.ascontiguousarray(canvas.rgb[box]), weight, 1 - weight)
        mask = self.mask if self._opacity == 1.0 else (weight * 255).astype(np.uint8)
        canvas.alpha[box] = cv2.max(np.ascontiguousarray(canvas.alpha[box]), mask)

    def _shade(self) -> Float[np.ndarray, "height width"]:
        """Brightness of a cushion with this outline, lit from `light` and darker at the rim."""
        k = max(3, min(_odd(self._radius), min(self.mask.shape) // 2 | 1))
        cushion = cv2.blur(self.mask, (k, k), borderType=cv2.BORDER_CONSTANT)
        cushion = cv2.blur(cushion, (k // 2 | 1, k // 2 | 1), borderType=cv2.BORDER_CONSTANT).astype(
            np.float32
        )
        lx, ly = self._canvas.light
        slope = cv2.Sobel(cushion, cv2.CV_32F, 1, 0, scale=lx) + cv2.Sobel(
            cushion, cv2.CV_32F, 0, 1, scale=ly
        )
        # A surface that falls toward the light is lit, one that rises toward it is in shade.
        slope *= np.float32(-self._relief * k / (8 * 255))
        cushion *= np.float32(self._relief / 255)
        return slope + cushion + np.float32(1 - 0.9 * self._relief)


def _fixed(points, x: int, y: int):
    """Points of the unit frame as fixed-point pixels relative to (x, y)."""
    half = SIZE / 2 * (1 << _SHIFT)
    scaled = np.asarray(points, float) * half
    scaled += (half - (x << _SHIFT) + 0.5, half - (y << _SHIFT) + 0.5)
    return scaled.astype(np.int32)


def _thickness(width: float) -> int:
    return max(1, round(width * SIZE / 2))


def _odd(width: float) -> int:
    return 2 * max(1, round(width * SIZE / 4)) + 1
