"""The final table: predictions with the names that people have confirmed or corrected."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from bioclip_jax.errors import UserError
from bioclip_jax.predict.crop import BOX_COLUMNS
from bioclip_jax.predict.selection import UNKNOWN
from bioclip_jax.tables import read_table, table_rows
from bioclip_jax.text import RANKS, name_key

from .corrections import CONFIRMED, CORRECTED, REJECTED, Correction, Key, decimal, plain_path

# Columns that the final table has beside those of the predictions.
VERIFIED, PREDICTED, REVIEWED_AT = ADDED = ("verified", "predicted", "reviewed_at")
_IMAGE, _LABEL, _SPECIES, _EPITHET = "file_name", "classification", "species", "species_epithet"


def apply_corrections(
    predictions: str | os.PathLike[str], corrections: Sequence[Correction]
) -> tuple[list[dict[str, Any]], list[Correction]]:
    """Return one row for each photograph of a table of `predict`, and the corrections of other photographs.

    A row has the columns of the predictions, with the reviewed name; "verified": confirmed, corrected,
    rejected, or "" for a photograph that nobody has reviewed, whose row is the best prediction; "predicted":
    the model's best name; and "reviewed_at". The score is the model's for the row's name, "" for a name that
    is not among the predictions. A rejected photograph is "unknown" at its lowest rank, or as its label.

    Raises UserError for another table.
    """
    table = read_table(predictions, [_IMAGE])
    columns = table.column_names
    if _IMAGE not in columns or "score" not in columns or not {_LABEL, *RANKS} & set(columns):
        raise UserError(
            f"{predictions} is no table of predictions: it needs file_name, ranks or classification, and "
            "score; give the --output of predict"
        )
    if clash := [name for name in ADDED if name in columns]:
        raise UserError(f"{predictions} has a column {clash[0]} already; give the --output of predict")
    by_key = {correction.key: correction for correction in corrections}
    rows, used = [], set()
    for key, group in _photographs(table_rows(table)):
        correction = by_key.get(key)
        used.add(key)
        rows.append(_final(group, correction, columns))
    return rows, [correction for key, correction in by_key.items() if key not in used]


def _photographs(rows: Iterable[dict[str, Any]]) -> Iterator[tuple[Key, list[dict[str, Any]]]]:
    """Group the rows of one photograph or crop, which follow each other."""
    for key, group in groupby(rows, _key):
        yield key, list(group)


def _key(row: Mapping[str, Any]) -> Key:
    edges = [row.get(name) for name in BOX_COLUMNS]
    empty = any(edge is None or edge == "" for edge in edges)
    return plain_path(str(row[_IMAGE])), () if empty else tuple(decimal(float(edge), 6) for edge in edges)


def _final(
    rows: Sequence[Mapping[str, Any]], correction: Correction | None, columns: Sequence[str]
) -> dict[str, Any]:
    best = rows[0]
    added = {VERIFIED: "", PREDICTED: _name(best), REVIEWED_AT: ""}
    if correction is None:
        return {**best, **added}
    added |= {VERIFIED: correction.status, REVIEWED_AT: correction.reviewed_at}
    if correction.status == CONFIRMED and name_key(_name(best)) != name_key(correction.label):
        # The table is of another run, whose best prediction is another one.
        added[VERIFIED] = CORRECTED
    for row in rows:
        if correction.status != REJECTED and name_key(_name(row)) == name_key(correction.label):
            return {**row, **added}
    return {**best, **_names(correction, columns), "score": "", **added}


def _name(row: Mapping[str, Any]) -> str:
    """Return the label of a prediction as the browser shows it: the name at its lowest rank."""
    if _LABEL in row:
        return str(row[_LABEL])
    return next((str(row[rank]) for rank in reversed(RANKS) if row.get(rank)), "")


def _names(correction: Correction, columns: Sequence[str]) -> dict[str, str]:
    """Return the columns of a name that is not among the predictions; "unknown" for a rejected photograph."""
    rejected = correction.status == REJECTED
    if _LABEL in columns:
        return {_LABEL: UNKNOWN if rejected else correction.label}
    taxon = correction.taxon
    lowest = next((rank for rank in reversed(RANKS) if taxon.rank(rank)), "")
    names = {rank: taxon.rank(rank) for rank in RANKS} | {
        _EPITHET: taxon.species,
        _SPECIES: taxon.scientific_name if taxon.species else "",
        "common_name": taxon.common_name,
        "rank": lowest,
    }
    shown = [rank for rank in RANKS if rank in columns]
    if rejected:
        names |= {shown[-1]: UNKNOWN, "rank": UNKNOWN}
    elif not any(names[rank] for rank in shown):
        # A name without ranks still has to be seen.
        names[shown[-1]] = correction.label
    return {name: value for name, value in names.items() if name in columns}
