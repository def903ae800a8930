"""Draws of a calibration's parameters: what scenarios take over from it."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bioclip_jax.errors import UserError
from bioclip_jax.files import atomic_write, json_text, read_arrays, write_text
from bioclip_jax.twin.community import Blueprint, Community

from .parameters import apply_parameters
from .priors import COMMUNITY_KINDS

SUMMARY, DRAWS = "posterior.json", "draws.npz"


@dataclass(frozen=True)
class ParameterDraws:
    """Equally probable draws of parameters.

    names: as Parameter.name. values: on the log scale; log-factors for those of the community.
    summary: the result of the calibration, {} without one.
    """

    names: tuple[str, ...]
    values: Float[np.ndarray, "draws parameters"]
    summary: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.values)

    def apply(self, blueprint: Blueprint, draw: int) -> tuple[Community, Float[Array, "patches species"]]:
        """Return the community and its biomass at the start (kg/km²) under one draw.

        blueprint: as it was calibrated, by blueprint_of. Raises UserError for a posterior of other species.
        """
        self.check(blueprint.community.names)
        with jax.enable_x64(True):
            return apply_parameters(self.names, jnp.asarray(self.values[draw]), blueprint)

    def check(self, species: Collection[str]) -> None:
        """Raise UserError if the calibrated species are not those of a community."""
        for name in self.names:
            kind, _, subject = name.partition(": ")
            if kind in COMMUNITY_KINDS and subject and subject not in species:
                raise UserError(
                    f"the posterior has {name}, a species that the twin lacks; calibrate this twin with twin "
                    "calibrate"
                )
        if new := set(species).difference(self.summary.get("species", species)):
            raise UserError(
                f"the twin has {min(new)}, a species that the posterior lacks; calibrate this twin with twin "
                "calibrate"
            )

    def save(self, folder: Path) -> None:
        """Write posterior.json and draws.npz into an existing folder; equal draws have equal bytes."""
        write_text(folder / SUMMARY, json_text(dict(self.summary), indent=1, ensure_ascii=False) + "\n")
        with atomic_write(folder / DRAWS) as partial:
            np.savez(partial, names=np.array(self.names), values=self.values)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> ParameterDraws:
        """Read the folder that `twin calibrate` wrote. Raises UserError if it is not one."""
        folder = Path(folder)
        try:
            summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
            file = read_arrays(folder / DRAWS)
            draws = cls(tuple(map(str, file["names"])), file["values"], summary)
            if not (isinstance(summary, dict) and len(draws) and np.isfinite(draws.values).all()):
                raise ValueError("values are missing")
            if draws.values.shape != (len(draws), len(draws.names)):
                raise ValueError("values and names differ in number")
            return draws
        except FileNotFoundError as error:
            raise UserError(
                f"{folder} is not a posterior (it has no {Path(error.filename).name}); make one with twin "
                "calibrate"
            ) from None
        except (OSError, ValueError, KeyError, TypeError):
            raise UserError(f"{folder} has a damaged posterior; make it again with twin calibrate") from None
