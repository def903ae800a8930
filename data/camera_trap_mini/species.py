"""The eight small animals of the world: what is the same of them in every world."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class SpeciesTraits:
    """Traits of a species.

    activity: (weight, solar hour, kappa) of each component of a von Mises mixture; the weights sum to 1.
    speed: mean over the whole day, rest included, in m/s. radius (m), angle (rad): the camera's detection
    zone for it. detection: probability that a passage through that zone triggers the camera.
    groups: probabilities of groups of 1, 2 and 3.
    """

    name: str
    activity: tuple[tuple[float, float, float], ...]
    speed: float
    radius: float
    angle: float
    detection: float
    groups: tuple[float, float, float]

    @property
    def effective_radius(self) -> float:
        """Radius (m) of a zone of perfect detection that records as many passages.

        Passages are proportional to the radius, so that it is detection × radius.
        """
        return self.detection * self.radius

    @property
    def mean_group(self) -> float:
        """Mean number of individuals of a passage."""
        return float(np.dot(self.groups, (1, 2, 3)))

    def density_per_km2(self, recorded_per_day: float) -> float:
        """Individuals per km² whose passages are recorded at this rate.

        D = y/t · π / (v r (2 + θ)) (Rowcliffe et al. 2008, equation 4), times the mean group, with the
        effective radius.
        """
        zone = self.speed * self.effective_radius * (2 + self.angle)
        return recorded_per_day / 86_400 * np.pi / zone * self.mean_group * 1e6

    def draw_hours(self, rng: np.random.Generator, n: int) -> Float[np.ndarray, " n"]:
        """Draw solar hours of passages."""
        weights, hours, kappas = map(np.array, zip(*self.activity))
        part = rng.choice(len(weights), n, p=weights)
        return (hours[part] + rng.vonmises(0.0, kappas[part]) * 12 / np.pi) % 24

    def activity_by_hour(self) -> Float[np.ndarray, "24"]:
        """Share of the passages in each solar hour."""
        angle = (np.arange(24 * 60) + 0.5) * np.pi / (12 * 60)
        density = sum(
            weight * np.exp(kappa * (np.cos(angle - hour * np.pi / 12) - 1)) / (2 * np.pi * _scaled_i0(kappa))
            for weight, hour, kappa in self.activity
        )
        return density.reshape(24, 60).sum(1) * np.pi / (12 * 60)


def draw_false_hours(rng: np.random.Generator, n: int) -> Float[np.ndarray, " n"]:
    """Draw solar hours of false triggers, which sun and wind cause, mostly by day."""
    return (12 + rng.vonmises(0.0, 1.2, n) * 12 / np.pi) % 24


def _scaled_i0(kappa: float) -> float:
    return float(np.i0(kappa) * np.exp(-kappa))


_SINGLE, _PAIRS = (0.94, 0.05, 0.01), (0.88, 0.09, 0.03)
_DAYTIME = ((1.0, 12.0, 2.0),)
_FORENOON = ((0.7, 9.5, 4.0), (0.3, 15.0, 4.0))
_MORNING_AND_EVENING = ((0.55, 7.5, 8.0), (0.45, 16.3, 8.0))
_LATE_DAY = ((0.75, 15.5, 4.0), (0.25, 8.0, 6.0))
_TWILIGHT = ((0.35, 5.8, 12.0), (0.65, 18.6, 8.0))
_LATE_EVENING = ((1.0, 20.5, 6.0),)
_NIGHT = ((0.65, 21.0, 3.0), (0.35, 2.5, 2.0))

# The quickstart's model confuses the true frogs, and some birds and beetles of a family.
SPECIES = (
    SpeciesTraits("Periparus ater", _DAYTIME, 0.055, 1.4, 0.68, 0.85, _PAIRS),
    SpeciesTraits("Geospiza fuliginosa", _FORENOON, 0.045, 1.4, 0.70, 0.85, _PAIRS),
    SpeciesTraits("Camarhynchus pallidus", _MORNING_AND_EVENING, 0.050, 1.5, 0.70, 0.90, _SINGLE),
    SpeciesTraits("Lithobates pipiens", _TWILIGHT, 0.012, 1.0, 0.60, 0.75, _SINGLE),
    SpeciesTraits("Rana temporaria", _LATE_DAY, 0.010, 1.0, 0.60, 0.80, _SINGLE),
    SpeciesTraits("Dendrobates auratus", _DAYTIME, 0.010, 0.9, 0.58, 0.80, _SINGLE),
    SpeciesTraits("Anoplophora glabripennis", _NIGHT, 0.008, 0.8, 0.55, 0.75, _SINGLE),
    SpeciesTraits("Rosalia funebris", _LATE_EVENING, 0.008, 0.8, 0.55, 0.80, _SINGLE),
)
