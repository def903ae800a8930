"""A package as the estimators take it: sites, the effort of their visits, and labeled events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int

from bioclip_jax.errors import UserError
from bioclip_jax.twin.observe import visit_effort
from bioclip_jax.twin.observe.camtrap_dp import Package, parse_times

from .labeled_events import BLANK, event_labels, verified_pairs

if TYPE_CHECKING:
    import polars as pl

_MICROSECONDS_A_DAY = 86_400e6
# Columns that a survey needs. Packages with faults elsewhere, such as an odd media type, are common.
NEEDED_COLUMNS = {
    "deployments": ("deploymentID", "latitude", "longitude", "deploymentStart", "deploymentEnd"),
    "observations": (
        "deploymentID",
        "eventStart",
        "observationLevel",
        "observationType",
        "count",
        "classificationMethod",
        "classificationProbability",
    ),
}
# Events of a site that the share of all sites is worth.
_SHRINKAGE_EVENTS = 20.0


@dataclass(frozen=True)
class Survey:
    """Sites × visits of a package, and its labeled events.

    sites: locations (locationID, or deploymentID where that is empty) with any effort, by first deployment.
    effort: days that a camera ran at each site and visit, 0 where it did not; the visits of a site's
    deployments follow each other. visit_days: length of a visit.
    deployments: deploymentID, site, first_visit, latitude, longitude, effort_days, start, end.
    events: one row per event and species: site, visit, time (UTC), longitude, species, count, certain
    (labeled by a person).
    blanks: number of events without an animal, by site, as the machine labels them.
    labeled_share: share of each site's events that people have labeled, shrunk to that of all sites where a
    site has few events.
    verified: human and machine label of each event that has both.
    n_events: all events, with or without an animal. events_without_effort: further ones, at times when the
    camera did not run, which nothing counts.
    """

    sites: tuple[str, ...]
    effort: Float[np.ndarray, "sites visits"]
    visit_days: float
    deployments: pl.DataFrame
    events: pl.DataFrame
    blanks: Float[np.ndarray, " sites"]
    labeled_share: Float[np.ndarray, " sites"]
    verified: tuple[list[str], list[str]]
    n_events: int
    events_without_effort: int = 0

    @cached_property
    def species(self) -> tuple[str, ...]:
        """Species of the events, sorted by name."""
        return tuple(sorted(self.events.get_column("species").unique().to_list()))

    @cached_property
    def site_effort(self) -> Float[np.ndarray, " sites"]:
        """Days that cameras ran at each site."""
        return self.effort.sum(axis=1)

    def of_species(self, species: str) -> pl.DataFrame:
        """Return the events of a species."""
        return self._by_species.get((species,), self.events.clear())

    @cached_property
    def _by_species(self) -> dict[tuple, pl.DataFrame]:
        return self.events.partition_by("species", as_dict=True)

    def detected(self, species: str, *, certain: bool | None = None) -> Bool[np.ndarray, "sites visits"]:
        """Return the visits with an event of a species; only its certain, or only its uncertain events."""
        import polars as pl

        events = self.of_species(species)
        if certain is not None:
            events = events.filter(pl.col("certain") == certain)
        detected = np.zeros(self.effort.shape, bool)
        detected[events["site"].to_numpy(), events["visit"].to_numpy()] = True
        return detected

    def counts(
        self, classes: Sequence[str], *, certain: bool | None = None
    ) -> Float[np.ndarray, "sites classes"]:
        """Return the number of events by site and class; BLANK: the machine's events without an animal."""
        return self._sum_by_class(classes, certain, weigh_by_animals=False)

    def animals(
        self, classes: Sequence[str], *, certain: bool | None = None
    ) -> Float[np.ndarray, "sites classes"]:
        """Return the number of animals in the events of `counts`; one for an event without an animal."""
        return self._sum_by_class(classes, certain, weigh_by_animals=True)

    def _sum_by_class(
        self, classes: Sequence[str], certain: bool | None, *, weigh_by_animals: bool
    ) -> Float[np.ndarray, "sites classes"]:
        import polars as pl

        events = self.events if certain is None else self.events.filter(pl.col("certain") == certain)
        events = events.filter(pl.col("species").is_in(list(classes)))
        weights = events["count"].to_numpy() if weigh_by_animals else 1.0
        counts = count_by_class(
            events["species"], classes, events["site"].to_numpy(), len(self.sites), weights
        )
        if BLANK in classes and certain is not True:
            counts[:, classes.index(BLANK)] += self.blanks
        return counts


def count_by_class(
    species: pl.Series,
    classes: Sequence[str],
    row: Int[np.ndarray, " events"],
    rows: int,
    weights: Float[np.ndarray, " events"] | float = 1.0,
) -> Float[np.ndarray, "rows classes"]:
    """Return the summed weights of events by row, such as a site, and species, all of them in `classes`."""
    import polars as pl

    index = {name: number for number, name in enumerate(classes)}
    counts = np.zeros((rows, len(classes)))
    np.add.at(counts, (row, species.replace_strict(index, return_dtype=pl.Int64).to_numpy()), weights)
    return counts


def read_survey(package: Package, visit_days: float = 1.0) -> Survey:
    """Assemble the survey of a package.

    Raises UserError if no camera ever ran, or a time or coordinate cannot be read.
    """
    import polars as pl

    visits = visit_effort(package.deployments, visit_days)
    deployments = _deployments(package, visits)
    placed = deployments.select(
        "deploymentID", "site", "longitude", "first_visit", "n_visits", "first_midnight"
    )
    running = visits.drop_nulls("effort_days").join(placed, on="deploymentID", how="inner")
    sites = deployments.get_column("location").unique(maintain_order=True).to_list()
    column = running["visit"].to_numpy() + running["first_visit"].to_numpy()
    effort = np.zeros((len(sites), int(column.max()) + 1))
    effort[running["site"].to_numpy(), column] = running["effort_days"].to_numpy()

    event = ["deploymentID", "event"]
    all_labels = event_labels(package)
    labels = _on_visits(all_labels, placed, effort, visit_days)
    human = labels.filter(pl.col("method") == "human")
    machine = labels.filter(pl.col("method") == "machine")
    unverified = machine.join(human.select(event).unique(), on=event, how="anti")
    rows = pl.concat(
        [human.with_columns(certain=pl.lit(True)), unverified.with_columns(certain=pl.lit(False))]
    )
    events = rows.select("site", "certain", *event).unique()
    shares = _labeled_share(events["site"].to_numpy(), events["certain"].to_numpy(), len(sites))
    blank = unverified.filter(pl.col("label") == BLANK)
    rows = rows.filter(~pl.col("label").is_in([BLANK, ""]))
    return Survey(
        sites=tuple(sites),
        effort=effort,
        visit_days=visit_days,
        deployments=deployments,
        events=rows.select("site", "visit", "time", "longitude", "count", "certain", species="label"),
        blanks=np.bincount(blank["site"].to_numpy(), minlength=len(sites)).astype(float),
        labeled_share=shares,
        verified=verified_pairs(labels),
        n_events=events.height,
        events_without_effort=all_labels.select(event).n_unique() - labels.select(event).n_unique(),
    )


def _on_visits(
    labels: pl.DataFrame,
    placed: pl.DataFrame,
    effort: Float[np.ndarray, "sites visits"],
    visit_days: float,
) -> pl.DataFrame:
    """Add site, longitude and visit to labels; without those of times at which the camera did not run."""
    import polars as pl

    days = (pl.col("time") - pl.col("first_midnight")).dt.total_microseconds() / _MICROSECONDS_A_DAY
    labels = (
        labels.join(placed, on="deploymentID", how="inner", maintain_order="left")
        .with_columns(visit=(days / visit_days).floor().cast(pl.Int64))
        .filter((pl.col("visit") >= 0) & (pl.col("visit") < pl.col("n_visits")))
        .with_columns(visit=pl.col("visit") + pl.col("first_visit"))
    )
    running = effort[labels["site"].to_numpy(), labels["visit"].to_numpy()] > 0
    return labels.filter(pl.Series(running, dtype=pl.Boolean))


def _labeled_share(
    site: Int[np.ndarray, " events"], labeled: Bool[np.ndarray, " events"], sites: int
) -> Float[np.ndarray, " sites"]:
    of_all = float(labeled.mean()) if len(labeled) else 0.0
    events, by_people = np.bincount(site, minlength=sites), np.bincount(site, labeled, minlength=sites)
    return (by_people + _SHRINKAGE_EVENTS * of_all) / (events + _SHRINKAGE_EVENTS)


def _deployments(package: Package, visits: pl.DataFrame) -> pl.DataFrame:
    """Deployments with effort: their site, position, and where their visits begin, in order of start."""
    import polars as pl

    table = package.deployments
    effort = visits.group_by("deploymentID").agg(
        pl.col("effort_days").sum(),
        n_visits=pl.col("visit").max() + 1,
        first_midnight=pl.col("visit_start").min(),
    )
    location = pl.col("locationID") if "locationID" in table.columns else pl.lit("")
    deployments = (
        table.select(
            "deploymentID",
            location=pl.when(location == "").then("deploymentID").otherwise(location),
            latitude=_degrees(table, "latitude"),
            longitude=_degrees(table, "longitude"),
            start=parse_times(table["deploymentStart"], "deployments"),
            end=parse_times(table["deploymentEnd"], "deployments"),
        )
        .join(effort, on="deploymentID", how="inner", maintain_order="left")
        .filter(pl.col("effort_days") > 0)
        .sort("start", maintain_order=True)
    )
    if not deployments.height:
        raise UserError(
            f"none of the {table.height} deployments has any effort, without which nothing can be estimated; "
            "check deploymentStart, deploymentEnd and the downTime tags"
        )
    sites = {name: number for number, name in enumerate(deployments["location"].unique(maintain_order=True))}
    return deployments.with_columns(
        site=pl.col("location").replace_strict(sites, return_dtype=pl.Int64),
        first_visit=(pl.col("n_visits").cum_sum() - pl.col("n_visits")).over("location"),
    )


def _degrees(table: pl.DataFrame, name: str) -> pl.Series:
    import polars as pl

    values = table[name].cast(pl.Float64, strict=False)
    missing = values.is_null()
    if missing.any():
        row = int(missing.arg_true()[0])
        raise UserError(
            f"deployments, row {row + 2:,}: deployment {table['deploymentID'][row]} has the {name} "
            f"{table[name][row]!r} ({int(missing.sum()):,} such rows); activity by the sun and the map need "
            "coordinates in decimal degrees"
        )
    return values
