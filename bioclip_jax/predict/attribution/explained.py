"""Explanations of the answers for a photograph, for its page and for JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8

from bioclip_jax.predict.crop import Box

from .reference_pictures import Reference

if TYPE_CHECKING:
    from .heat_maps import HeatMap


@dataclass(frozen=True, eq=False)
class Candidate:
    """A candidate of a photograph, with its heat map, or None, and references, None without an index."""

    row: dict[str, Any]
    name: str
    heat_map: HeatMap | None
    references: list[Reference] | None

    def as_json(self) -> dict[str, Any]:
        """Return the prediction, the heat map's values and figures, and the references' paths and scores."""
        heat_map = None
        if (drawn := self.heat_map) is not None:
            heat_map = drawn.figures() | {"method": drawn.method, "window": drawn.window}
        near = self.references
        listed = None if near is None else [{"path": each.path, "score": each.score} for each in near]
        return {"prediction": self.row, "heat_map": heat_map, "references": listed}


@dataclass(frozen=True, eq=False)
class ExplainedPhotograph:
    """A photograph, upright and small, the part of it that the model saw, and its candidates, best first."""

    name: str
    picture: UInt8[np.ndarray, "height width 3"]
    seen: Box
    candidates: list[Candidate]

    def as_json(self) -> dict[str, Any]:
        """Return the photograph's name and its candidates."""
        return {"file_name": self.name, "candidates": [one.as_json() for one in self.candidates]}
