"""Running an ensemble with and without scenarios, resumably."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bioclip_jax import __version__
from bioclip_jax.errors import Interrupted, UserError
from bioclip_jax.files import check_folder
from bioclip_jax.locks import locked
from bioclip_jax.predict import track
from bioclip_jax.twin.calibrate import PRIORS, ParameterDraws
from bioclip_jax.twin.world import Twin, read_twin

from .ensemble import BASELINE, CHUNK, Ensemble
from .events import Scenario
from .run_folder import LOCK, Run, RunFolder, read_run
from .scenario_file import read_scenario
from .timeline import Timeline, end_of_run
from .weather import Noise

UNCALIBRATED = (
    "NOT CALIBRATED: parameters are drawn from the priors, so this is no forecast; calibrate the twin with "
    "twin calibrate and give its folder with --posterior"
)
_TWIN_FILES = ("twin.json", "species.csv", "links.csv")


@dataclass(frozen=True)
class RunOptions:
    """Options of a run. members: of the ensemble. posterior: folder that twin calibrate wrote."""

    members: int = 200
    years: int = 10
    seed: int = 0
    posterior: Path | None = None


def run_twin(
    folder: str | os.PathLike[str],
    output: str | os.PathLike[str],
    scenarios: Sequence[str | os.PathLike[str]] = (),
    options: RunOptions = RunOptions(),
) -> dict[str, Any]:
    """Simulate a twin without and with scenarios into the folder `output`, and return a summary.

    An interrupted run resumes and becomes, byte for byte, what it would have been. Raises UserError for a
    twin, scenario or posterior that is not valid, and for an output that holds something else.
    """
    output = Path(output)
    twin = read_twin(folder)
    _check_length(twin, options.years)
    end = end_of_run(twin.start, options.years)
    read = tuple(read_scenario(path, twin, end) for path in scenarios)
    _check_names(read, scenarios)
    draws = None if options.posterior is None else ParameterDraws.load(options.posterior)
    cuts = {day for scenario in read for day in scenario.dates}
    ensemble = Ensemble(
        twin, Timeline.of(twin.start, options.years, cuts), read, seed=options.seed, draws=draws
    )
    settings = _settings(Path(folder), ensemble, options)
    # Finds a twin that has no balance before anything is written.
    community = ensemble.blueprint.community
    check_folder(output, "the run")
    is_new = not output.exists()
    run_folder = RunFolder(output, settings)
    output.mkdir(exist_ok=True)
    try:
        with locked(output / LOCK, f"another process is writing {output}; wait for it"):
            # Another process may have written it meanwhile.
            run_folder = RunFolder(output, settings)
            if not run_folder.is_complete:
                try:
                    run_folder.begin()
                    _simulate(run_folder, ensemble, options.members)
                except UserError:
                    # Members that cannot be simulated are found late, and again and again.
                    if is_new:
                        run_folder.clean()
                    raise
                run_folder.finish(_axes(ensemble, np.asarray(community.extinction_kg)))
            run_folder.clean()
    except KeyboardInterrupt:
        raise Interrupted(_progress(run_folder, ensemble, options.members)) from None
    except UserError:
        if is_new and not any(output.iterdir()):
            output.rmdir()
        raise
    return summarize(read_run(output))


def summarize(run: Run) -> dict[str, Any]:
    """Return the result of `twin run`: what was run, and in what share of members species became extinct."""
    extinct = {}
    for number, branch in enumerate(run.branches):
        shares = (run.total(number)[:, -1] == 0).mean(axis=0)
        extinct[branch] = {name: float(share) for name, share in zip(run.species, shares) if share}
    return {
        "output": str(run.path),
        "calibrated": run.settings["parameters"]["calibrated"],
        "note": run.note,
        "members": run.biomass.shape[1],
        "years": run.settings["years"],
        "scenarios": list(run.branches[1:]),
        "species": len(run.species),
        "patches": len(run.patches),
        "extinct": extinct,
        "ledger_residual": float(run.ledger_residual.max()),
    }


def ensemble_of(run: Run, twin: Twin) -> Ensemble:
    """Return the ensemble of a run's members, whose only branch is the baseline.

    Raises UserError if the run's posterior is not there any more, or has changed since.
    """
    settings, draws = run.settings, None
    parameters = settings["parameters"]
    if parameters["calibrated"]:
        posterior = Path(parameters["source"])
        draws = ParameterDraws.load(posterior)
        if _parameters(posterior)["sha256"] != parameters["sha256"]:
            raise UserError(f"{posterior} has changed since {run.path} was simulated; simulate it again")
    return Ensemble(
        twin,
        Timeline.of(twin.start, settings["years"]),
        seed=settings["seed"],
        noise=Noise(**settings["noise"]),
        draws=draws,
        tolerance=settings["tolerance"],
    )


def twin_digest(folder: Path) -> str:
    """Return the SHA-256 of a twin's files, as a run's settings hold it. Raises OSError without them."""
    return _sha256(folder / name for name in _TWIN_FILES)


def _simulate(run_folder: RunFolder, ensemble: Ensemble, members: int) -> None:
    """Simulate and write the chunks that are missing, with a progress bar."""
    chunks = -(-members // CHUNK)
    done = [run_folder.n_chunks(branch) for branch in range(len(ensemble.branches))]

    def missing() -> Iterator[None]:
        for branch, first in enumerate(done):
            if first == chunks:
                continue
            try:
                for number, chunk in enumerate(ensemble.simulate(members, branch, first), first):
                    run_folder.write_chunk(branch, number, chunk)
                    yield
            except UserError as error:
                raise UserError(f"{ensemble.branches[branch]}: {error}") from None

    total = chunks * len(ensemble.branches)
    for _ in track(missing(), f"simulating {members:,} members", total, done=sum(done)):
        pass


def _progress(run_folder: RunFolder, ensemble: Ensemble, members: int) -> str:
    done = sum(run_folder.n_chunks(branch) for branch in range(len(ensemble.branches)))
    total = -(-members // CHUNK) * len(ensemble.branches)
    return f"{done} of {total} parts are kept in {run_folder.path}; run the same command again to resume"


def _settings(folder: Path, ensemble: Ensemble, options: RunOptions) -> dict[str, Any]:
    """Return all that the result depends on, and its provenance."""
    return {
        "twin": ensemble.twin.name,
        "twin_sha256": twin_digest(folder),
        "members": options.members,
        "years": options.years,
        "seed": options.seed,
        "start": ensemble.timeline.start.isoformat(),
        "parameters": _parameters(options.posterior),
        "noise": asdict(ensemble.noise),
        "scenarios": [_described(scenario) for scenario in ensemble.scenarios],
        "tolerance": ensemble.tolerance,
        "chunk": CHUNK,
        "versions": {
            "bioclip-jax": __version__,
            **{name: importlib.metadata.version(name) for name in ("jax", "diffrax")},
        },
    }


def _parameters(posterior: Path | None) -> dict[str, Any]:
    if posterior is None:
        priors = [prior.as_dict() for prior in PRIORS]
        return {"calibrated": False, "note": UNCALIBRATED, "source": "priors", "priors": priors}
    digest = _sha256(sorted(Path(posterior).glob("*.npz")))
    return {"calibrated": True, "note": "", "source": str(posterior), "sha256": digest}


def _sha256(paths: Iterable[Path]) -> str:
    """Return the digest of the contents of files, one after another."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _described(scenario: Scenario) -> dict[str, str]:
    # Series are in files of their own.
    series = [sorted(event.series.items()) for event in scenario.events if getattr(event, "series", None)]
    return {
        "name": scenario.name,
        "description": scenario.description,
        "text": scenario.text,
        "series_sha256": hashlib.sha256(repr(series).encode()).hexdigest(),
    }


def _axes(ensemble: Ensemble, extinction_kg: np.ndarray) -> dict[str, Any]:
    """Return names and times of the axes of members.npz."""
    twin = ensemble.twin
    areas = [patch.area_km2 for patch in twin.patches]
    return {
        "branches": list(ensemble.branches),
        "times": [day.isoformat() for day in ensemble.timeline.times],
        "patches": [patch.name for patch in twin.patches],
        "area_km2": areas,
        "species": [one.name for one in twin.species],
        "one_individual_kg_per_km2": (extinction_kg / sum(areas)).tolist(),
    }


def _check_length(twin: Twin, years: int) -> None:
    if twin.start.year + years >= 9999:
        raise UserError(f"--years is {years}, which leads beyond the calendar; take fewer")


def _check_names(scenarios: Sequence[Scenario], paths: Sequence[str | os.PathLike[str]]) -> None:
    """Raise UserError for two scenarios of one name, which no comparison could tell apart."""
    seen: dict[str, object] = {BASELINE: "the runs without a scenario"}
    for scenario, path in zip(scenarios, paths, strict=True):
        if scenario.name in seen:
            raise UserError(f"{path} has the name {scenario.name!r}, as has {seen[scenario.name]}; change it")
        seen[scenario.name] = path
