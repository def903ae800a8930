"""Covariates of sites and visits, from columns of the deployments or of a further table."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from bioclip_jax.errors import UserError, did_you_mean
from bioclip_jax.tables import read_table

if TYPE_CHECKING:
    import polars as pl

_KEYS = ("deploymentID", "locationID")


def add_columns(deployments: pl.DataFrame, path: str | os.PathLike[str]) -> pl.DataFrame:
    """Add the columns of a table with deploymentID or locationID to the deployments.

    Raises UserError if a deployment has no row or several, or a column exists already.
    """
    import polars as pl

    table = pl.from_arrow(read_table(path, _KEYS, known=_KEYS)).cast(pl.String).fill_null("")
    key = next(name for name in _KEYS if name in table.columns)
    if key not in deployments.columns:
        raise UserError(f"{path} is by {key}, which the deployments lack; give deploymentID instead")
    repeated = table.filter(pl.col(key).is_duplicated())
    if repeated.height:
        raise UserError(f"{path} has {key} {repeated[key][0]!r} twice; keep one row of each")
    both = sorted(set(table.columns) & set(deployments.columns) - {key})
    if both:
        raise UserError(f"{path} has the column {both[0]}, which deployments have too; rename it")
    missing = deployments.join(table, on=key, how="anti")
    if missing.height:
        raise UserError(
            f"{path} has no row for {key} {missing[key][0]!r} ({missing.height:,} deployments lack one); add "
            "it"
        )
    return deployments.join(table, on=key, how="left", maintain_order="left")


def covariate_values(
    deployments: pl.DataFrame, columns: Sequence[str]
) -> dict[str, Float[np.ndarray, " deployments"]]:
    """Return the values of covariates by deployment: numbers as they are, text as indicators of its levels.

    The indicators are named "habitat: marsh"; the most frequent level has none, and is the reference.
    Raises UserError for an unknown column, an empty cell, and a column with one value only.
    """
    covariates: dict[str, Float[np.ndarray, " deployments"]] = {}
    for column in columns:
        if column not in deployments.columns:
            raise UserError(
                f"the deployments have no column {column}{did_you_mean(column, deployments.columns)}; add it "
                "to the table of --covariates"
            )
        cells = deployments[column].to_list()
        if "" in cells:
            deployment = deployments["deploymentID"][cells.index("")]
            raise UserError(f"deployment {deployment} has no {column}; a covariate needs a value everywhere")
        if len(set(cells)) == 1:
            raise UserError(f"{column} is {cells[0]!r} at every deployment; drop it from the covariates")
        numbers = _numbers(cells)
        if numbers is not None:
            covariates[column] = numbers
            continue
        levels = sorted(set(cells), key=lambda level: (-cells.count(level), level))
        if len(levels) > len(cells) / 2:
            raise UserError(
                f"{column} has {len(levels)} levels at {len(cells)} deployments; group them, or give numbers"
            )
        for level in levels[1:]:
            covariates[f"{column}: {level}"] = np.array([cell == level for cell in cells], float)
    return covariates


def _numbers(cells: Sequence[str]) -> Float[np.ndarray, " n"] | None:
    try:
        numbers = np.array([float(cell) for cell in cells])
    except ValueError:
        return None
    return numbers if np.isfinite(numbers).all() else None
