"""The folder of a run, and the chunks that it holds until the run is complete.

run.json       settings, provenance, and the names and times of the axes
members.npz    biomass [branches, members, times, patches, species] in kg/km², the baseline first;
               ledger_residual and steps [branches, members]
"""

from __future__ import annotations

import datetime
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from bioclip_jax.errors import UserError
from bioclip_jax.files import atomic_write, check_folder, json_text, read_arrays, remove_partials, write_text

from .ensemble import Chunk

_RUN, _MEMBERS, _SETTINGS, _CHUNKS = "run.json", "members.npz", "settings.json", "chunks"
LOCK = ".lock"
# An extinct species counts as one individual, and where nothing tells its mass as this share of the start.
_LEAST_SHARE = 1e-6


class RunFolder:
    """A folder in which a run is being made or is complete.

    Raises UserError if it cannot be written, holds other files, or a run of other settings.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        check_folder(path, "the run")
        self.path = path
        text = json_text(settings, indent=1, ensure_ascii=False)
        settings = json.loads(text)
        if (path / _RUN).exists():
            _check_same(path, _read_json(path / _RUN).get("settings"), settings)
        elif (path / _SETTINGS).exists():
            _check_same(path, _read_json(path / _SETTINGS), settings)
        elif path.exists() and any(file.name != LOCK for file in path.iterdir()):
            raise UserError(f"{path} holds other files; name a new folder for the run")
        self.settings = settings

    def begin(self) -> None:
        """Record the settings, before the first chunk, and delete chunks that are damaged."""
        (self.path / _CHUNKS).mkdir(exist_ok=True)
        remove_partials(self.path)
        for chunk in (self.path / _CHUNKS).glob("*.npz"):
            if not _is_whole(chunk):
                chunk.unlink()
        write_text(self.path / _SETTINGS, json_text(self.settings, indent=1, ensure_ascii=False) + "\n")

    @property
    def is_complete(self) -> bool:
        """True if the run is there."""
        return (self.path / _RUN).exists()

    def n_chunks(self, branch: int) -> int:
        """Finished chunks of a branch, without a gap."""
        number = 0
        while self._chunk(branch, number).exists():
            number += 1
        return number

    def write_chunk(self, branch: int, number: int, chunk: Chunk) -> None:
        """Write a chunk, so that a kill leaves all of it or nothing."""
        with atomic_write(self._chunk(branch, number)) as partial:
            np.savez(partial, **chunk._asdict())

    def finish(self, axes: Mapping[str, Any]) -> None:
        """Join the chunks, and write run.json last: with it, the run is complete."""
        branches = []
        for branch in range(len(axes["branches"])):
            parts = [read_arrays(self._chunk(branch, number)) for number in range(self.n_chunks(branch))]
            branches.append({key: np.concatenate([part[key] for part in parts]) for key in parts[0]})
        with atomic_write(self.path / _MEMBERS) as partial:
            np.savez(partial, **{key: np.stack([branch[key] for branch in branches]) for key in branches[0]})
        content = {**axes, "settings": self.settings}
        write_text(self.path / _RUN, json_text(content, indent=1, ensure_ascii=False) + "\n")
        self.clean()

    def clean(self) -> None:
        """Remove what only an unfinished run needs."""
        shutil.rmtree(self.path / _CHUNKS, ignore_errors=True)
        (self.path / _SETTINGS).unlink(missing_ok=True)

    def _chunk(self, branch: int, number: int) -> Path:
        return self.path / _CHUNKS / f"{branch:03d}-{number:05d}.npz"


@dataclass(frozen=True)
class Run:
    """A complete run. times: days of the states; area_km2: of the patches.

    biomass: kg/km², the first branch is the baseline. one_individual: kg/km² in the mean of the patches if
    one individual is left. settings: of the run, with its provenance.
    """

    path: Path
    branches: tuple[str, ...]
    times: tuple[datetime.date, ...]
    patches: tuple[str, ...]
    species: tuple[str, ...]
    area_km2: Float[np.ndarray, " patches"]
    one_individual: Float[np.ndarray, " species"]
    biomass: Float[np.ndarray, "branches members times patches species"]
    ledger_residual: Float[np.ndarray, "branches members"]
    settings: Mapping[str, Any]

    def total(self, branch: int) -> Float[np.ndarray, "members times species"]:
        """Return the mean over the area of all patches, kg/km²."""
        weights = self.area_km2 / self.area_km2.sum()
        return np.einsum("mtps,p->mts", self.biomass[branch].astype(float), weights)

    def floor(self) -> Float[np.ndarray, " species"]:
        """Return the biomass that stands for an extinct species in ratios, kg/km²."""
        return np.maximum(self.one_individual, _LEAST_SHARE * np.median(self.total(0)[:, 0], axis=0))

    @property
    def note(self) -> str:
        """Warning for a run without calibration, empty for others."""
        return self.settings["parameters"]["note"]


def read_run(path: str | os.PathLike[str]) -> Run:
    """Read a complete run. Raises UserError for any other folder."""
    path = Path(path)
    if not (path / _RUN).exists():
        if (path / _SETTINGS).exists():
            raise UserError(f"the run {path} is not complete; finish it with the same twin run command")
        what = "has no run.json" if path.is_dir() else "does not exist" if not path.exists() else "is a file"
        raise UserError(f"{path} is not a run ({what}); make one with twin run")
    content = _read_json(path / _RUN)
    try:
        arrays = read_arrays(path / _MEMBERS)
        run = Run(
            path=path,
            branches=tuple(content["branches"]),
            times=tuple(map(datetime.date.fromisoformat, content["times"])),
            patches=tuple(content["patches"]),
            species=tuple(content["species"]),
            area_km2=np.array(content["area_km2"], float),
            one_individual=np.array(content["one_individual_kg_per_km2"], float),
            biomass=arrays["biomass"],
            ledger_residual=arrays["ledger_residual"],
            settings=content["settings"],
        )
        _check_shapes(run)
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"the run {path} is damaged; make it again with twin run") from None
    return run


def _read_json(path: Path) -> Any:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        content = None
    if not isinstance(content, dict):
        raise UserError(f"{path} is damaged; delete its folder and run again")
    return content


def _check_shapes(run: Run) -> None:
    """Raise ValueError for arrays of another run, and KeyError for settings that lack what a run states."""
    members = run.biomass.shape[1]
    shapes = {
        run.biomass.shape: tuple(
            map(len, (run.branches, range(members), run.times, run.patches, run.species))
        ),
        run.ledger_residual.shape: (len(run.branches), members),
        run.area_km2.shape: (len(run.patches),),
        run.one_individual.shape: (len(run.species),),
    }
    if any(shape != expected for shape, expected in shapes.items()) or not np.isfinite(run.biomass).all():
        raise ValueError("the arrays do not belong to run.json")
    for key in ("twin_sha256", "seed", "members", "years", "noise", "tolerance"):
        run.settings[key]
    run.settings["parameters"]["calibrated"], run.note


def _is_whole(chunk: Path) -> bool:
    try:
        return set(read_arrays(chunk)) == set(Chunk._fields)
    except (OSError, ValueError):
        return False


def _check_same(path: Path, before: Any, now: Mapping[str, Any]) -> None:
    """Raise UserError, which names the first difference, if settings are not the same."""
    before = before if isinstance(before, dict) else {}
    for key in dict.fromkeys([*now, *before]):
        if before.get(key) != now.get(key):
            was, becomes = (f" {value[key]}" if _is_short(value.get(key)) else "" for value in (before, now))
            change = f" ({was.strip()}, now{becomes})" if was and becomes else ""
            raise UserError(f"{path} holds a run with other {key}{change}; name another folder, or delete it")


def _is_short(value: Any) -> bool:
    return isinstance(value, (int, float, str)) and len(str(value)) < 40
