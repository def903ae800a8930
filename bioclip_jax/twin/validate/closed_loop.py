"""The closed loop: planted worlds, photographed, named by a model and estimated, against their truth."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from bioclip_jax.datasets.camera_trap_mini import BLANK as NO_ANIMAL
from bioclip_jax.datasets.camera_trap_mini import World, draw_world, expected_rates, write_world
from bioclip_jax.predict import track
from bioclip_jax.twin.estimate import (
    Interval,
    Measured,
    Movement,
    SpeciesEstimator,
    find_reliability,
    read_survey,
)
from bioclip_jax.twin.observe import ObserveOptions, Predict, observe_photos
from bioclip_jax.twin.observe.camtrap_dp import FIELDS, Package, parse_times, read_package

from .cases import Settings

# Share of the events that a person verifies.
_VERIFIED = 0.25
_NO_ANIMAL = "blank"
# A label and its probability, as the machine gave an event.
Label = tuple[str, float]


@dataclass
class Coverage:
    """Intervals of a quantity that hold the planted value, of all, and totals of estimates and truth."""

    covered: int = 0
    total: int = 0
    estimated: float = 0.0
    true: float = 0.0

    def add(self, interval: Interval, planted: float, realized: float) -> None:
        """Compare an interval with the planted value, and the estimate with what the drawn sites have."""
        self.total += 1
        self.covered += int(interval.lower <= planted <= interval.upper)
        self.estimated += interval.mean
        self.true += realized

    def as_dict(self) -> dict[str, float]:
        """Return {"intervals", "coverage", "ratio": of the mean estimate to the mean truth}."""
        return {
            "intervals": self.total,
            "coverage": self.covered / self.total,
            "ratio": float(self.estimated / self.true),
        }


def study_closed_loop(
    folder: Path,
    predictor: Callable[[Path], Predict],
    *,
    photographed: int = 3,
    drawn: int = 60,
    sites: int = 30,
    days: int = 30,
    seed: int = 0,
) -> dict[str, Any]:
    """Estimate worlds of camera_trap_mini, and count how many 90 % intervals hold the planted values.

    `photographed` worlds are drawn, photographed into `folder`, named and estimated as by the command line;
    predictor: of a world's folder, to a function that observe takes. The `drawn` worlds have no photographs:
    each event's label and probability is that of a random event of the same true species in the photographed
    ones. A person verifies a random quarter of the events.

    Returns for "occupancy", "relative_abundance" and "density", and for "naive_..." as estimated without any
    correction, each Coverage.as_dict; "density_ratio" and "naive_density_ratio", by species; and "worlds" and
    "event_accuracy", of the model's labels.
    """
    results: dict[str, Coverage] = defaultdict(Coverage)
    pools: dict[str, list[Label]] = {}
    for number in track(range(photographed), "photographing worlds", photographed):
        place = folder / f"world-{number}"
        world = write_world(place, seed=seed + number, sites=sites, days=days)
        package = _observed_package(place, predictor(place))
        for true, label in _labels(world, package):
            pools.setdefault(true, []).append(label)
        _compare(world, package, results)
    random = np.random.default_rng(seed)
    for number in track(range(drawn), "estimating drawn worlds", drawn):
        world = draw_world(seed + photographed + number, sites=sites, days=days)
        _compare(world, _named_by_pools(world, pools, random), results)
    labels = [(true, label) for true, pool in pools.items() for label, _ in pool]
    quantities = {name: coverage.as_dict() for name, coverage in results.items()}
    ratios: dict[str, dict[str, float]] = {"density_ratio": {}, "naive_density_ratio": {}}
    for name in [name for name in quantities if ": " in name]:
        quantity, _, species = name.partition(": ")
        ratios[f"{quantity}_ratio"][species] = quantities.pop(name)["ratio"]
    return {
        **quantities,
        **ratios,
        "worlds": photographed + drawn,
        "event_accuracy": float(np.mean([true == label for true, label in labels if true != _NO_ANIMAL])),
    }


def closed_loop_case(settings: Settings) -> dict[str, Any]:
    """Return case 11."""
    assert settings.predictor is not None, "the registry says that this case needs a model"
    with tempfile.TemporaryDirectory(prefix="bioclip_jax-") as folder:
        study = study_closed_loop(Path(folder), settings.predictor, drawn=settings.worlds, seed=settings.seed)
    corrected, naive = (
        [study[f"{prefix}{name}"]["coverage"] for name in ("occupancy", "relative_abundance")]
        for prefix in ("", "naive_")
    )
    ratio, naive_ratios = study["density"]["ratio"], study["naive_density_ratio"].values()
    return {
        "ours": f"occupancy {corrected[0]:.1%} and relative abundance {corrected[1]:.1%} of "
        f"{study['occupancy']['intervals']} intervals each in {study['worlds']} worlds, uncorrected "
        f"{naive[0]:.1%} and {naive[1]:.1%}; mean density {ratio:.3f} of the planted one, uncorrected "
        f"{min(naive_ratios):.2f} to {max(naive_ratios):.2f} by species; the model labels "
        f"{study['event_accuracy']:.0%} of events right",
        "holds": all(0.85 <= value <= 0.95 for value in corrected)
        and max(naive) < 0.85
        and abs(ratio - 1) <= 0.05,
        "study": study,
    }


def _observed_package(world: Path, predict: Predict) -> Package:
    options = ObserveOptions(detections=world / "detections.json", human=world / "verified.csv")
    observe_photos(world / "photos", world / "deployments.csv", world / "package", options, predict=predict)
    return read_package(world / "package")


def _labels(world: World, package: Package) -> Iterator[tuple[str, Label]]:
    """Yield the true class and the machine's label of each event of a photographed world."""
    observations = package.observations
    machine = observations.filter(
        (pl.col("observationLevel") == "event") & (pl.col("classificationMethod") == "machine")
    )
    times = parse_times(machine["eventStart"], "observations").dt.replace_time_zone(None).to_numpy()
    rows = zip(
        machine["deploymentID"],
        times.astype("datetime64[s]"),
        machine["observationType"],
        machine["scientificName"],
        machine["classificationProbability"],
    )
    named = {
        (deployment, time): (name if kind == "animal" else _NO_ANIMAL, float(probability or 1))
        for deployment, time, kind, name, probability in rows
    }
    events, ids = world.events, [deployment.deployment_id for deployment in world.deployments]
    for site, species, time in zip(events.site, events.species, events.time.astype("datetime64[s]")):
        if species >= NO_ANIMAL and (label := named.get((ids[site], time))) is not None:
            yield _class_name(world, species), label


def _class_name(world: World, species: int) -> str:
    return _NO_ANIMAL if species == NO_ANIMAL else world.species[species].name


def _named_by_pools(world: World, pools: dict[str, list[Label]], random: np.random.Generator) -> Package:
    """Return a package of a world's events, labeled as random events of the same class were."""
    rows = []
    events = world.events
    for number, (site, species, count, time) in enumerate(
        zip(events.site, events.species, events.count, events.time)
    ):
        if species < NO_ANIMAL:  # people are dropped
            continue
        true = _class_name(world, species)
        label, probability = pools[true][random.integers(len(pools[true]))]
        event = {
            "deploymentID": world.deployments[site].deployment_id,
            "eventID": f"event-{number}",
            "eventStart": f"{time.astype('datetime64[s]')}Z",
        }
        rows.append({**event, "classificationMethod": "machine", **_observed(label, count, probability)})
        if random.random() < _VERIFIED:
            rows.append({**event, "classificationMethod": "human", **_observed(true, count)})
    deployments = [
        {
            "deploymentID": one.deployment_id,
            "latitude": str(one.latitude),
            "longitude": str(one.longitude),
            "deploymentStart": one.start.isoformat(),
            "deploymentEnd": one.end.isoformat(),
            "deploymentTags": " | ".join(
                f"downTime:{start.isoformat()}/{end.isoformat()}" for start, end in one.down
            ),
        }
        for one in world.deployments
    ]
    return Package({}, _table("deployments", deployments), _table("media", []), _table("observations", rows))


def _observed(label: str, count: int, probability: float | None = None) -> dict[str, str]:
    animal = label != _NO_ANIMAL
    return {
        "observationLevel": "event",
        "observationType": "animal" if animal else "blank",
        "scientificName": label if animal else "",
        "count": str(max(count, 1)) if animal else "",
        "classificationProbability": "" if probability is None else f"{probability:.4f}",
    }


def _table(name: str, rows: list[dict[str, str]]) -> pl.DataFrame:
    fields = [field.name for field in FIELDS[name]]
    return pl.DataFrame(
        {field: [row.get(field, "") for row in rows] for field in fields},
        schema=dict.fromkeys(fields, pl.String),
    )


def _compare(world: World, package: Package, results: dict[str, Coverage]) -> None:
    """Estimate a world's species with and without correction, and count the intervals that hold its truth."""
    machine = package.observations.filter(pl.col("classificationMethod") == "machine")
    uncorrected = Package(package.descriptor, package.deployments, package.media, machine)
    planted, realized = expected_rates(world)["planted"], expected_rates(world)["realized"]
    worked = world.effort_days > 0
    movement = {
        traits.name: Movement(
            Measured(traits.speed, 0.0), Measured(traits.effective_radius, 0.0), Measured(traits.angle, 0.0)
        )
        for traits in world.species
    }
    for prefix, one in (("", package), ("naive_", uncorrected)):
        survey = read_survey(one)
        confusion, _ = find_reliability(survey, None, None)
        estimator = SpeciesEstimator(survey, confusion, movement=movement)
        for index, traits in enumerate(world.species):
            name = traits.name
            if name not in survey.species:
                continue
            results[f"{prefix}occupancy"].add(
                estimator.occupancy(name).mean, world.occupancy[index], world.occupied[index, worked].mean()
            )
            results[f"{prefix}relative_abundance"].add(
                estimator.relative_abundance(name).corrected, 100 * planted[index], 100 * realized[index]
            )
            density = estimator.density(name).per_km2
            truth = (traits.density_per_km2(planted[index]), traits.density_per_km2(realized[index]))
            results[f"{prefix}density"].add(density, *truth)
            results[f"{prefix}density: {name}"].add(density, *truth)
