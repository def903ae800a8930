"""Coefficient of overlapping of two species' activity over the day.

Δ = ∫ min(f, g) dt is 1 for equal activity and 0 where one species is never active when the other is.
Estimators of Ridout and Linkie 2009 (J. Agric. Biol. Environ. Stat. 14:322-337), from kernel densities f, g
of samples x, y:

    Δ1 = ∫ min(f, g) dt                                                 concentration of the kernels × 1.25
    Δ4 = (mean over x of min(1, g/f) + mean over y of min(1, f/g)) / 2  concentration × 1
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import combinations

import numpy as np
from jaxtyping import Complex, Float

from .activity import centered_interval
from .circular_density import FINE, GRID, CircularDensity, bootstrap, evaluate
from .interval import Interval

# Ridout and Linkie's simulations favor Δ4 above 75 events and Δ1 below 50; between them the two are alike.
DELTA4_EVENTS = 75
_SHARPNESS = {"delta1": 1.25, "delta4": 1.0}


@dataclass(frozen=True)
class Overlap:
    """Overlap of the activity of species a and b; estimator is "delta1" or "delta4"."""

    a: str
    b: str
    coefficient: Interval
    estimator: str

    def as_dict(self) -> dict[str, object]:
        """Return the JSON of `twin estimate`."""
        return {"a": self.a, "b": self.b, "estimator": self.estimator, **self.coefficient.as_dict()}


def estimate_overlaps(
    densities: Mapping[str, CircularDensity], *, level: float = 0.90, draws: int = 500, seed: int = 0
) -> list[Overlap]:
    """Estimate the overlap of all pairs of species, in the order of `densities` (`Activity.density`).

    Δ4 where both have at least 75 events, else Δ1. Intervals: smoothed bootstrap of `draws` samples of each
    species, shared by its pairs, centered on the logit scale (activity.centered_interval).
    """
    streams = np.random.default_rng(seed).spawn(len(densities))
    samples = {
        name: _Samples.draw(density, draws, stream)
        for (name, density), stream in zip(densities.items(), streams, strict=True)
    }

    @cache
    def fine_density(name: str, estimator: str) -> Float[np.ndarray, " fine"]:
        return densities[name].at_grid(_SHARPNESS[estimator], FINE)

    overlaps = []
    for a, b in combinations(densities, 2):
        estimator = "delta4" if min(densities[a].n, densities[b].n) >= DELTA4_EVENTS else "delta1"
        f, g = fine_density(a, estimator), fine_density(b, estimator)
        estimate = _coefficient(estimator, f, g, densities[a].fine_weights, densities[b].fine_weights)
        f, g = samples[a].density(estimator), samples[b].density(estimator)
        replicates = _coefficient(estimator, f, g, samples[a].weights, samples[b].weights)
        overlaps.append(Overlap(a, b, centered_interval(float(estimate), replicates, level), estimator))
    return overlaps


def overlap_coefficient(a: CircularDensity, b: CircularDensity, estimator: str) -> float:
    """Return Δ1 or Δ4 ("delta1", "delta4") of two densities, within 1e-6 of direct sums."""
    f, g = (density.at_grid(_SHARPNESS[estimator], FINE) for density in (a, b))
    return float(_coefficient(estimator, f, g, a.fine_weights, b.fine_weights))


def _coefficient(
    estimator: str,
    f: Float[np.ndarray, "*b t"],
    g: Float[np.ndarray, "*b t"],
    x: Float[np.ndarray, "*b t"],
    y: Float[np.ndarray, "*b t"],
) -> Float[np.ndarray, "*b"]:
    """Δ1 or Δ4 of densities and, for Δ4, of the samples' weights at the same times of day."""
    least = np.minimum(f, g)
    if estimator == "delta1":
        return np.clip(least.mean(axis=-1) * (2 * np.pi), 0, 1)
    # Where both are below rounding error, the ratio says nothing, and no event of either is there.
    of_x = np.einsum("...t,...t->...", x, least / np.maximum(f, 1e-12))
    of_y = np.einsum("...t,...t->...", y, least / np.maximum(g, 1e-12))
    return np.clip((of_x + of_y) / 2, 0, 1)


@dataclass
class _Samples:
    """Bootstrap samples of a species, and their densities, kept as float32: fifty species take 400 MB."""

    weights: Float[np.ndarray, "draws grid"]
    moments: Complex[np.ndarray, "draws terms"]
    concentration: Float[np.ndarray, " draws"]
    densities: dict[str, Float[np.ndarray, "draws grid"]]

    @classmethod
    def draw(cls, density: CircularDensity, draws: int, random: np.random.Generator) -> _Samples:
        weights, moments, concentration = bootstrap(density, draws, random)
        return cls(weights.astype(np.float32), moments.astype(np.complex64), concentration, {})

    def density(self, estimator: str) -> Float[np.ndarray, "draws grid"]:
        if estimator not in self.densities:
            nu = self.concentration * _SHARPNESS[estimator]
            self.densities[estimator] = evaluate(self.moments, nu, GRID).astype(np.float32)
        return self.densities[estimator]
