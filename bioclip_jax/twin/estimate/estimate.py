"""Occupancy, activity and density of the species in a Camtrap DP (`twin estimate`)."""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bioclip_jax.errors import UserError, did_you_mean
from bioclip_jax.files import check_folder
from bioclip_jax.predict import track
from bioclip_jax.twin.observe.camtrap_dp import RELIABILITY_FILE, Package, check_package, read_package
from bioclip_jax.twin.observe.privacy import (
    Sensitivity,
    package_category,
    public_deployments,
    read_sensitivity,
    withheld_names,
)

from .covariates import add_columns, covariate_values
from .journal import Journal, inputs_digest
from .movement import read_movement
from .options import LEVEL, EstimateOptions
from .overlap import estimate_overlaps
from .reliability import find_reliability
from .results import write_results
from .solar_time import mean_daylight
from .species import SpeciesEstimator
from .survey import NEEDED_COLUMNS, Survey, read_survey

if TYPE_CHECKING:
    import polars as pl

# Columns of deployments whose text must not be in a result for others.
_IDENTIFYING = frozenset(
    {"deploymentID", "locationID", "locationName", "cameraID", "setupBy", "deploymentGroups"}
)


def estimate_package(
    package: str | os.PathLike[str],
    output: str | os.PathLike[str],
    options: EstimateOptions | None = None,
    **keywords: Any,
) -> dict[str, Any]:
    """Estimate the species of a Camtrap DP, and write JSON, CSV and figures into the folder `output`.

    options: everything else; its fields can also be given as keyword arguments. An interrupted run keeps its
    finished species in a journal beside the output, and the same call continues.

    Returns {"species": {NAME: as SpeciesEstimator.estimate}, "effort_days", "events", "sites", "deployments",
    "visit_days", "level", "classifier": as find_reliability, "overlap": of pairs of species,
    "daylight": mean {"sunrise", "sunset"} in solar hours, "position_category": of Sensitivity, "output"}.
    Nothing tells that a species is withheld: its events are in no number.
    Raises UserError for options and packages that do not fit.
    """
    from threadpoolctl import threadpool_limits

    options = replace(options or EstimateOptions(), **keywords)
    output = Path(output)
    check_folder(output)
    loaded = read_package(package)
    _check_apart(output, loaded)
    _check_covariates(options)
    check_package(loaded, columns=NEEDED_COLUMNS)
    loaded = loaded.without_missing()
    sensitivity = Sensitivity() if options.sensitive is None else read_sensitivity(options.sensitive)
    survey = read_survey(loaded, options.visit_days)
    if survey.events_without_effort:
        print(
            f"note: {survey.events_without_effort:,} events at times when their camera did not run are not "
            "counted; check deploymentStart, deploymentEnd and the downTime tags",
            file=sys.stderr,
        )
    withheld = frozenset() if options.precise else withheld_names(loaded, sensitivity)
    species = _chosen(survey, options, withheld)
    with contextlib.ExitStack() as stack:
        # Matrices are small: threads of BLAS take twice the CPU time, mostly waiting for each other.
        stack.enter_context(threadpool_limits(1))
        estimator, classifier = _estimator(loaded, survey, options)
        digest = inputs_digest(loaded, options.files_read, options)
        journal = stack.enter_context(Journal.open(output, digest))
        results = {}
        for name in track(species, "estimating", len(species)):
            if (finished := journal.get(name)) is None:
                finished = estimator.estimate(name)
                journal.add(name, finished)
            results[name] = finished
        densities = {name: density for name in species if (density := estimator.activity_density(name))}
        overlaps = estimate_overlaps(densities, level=LEVEL, draws=options.draws, seed=options.seed)
        category = package_category(loaded, sensitivity)
        sites = public_deployments(_in_order(loaded.deployments, survey), category, precise=options.precise)
        result = {
            "species": results,
            "effort_days": float(survey.effort.sum()),
            "events": survey.n_events - _events_of(survey, withheld),
            "sites": len(survey.sites),
            "deployments": survey.deployments.height,
            "visit_days": options.visit_days,
            "level": LEVEL,
            "classifier": {
                **classifier,
                "verified_events": sum(not withheld & set(pair) for pair in zip(*survey.verified)),
                "classes": [row for row in classifier["classes"] if row["class"] not in withheld],
            },
            "overlap": [overlap.as_dict() for overlap in overlaps],
            "daylight": _daylight(survey, sites),
            "position_category": None if options.precise else category,
        }
        write_results(output, result, survey, sites, reads=options.files_read)
    return result | {"output": str(output)}


def _check_covariates(options: EstimateOptions) -> None:
    """Raise UserError for covariates whose levels, which name coefficients, are places, cameras or people."""
    columns = (*options.occupancy_covariates, *options.detection_covariates)
    if not options.precise and (named := sorted(set(columns) & _IDENTIFYING)):
        raise UserError(
            f"the values of {named[0]} would name coefficients of a result that others may see; give "
            "--precise for estimates of your own"
        )


def _check_apart(output: Path, package: Package) -> None:
    """Raise UserError for an output in the package, which is private and may be rewritten."""
    if package.folder is None:
        return
    if Path(os.path.realpath(output)).is_relative_to(os.path.realpath(package.folder)):
        raise UserError(f"the output {output} is in the package {package.folder}; name a folder beside it")


def _chosen(survey: Survey, options: EstimateOptions, withheld: frozenset[str]) -> list[str]:
    """Return the species to estimate."""
    if not survey.species:
        raise UserError(
            "the package has no observation of an animal with a name while a camera ran; nothing can be "
            "estimated"
        )
    for name in options.species or ():
        if name not in survey.species:
            raise UserError(
                f"the species {name} is not in the package{did_you_mean(name, survey.species)}; without any "
                "observation nothing can be said of it"
            )
    species = [name for name in options.species or survey.species if name not in withheld]
    if not species:
        raise UserError("every species is withheld as sensitive; name --precise for estimates of your own")
    return species


def _events_of(survey: Survey, names: frozenset[str]) -> int:
    """Return the number of events in which only these species were seen."""
    import polars as pl

    hidden = pl.col("species").is_in(list(names))
    events = survey.events.filter(hidden).select("site", "time").unique()
    return events.join(survey.events.filter(~hidden), on=["site", "time"], how="anti").height


def _daylight(survey: Survey, sites: pl.DataFrame) -> dict[str, float]:
    """Return mean sunrise and sunset in solar hours; of public positions, which they would give away."""
    first, last = survey.deployments["start"].min(), survey.deployments["end"].max()
    sunrise, sunset = mean_daylight(
        np.datetime64(first.date()), np.datetime64(last.date()), float(sites["latitude"].mean())
    )
    return {"sunrise": round(sunrise, 2), "sunset": round(sunset, 2)}


def _in_order(deployments: pl.DataFrame, survey: Survey) -> pl.DataFrame:
    """Return the rows of the survey's deployments, in its order."""
    return survey.deployments.select("deploymentID").join(
        deployments, on="deploymentID", how="left", maintain_order="left"
    )


def _estimator(
    package: Package, survey: Survey, options: EstimateOptions
) -> tuple[SpeciesEstimator, dict[str, Any]]:
    deployments = package.deployments
    if options.covariates is not None:
        deployments = add_columns(deployments, options.covariates)
    deployments = _in_order(deployments, survey)
    packaged = package.folder / RELIABILITY_FILE if package.folder else None
    confusion, classifier = find_reliability(
        survey, options.reliability, packaged if packaged is not None and packaged.is_file() else None
    )
    movement = None if options.movement is None else read_movement(options.movement, survey.species)
    estimator = SpeciesEstimator(
        survey,
        confusion,
        movement=movement,
        occupancy_covariates=covariate_values(deployments, options.occupancy_covariates),
        detection_covariates=covariate_values(deployments, options.detection_covariates),
        draws=options.draws,
        seed=options.seed,
    )
    return estimator, classifier
