"""All estimates of one species of a survey."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float

from .abundance import RelativeAbundance, group_size, relative_abundance
from .activity import LEAST_EVENTS, estimate_activity
from .circular_density import CircularDensity, fit_density
from .confusion import Confusion, invert
from .encounter import EncounterDensity, estimate_density
from .interval import Interval
from .labeled_events import BLANK
from .movement import Movement
from .occupancy import Occupancy, fit_occupancy
from .options import LEVEL
from .solar_time import solar_hours
from .survey import Survey, count_by_class

# f1/f0 of a detection that a person has confirmed.
_CONFIRMED = 1e6
# Parts of the day in which a species' share of false events is taken as constant.
_DAY_PARTS = 8
# Draws of the confusion matrix for group sizes.
_SIZE_DRAWS = 100


class SpeciesEstimator:
    """Estimates for the species of a survey, which share the correction of the machine's labels.

    confusion: of the machine's labels; None takes them as they are. movement: by species, for densities.
    occupancy_covariates, detection_covariates: values by deployment; a site has the mean of its deployments.
    draws, seed: of the bootstrap of activity.
    """

    def __init__(
        self,
        survey: Survey,
        confusion: Confusion | None,
        *,
        movement: Mapping[str, Movement] | None = None,
        occupancy_covariates: Mapping[str, Float[np.ndarray, " deployments"]] | None = None,
        detection_covariates: Mapping[str, Float[np.ndarray, " deployments"]] | None = None,
        draws: int = 1000,
        seed: int = 0,
    ) -> None:
        self._survey, self._confusion, self._movement = survey, confusion, movement or {}
        self._draws, self._seed = draws, seed
        self._classes = confusion.classes if confusion else (*survey.species, BLANK)
        self._uncertain = survey.counts(self._classes, certain=False)
        self._certain = survey.counts(self._classes, certain=True)
        self._matrix = confusion.matrix(self._uncertain.sum(axis=0)) if confusion else None
        self._false_positives = (
            confusion.false_positives(self._uncertain, survey.site_effort) if confusion else None
        )
        self._abundance = dict(zip(self._classes, self._relative_abundance()))
        self._true_share = self._true_shares_by_day_part()
        site = survey.deployments["site"].to_numpy()
        self._site_covariates = {
            name: np.bincount(site, values) / np.bincount(site)
            for name, values in (occupancy_covariates or {}).items()
        }
        self._visit_covariates = {
            name: self._by_visit(values) for name, values in (detection_covariates or {}).items()
        }

    def estimate(self, species: str) -> dict[str, Any]:
        """Return the JSON of a species."""
        occupancy, abundance = self.occupancy(species), self._abundance[species]
        hours, weights = self._hours(species)
        activity = estimate_activity(hours, weights, level=LEVEL, draws=self._draws, seed=self._seed)
        events, size, density = (
            self._survey.of_species(species),
            self.group_size(species),
            self.density(species),
        )
        return {
            "occupancy": occupancy.mean.as_dict(),
            "naive_occupancy": occupancy.naive,
            "detection_per_visit": None if occupancy.detection is None else occupancy.detection.as_dict(),
            "false_positive_per_visit": occupancy.false_positive,
            "detection_variation_between_sites": occupancy.spread,
            "coefficients": [asdict(coefficient) for coefficient in occupancy.coefficients],
            "events": {
                "labeled": events.height,
                "by_people": int(events["certain"].sum()),
                "corrected": abundance.events,
            },
            "relative_abundance_per_100_days": abundance.corrected.as_dict()
            | {"naive": abundance.naive.mean},
            "group_size": None if size is None else size.as_dict(),
            "density_per_km2": None if density is None else density.as_dict(),
            "activity": activity.as_dict(),
        }

    def occupancy(self, species: str) -> Occupancy:
        """Fit the occupancy of a species."""
        survey = self._survey
        certain = survey.detected(species, certain=True)
        options: dict[str, Any] = {}
        if self._false_positives is not None:
            a_day = self._false_positives[self._classes.index(species)]
            options["false_positives"] = replace(a_day, rate=a_day.rate * survey.visit_days)
            options["score_ratio"] = np.where(certain, _CONFIRMED, self._unlabeled_share(species)[:, None])
        return fit_occupancy(
            certain | survey.detected(species, certain=False),
            np.minimum(survey.effort / survey.visit_days, 1.0),
            site_covariates=self._site_covariates,
            visit_covariates=self._visit_covariates,
            level=LEVEL,
            **options,
        )

    def activity_density(self, species: str) -> CircularDensity | None:
        """Return the density of a species' activity, None for too few events."""
        hours, weights = self._hours(species)
        return fit_density(hours, weights) if weights.sum() >= LEAST_EVENTS else None

    def _hours(self, species: str) -> tuple[Float[np.ndarray, " events"], Float[np.ndarray, " events"]]:
        """Return the solar hours of a species' events, and the share of events like each that is true."""
        events = self._survey.of_species(species)
        hours = solar_hours(events["time"].to_numpy(), events["longitude"].to_numpy())
        weights = np.ones(len(hours))
        if self._true_share is not None:
            uncertain = ~events["certain"].to_numpy()
            part = _day_part(hours)
            weights[uncertain] = self._true_share[part, self._classes.index(species)][uncertain]
        return hours, weights

    def relative_abundance(self, species: str) -> RelativeAbundance:
        """Return the relative abundance of a species."""
        return self._abundance[species]

    def group_size(self, species: str) -> Interval | None:
        """Return the mean number of individuals in a species' events, None without events.

        Where the machine's errors are known: the corrected number of animals over that of events. The error
        of the confusion matrix widens the interval on the log scale.
        """
        from scipy.special import ndtri

        events, number = self._survey.of_species(species), self._classes.index(species)
        counted = group_size(events["count"].to_numpy(), events["site"].to_numpy(), level=LEVEL)
        # The ratio of less than one event is too uncertain.
        if counted is None or self._corrected_sizes is None or self._abundance[species].events < 1:
            return counted
        mean, log_error = (float(values[number]) for values in self._corrected_sizes)
        error = float(ndtri((1 + LEVEL) / 2)) * log_error
        lower, upper = (
            np.exp(np.hypot(np.log(limit / counted.mean), error)) for limit in (counted.lower, counted.upper)
        )
        return Interval(mean, mean / float(lower), mean * float(upper))

    @cached_property
    def _corrected_sizes(self) -> tuple[Float[np.ndarray, " classes"], Float[np.ndarray, " classes"]] | None:
        """Return animals per event by class, at least 1, and the standard error of its log by the matrix."""
        if self._confusion is None:
            return None
        random = np.random.default_rng(self._seed)
        of_machine = self._uncertain.sum(axis=0)
        draws = self._confusion.draws(of_machine, _SIZE_DRAWS, random)
        matrices = np.concatenate([self._matrix[None], draws])
        animals, events = (
            invert(np.broadcast_to(machine.sum(axis=0), matrices.shape[:2]), matrices) + people.sum(axis=0)
            for machine, people in (
                (
                    self._survey.animals(self._classes, certain=False),
                    self._survey.animals(self._classes, certain=True),
                ),
                (self._uncertain, self._certain),
            )
        )
        sizes = np.maximum(animals / np.maximum(events, 1e-9), 1.0)
        return sizes[0], np.log(sizes[1:]).std(axis=0)

    def density(self, species: str) -> EncounterDensity | None:
        """Estimate the density of a species; None without its movement."""
        movement = self._movement.get(species)
        if movement is None:
            return None
        return estimate_density(self._abundance[species], self.group_size(species), movement, level=LEVEL)

    def _relative_abundance(self) -> list[RelativeAbundance]:
        options: dict[str, Any] = {"level": LEVEL, "seed": self._seed}
        if self._confusion is None:
            return relative_abundance(self._uncertain + self._certain, self._survey.site_effort, **options)
        return relative_abundance(
            self._uncertain, self._survey.site_effort, self._confusion, certain=self._certain, **options
        )

    def _true_shares_by_day_part(self) -> Float[np.ndarray, "parts classes"] | None:
        """Return the expected share of true events among those labeled as a class, by part of the day."""
        if self._confusion is None:
            return None
        import polars as pl

        events = self._survey.events.filter(~pl.col("certain"))
        part = _day_part(solar_hours(events["time"].to_numpy(), events["longitude"].to_numpy()))
        labeled = count_by_class(events["species"], self._classes, part, _DAY_PARTS)
        blank = self._classes.index(BLANK) if BLANK in self._classes else None
        if blank is not None:
            # False triggers are taken as equally frequent all day, since their times say nothing of species.
            labeled[:, blank] = self._survey.blanks.sum() / _DAY_PARTS
        true = self._confusion.correct(labeled)
        expected = true @ self._matrix
        return np.divide(true * np.diag(self._matrix), expected, out=np.ones_like(true), where=expected > 0)

    def _by_visit(self, values: Float[np.ndarray, " deployments"]) -> Float[np.ndarray, "sites visits"]:
        matrix = np.zeros(self._survey.effort.shape)
        columns = ("site", "first_visit", "n_visits")
        for row, value in zip(self._survey.deployments.select(columns).iter_rows(), values, strict=True):
            site, first, count = row
            matrix[site, first : first + count] = value
        return matrix

    def _unlabeled_share(self, species: str) -> Float[np.ndarray, " sites"]:
        """Return the share of a species' detections that nobody has labeled, by site.

        It is f1/f0 of such a detection: of false ones, all are unlabeled, since a person's label would have
        removed them. Of true events people label v, and the machine names `recall` of the rest right.
        """
        index = self._classes.index(species)
        recall = self._matrix[index, index]
        labeled, named = self._survey.labeled_share, (1 - self._survey.labeled_share) * recall
        return named / np.maximum(labeled + named, 1e-9)


def _day_part(hours: Float[np.ndarray, " n"]) -> np.ndarray:
    return np.minimum((hours * (_DAY_PARTS / 24)).astype(int), _DAY_PARTS - 1)
