"""Events of a Camtrap DP as observations: months × patches, with the classifier's errors and movement."""

from __future__ import annotations

import datetime
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from bioclip_jax.errors import UserError, closest
from bioclip_jax.twin.estimate import (
    NEEDED_COLUMNS,
    Confusion,
    Movement,
    event_labels,
    find_reliability,
    read_movement,
    read_survey,
)
from bioclip_jax.twin.observe import visit_effort
from bioclip_jax.twin.observe.camtrap_dp import RELIABILITY_FILE, Package, check_package, read_package
from bioclip_jax.twin.world import Twin

from .observations import BLANK, Detectability, Observations
from .periods import days_since, month_starts

if TYPE_CHECKING:
    import polars as pl

# Relative standard error of a speed, radius or group size that is given without one.
_UNKNOWN_ERROR = 0.2
# Nobody knows an encounter rate better than this; a prior of no width would be no parameter.
_LEAST_ERROR = 0.05


def read_package_observations(
    path: Path, twin: Twin, *, movement: Path | None = None, reliability: Path | None = None
) -> Observations:
    """Read a Camtrap DP; see package_observations. Raises UserError for one that is not valid."""
    package = read_package(path)
    check_package(package, columns=NEEDED_COLUMNS)
    return package_observations(package.without_missing(), twin, movement=movement, reliability=reliability)


def package_observations(
    package: Package, twin: Twin, *, movement: Path | None = None, reliability: Path | None = None
) -> Observations:
    """Return the events of a package by month and patch.

    A deployment belongs to the patch that its column `patch` names, else to the nearest. Labels of people
    count as they are; the machine's go through the confusion matrix (find_reliability). Species that the
    twin lacks count as events without an animal, which is reported.
    movement: the table of read_movement. reliability: file of taxa calibrate.
    Raises UserError for a package without effort, a deployment outside the twin or before its start, and a
    species that is spelled almost as one of the twin's.
    """
    survey = read_survey(package)
    patches = _patches(package, twin)
    visits = visit_effort(package.deployments).drop_nulls("effort_days")
    # Times are UTC: noon of a visit is on its own day in all but the farthest time zones.
    noon = datetime.timedelta(hours=12)
    dates = [(moment + noon).date() for moment in visits["visit_start"].to_list()]
    if (first := min(dates)) < twin.start:
        raise UserError(
            f"the package begins on {first}, before the twin's start, {twin.start}; start the twin earlier"
        )
    last = (max(dates) - twin.start).days + 1
    months = month_starts(twin.start, last)
    bounds = days_since(twin.start, months)
    effort = np.zeros((len(months) - 1, len(twin.patches)))
    where = _months(dates, twin.start, bounds), [patches[name] for name in visits["deploymentID"].to_list()]
    np.add.at(effort, where, visits["effort_days"].to_numpy())

    packaged = package.folder / RELIABILITY_FILE if package.folder else None
    packaged = packaged if packaged is not None and packaged.is_file() else None
    confusion, _ = find_reliability(survey, reliability, packaged)
    all_labels = event_labels(package)
    labels = _counted(all_labels, package)
    classes = confusion.classes if confusion is not None else survey.species
    counts = np.zeros((*effort.shape, len(classes)))
    labels = labels.filter(labels["label"].is_in(list(classes)))
    month = _months([moment.date() for moment in labels["time"].to_list()], twin.start, bounds)
    patch = [patches[name] for name in labels["deploymentID"].to_list()]
    kind = [classes.index(name) for name in labels["label"].to_list()]
    np.add.at(counts, (month, patch, kind), 1.0)
    by_people = (labels["method"] == "human").to_numpy()
    share = np.bincount(patch, by_people, len(twin.patches)) / np.maximum(
        np.bincount(patch, minlength=len(twin.patches)), 1
    )
    counts[effort <= 0] = np.nan
    machine = all_labels.filter(all_labels["method"] == "machine")["label"].value_counts()
    by_machine = dict(machine.iter_rows())
    predicted = np.array([float(by_machine.get(name, 0)) for name in classes])
    merged, matrix, names = _merged(classes, counts, predicted, confusion, twin)
    sizes = {name: float(labels.filter(labels["label"] == name)["count"].mean() or 1) for name in names}
    movements = {} if movement is None else read_movement(movement, survey.species)
    return Observations(
        classes=names,
        counts=merged,
        effort_days=effort,
        start_day=bounds[:-1],
        end_day=bounds[1:],
        dirichlet=matrix,
        labeled_share=share if matrix is not None else None,
        detectability={
            name: movement_detectability(one, sizes[name]) for name, one in movements.items() if name in names
        },
    )


def _patches(package: Package, twin: Twin) -> dict[str, int]:
    """Return the index of the patch of each deployment."""
    names = [patch.name for patch in twin.patches]
    latitude = np.radians([patch.latitude for patch in twin.patches])
    longitude = np.radians([patch.longitude for patch in twin.patches])
    result = {}
    for row in package.deployments.iter_rows(named=True):
        name, patch = row["deploymentID"], str(row.get("patch") or "")
        if patch:
            if patch not in names:
                raise UserError(
                    f"deployment {name}: patch {patch!r} is not one of the twin's; name one of them"
                )
            result[name] = names.index(patch)
            continue
        try:
            at = float(row["latitude"]), float(row["longitude"])
        except (TypeError, ValueError):
            raise UserError(f"deployment {name} has no coordinates; give them, or a column patch") from None
        if twin.extent is not None and not twin.extent.holds(*at):
            raise UserError(f"deployment {name} at {at[0]:g}, {at[1]:g} is outside the twin; drop it")
        north, east = math.radians(at[0]), math.radians(at[1])
        # Haversine: its square root and arc sine do not change which is nearest.
        half = np.sin((latitude - north) / 2) ** 2
        half = half + np.cos(latitude) * math.cos(north) * np.sin((longitude - east) / 2) ** 2
        result[name] = int(half.argmin())
    return result


def _months(
    dates: list[datetime.date], start: datetime.date, bounds: Float[np.ndarray, " bounds"]
) -> np.ndarray:
    """Return the index of the month of each date."""
    days = days_since(start, dates)
    return np.clip(np.searchsorted(bounds, days, side="right") - 1, 0, len(bounds) - 2)


def _counted(labels: pl.DataFrame, package: Package) -> pl.DataFrame:
    """Labels that count: people's, and the machine's of events without one; while the camera ran."""
    import polars as pl

    event = ["deploymentID", "event"]
    human = labels.filter(pl.col("method") == "human")
    machine = labels.filter(pl.col("method") == "machine").join(
        human.select(event).unique(), on=event, how="anti"
    )
    running = visit_effort(package.deployments).drop_nulls("effort_days").filter(pl.col("effort_days") > 0)
    days = running.select("deploymentID", day=pl.col("visit_start")).sort("deploymentID", "day")
    counted = pl.concat([human, machine]).sort("deploymentID", "time")
    counted = counted.join_asof(
        days, left_on="time", right_on="day", by="deploymentID", strategy="backward", check_sortedness=False
    )
    return counted.filter((pl.col("time") - pl.col("day")) < pl.duration(days=1))


def _merged(
    classes: tuple[str, ...],
    counts: Float[np.ndarray, "periods patches classes"],
    predicted: Float[np.ndarray, " classes"],
    confusion: Confusion | None,
    twin: Twin,
) -> tuple[np.ndarray, np.ndarray | None, tuple[str, ...]]:
    """Return counts, Dirichlet parameters and names of the twin's species and one class for all else.

    predicted: the machine's labels of all events, verified ones too.
    """
    known = [one.name for one in twin.species]
    others = [name for name in classes if name not in known and name != BLANK]
    for name in others:
        if near := closest(name, known, cutoff=0.85):
            raise UserError(f"{name!r} is not a species of the twin; did you mean {near[0]}?")
    kept = [name for name in classes if name in known]
    if not kept:
        raise UserError("the package has no species of the twin; nothing can be calibrated")
    if others:
        shown = ", ".join(others[:5]) + (", ..." if len(others) > 5 else "")
        print(
            f"note: {len(others)} species are not in the twin and count as others: {shown}", file=sys.stderr
        )
    rest = [number for number, name in enumerate(classes) if name not in known]
    index = [classes.index(name) for name in kept]
    if confusion is None:
        # Every label is right: what the twin lacks says nothing of its species.
        return counts[:, :, index], None, tuple(kept)
    matrix, totals = confusion.matrix(predicted), confusion.totals(predicted)
    # Rows of the classes that become one, by how common they are; columns by sum.
    rows = matrix[index]
    worth = confusion.counts.sum(axis=1)[index] + 1.0
    names = tuple(kept)
    if rest:
        weight = totals[rest] + 1e-6
        rows = np.vstack([rows, weight @ matrix[rest] / weight.sum()])
        worth = np.append(worth, confusion.counts.sum(axis=1)[rest].sum() + 1.0)
        names = (*kept, BLANK)
    shares = rows[:, index]
    result = counts[:, :, index]
    if rest:
        shares = np.hstack([shares, rows[:, rest].sum(axis=1, keepdims=True)])
        result = np.concatenate([result, counts[:, :, rest].sum(axis=2, keepdims=True)], axis=2)
    return result, shares * worth[:, None] + 1e-6, names


def movement_detectability(movement: Movement, counted_group_size: float = 1.0) -> Detectability:
    """Return the detectability of a species by its movement; without a group size, by the counted one."""

    def error(value: float, se: float | None) -> float:
        return _UNKNOWN_ERROR if se is None else se / value

    speed, radius, angle = movement.speed_m_per_s, movement.radius_m, movement.angle_rad
    size = movement.group_size
    variance = error(speed.value, speed.se) ** 2 + error(radius.value, radius.se) ** 2
    variance += error(2 + angle.value, angle.se) ** 2
    if size is not None:
        variance += error(size.value, size.se) ** 2
    return Detectability.of_movement(
        speed.value,
        radius.value,
        angle.value,
        counted_group_size if size is None else size.value,
        relative_variance=max(variance, _LEAST_ERROR**2),
    )
