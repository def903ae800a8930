"""Deployments and their locations under public labels, in an order that says nothing."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int

from bioclip_jax.errors import UserError

from .grid import coarsen_deployments, positions

if TYPE_CHECKING:
    import polars as pl


def public_deployments(deployments: pl.DataFrame, category: int, *, precise: bool = False) -> pl.DataFrame:
    """Return what a map or table for others may show of deployments: `site`, and a generalized position.

    Rows are in the order of `deployments`, to be joined with other columns by row; sort them by `number`
    before they are written, since their order may tell their names. Columns: number (1 to the number of
    locations; deployments at one location share it), site ("site 1"), latitude and longitude (degrees, null
    where a deployment has none), uncertainty_m. category: 2, 3 or 4, as package_category. precise: positions
    as given.
    """
    import polars as pl

    _, locations = opaque_numbers(deployments)
    shown = deployments if precise else coarsen_deployments(deployments, category)
    latitude, longitude = positions(shown)
    uncertainty = (
        shown["coordinateUncertainty"].cast(pl.Float64, strict=False).round().cast(pl.Int64)
        if "coordinateUncertainty" in shown.columns
        else pl.Series([None] * shown.height, dtype=pl.Int64)
    )
    return pl.DataFrame(
        {
            "number": locations,
            "site": [f"site {number}" for number in locations.tolist()],
            "latitude": pl.Series(latitude).fill_nan(None),
            "longitude": pl.Series(longitude).fill_nan(None),
            "uncertainty_m": uncertainty,
        }
    )


def opaque_numbers(
    deployments: pl.DataFrame,
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """Return numbers from 1 of deployments and of their locations, both in one random order.

    The order is drawn with a digest of the whole private table, so that it is the same in every run and
    nobody without that table can undo it. A location is a locationID, or without one a position.
    """
    digest = hashlib.sha256(deployments.write_csv().encode()).digest()
    order = np.random.default_rng(int.from_bytes(digest, "big")).permutation(deployments.height)
    numbers = np.empty(deployments.height, np.int64)
    numbers[order] = np.arange(1, deployments.height + 1)
    keys = _locations(deployments)
    seen: dict[tuple[str, ...], int] = {}
    for row in order.tolist():
        seen.setdefault(keys[row], len(seen) + 1)
    return numbers, np.array([seen[key] for key in keys], np.int64)


def _locations(deployments: pl.DataFrame) -> list[tuple[str, ...]]:
    if not deployments.height:
        return []
    texts = {
        name: deployments[name].to_list() if name in deployments.columns else [""] * deployments.height
        for name in ("deploymentID", "locationID", "latitude", "longitude")
    }
    return [
        (location,) if location else (latitude, longitude) if latitude else (deployment, "", "")
        for deployment, location, latitude, longitude in zip(*texts.values(), strict=True)
    ]


def check_positions(deployments: pl.DataFrame) -> None:
    """Raise UserError if a deployment has no position, which the standard requires."""
    empty = np.isnan(positions(deployments)[0])
    if empty.any():
        row = int(empty.argmax())
        raise UserError(
            f"deployments, row {row + 2:,}: latitude and longitude are empty ({empty.sum():,} such rows); a "
            "shared package needs them: give them, or delete the deployments"
        )
