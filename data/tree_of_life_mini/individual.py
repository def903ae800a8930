"""One organism: its factors, drawn from a seed, and its picture."""

import copy
import zlib
from dataclasses import dataclass, replace

import cv2
import numpy as np

from bioclip_jax.datasets.tree_of_life_mini import curves, palette, plans, scene
from bioclip_jax.datasets.tree_of_life_mini.canvas import Canvas
from bioclip_jax.datasets.tree_of_life_mini.tree import Species

SEED = 2026
JPEG_QUALITY = 92
_JUVENILE, _DISEASED = 0.3, 0.25


@dataclass(frozen=True)
class Individual:
    """An organism and its labels.

    `sex` is empty for plants and fungi; `trait_value` is NaN for species without a measured trait.
    """

    species: Species
    number: int
    life_stage: str
    sex: str
    health: str
    trait_name: str
    trait_value: float
    rng: np.random.Generator

    @classmethod
    def from_seed(cls, species: Species, number: int, seed: int = SEED) -> "Individual":
        """Draw the individual as a pure function of (seed, species, number)."""
        rng = np.random.default_rng([seed, zlib.crc32(species.name.encode()), number])
        juvenile, male, diseased = rng.random(3) < (_JUVENILE, 0.5, _DISEASED)
        sexed = species.taxon.kingdom == "Animalia"
        name, value = "", float("nan")
        if "beak_depth" in species.traits:
            mean = species.traits["beak_depth"]
            name, value = "beak_depth", mean * (0.9 if juvenile else 1.0) * (1 + 0.07 * _bounded(rng))
        return cls(
            species=species,
            number=number,
            life_stage="juvenile" if juvenile else "adult",
            sex=("male" if male else "female") if sexed else "",
            health="diseased" if diseased else "healthy",
            trait_name=name,
            trait_value=value,
            rng=rng,
        )

    @property
    def key(self) -> str:
        """Key of the individual, unique in the data set."""
        return f"{self.species.name.replace(' ', '_').lower()}_{self.number:04d}"

    @property
    def juvenile(self) -> bool:
        return self.life_stage == "juvenile"

    @property
    def male(self) -> bool:
        return self.sex == "male"

    @property
    def diseased(self) -> bool:
        return self.health == "diseased"

    def trait(self, name: str, default=None):
        """A trait of the species, male_NAME for adult males if defined. KeyError without a default."""
        traits = self.species.traits
        if self.male and not self.juvenile:
            name = f"male_{name}" if f"male_{name}" in traits else name
        return traits[name] if default is None else traits.get(name, default)

    def size(self, name: str, default=None, spread: float = 0.05) -> float:
        """A numeric trait with individual variation of relative size `spread`."""
        return self.trait(name, default) * (1 + spread * _bounded(self.rng))

    def color(self, name: str, default=None) -> palette.Color:
        """A color trait as worn by this individual, duller in juveniles and females."""
        return self.wear(self.trait(name, default))

    def wear(self, color: palette.Color) -> palette.Color:
        """A color as worn by this individual, duller in juveniles and females."""
        drab = 0.35 * self.juvenile + 0.28 * (self.sex == "female")
        pale = 1 + 0.12 * self.juvenile + 0.15 * (self.sex == "female")
        return palette.vary(self.rng, palette.shade(palette.dull(color, drab), pale))

    def picture(self) -> bytes:
        """Draw the individual as a 128-pixel JPEG, with the same bytes each time."""
        # Drawing advances the generator, so it gets a copy.
        return replace(self, rng=copy.deepcopy(self.rng))._draw()

    def _draw(self) -> bytes:
        light = scene.Light.draw(self.rng)
        pose = scene.Pose.draw(self.rng, self.trait("turn", 25.0), 0.88 if self.juvenile else 1.0)
        canvas = Canvas(pose.into_organism(light.direction))
        plans.PLANS[self.trait("plan")](canvas, self)
        if self.diseased:
            _lesions(canvas, self)
        image = scene.compose(canvas, pose, light, self.trait("scenes", ()), self.rng)
        ok, encoded = cv2.imencode(".jpg", image[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))
        if not ok:
            raise RuntimeError(f"OpenCV could not encode the picture of {self.key}")
        return encoded.tobytes()


def _lesions(canvas: Canvas, individual: Individual) -> None:
    """Sores and mold spots, dark cores in pale halos, anywhere on the organism."""
    rng = individual.rng
    ys, xs = np.nonzero(canvas.alpha[8:-8:4, 8:-8:4] > 250)
    if not len(xs):
        return
    chosen = rng.integers(0, len(xs), rng.integers(5, 10))
    centers = np.stack([xs[chosen], ys[chosen]], 1) * (4 / 128) + (8 / 128 - 1)
    sizes = rng.uniform(0.03, 0.07, len(chosen))
    halos = [curves.blob(rng, x, y, 1.6 * r, 0.3) for (x, y), r in zip(centers, sizes)]
    cores = [curves.blob(rng, x, y, r, 0.35) for (x, y), r in zip(centers, sizes)]
    canvas.tint_inside(halos, palette.vary(rng, (208, 196, 120), 0.1), 0.6, soften=0.05)
    canvas.tint_inside(cores, palette.vary(rng, (70, 48, 34), 0.12), 0.9, soften=0.02)


def _bounded(rng: np.random.Generator) -> float:
    """Standard normal, clipped at two standard deviations to keep organisms plausible."""
    return float(np.clip(rng.standard_normal(), -2, 2))
