"""Rows of the published tables that cases read; each case checks the values that it needs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bioclip_jax.errors import UserError
from bioclip_jax.tables import read_table, table_rows


def read_rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Return the stripped values of some columns, by row; raises UserError for a missing file or column."""
    table = read_table(path, columns[:1], known=columns, quiet=True)
    for column in columns:
        if column not in table.column_names:
            raise UserError(f"{path} has no column {column}; give the published table")
    return [
        {name: (value or "").strip() for name, value in row.items()}
        for row in table_rows(table.select(list(columns)))
    ]
