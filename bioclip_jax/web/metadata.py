"""Tables that say more about images: what the map can be coloured by."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

from bioclip_jax.errors import UserError
from bioclip_jax.text.taxon import RANKS
from bioclip_jax.web.photos import Photo

Columns = Mapping[str, str]

_FILE_COLUMNS = ("filepath", "file_name", "filename", "file", "path", "image")
_PREDICTED = "predicted "
_LONGEST = 60


def read_metadata(content: bytes, name: str) -> dict[str, Columns]:
    """The further columns of each file that a CSV names, by the path that stands there and by its last part.

    The column of paths is called filepath, or file_name and the like. UserError where it cannot be read or has no such
    column.
    """
    try:
        rows = csv.DictReader(io.StringIO(content.decode("utf-8-sig")))
        columns = rows.fieldnames or []
        files = next((column for column in columns if column.lower() in _FILE_COLUMNS), None)
        if files is None:
            raise UserError(f"{name} has no column filepath, but {', '.join(columns)[:80] or 'nothing'}; add one")
        found: dict[str, Columns] = {}
        for row in rows:
            path = row[files] or ""
            about = {column: (row[column] or "")[:_LONGEST] for column in columns if column != files}
            found[path] = about
            found.setdefault(re.split(r"[/\\]", path)[-1], about)
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{name} cannot be read as CSV; give comma separated text in UTF-8") from error
    return found


def predicted_columns(species: Mapping[str, Any]) -> Columns:
    """The lineage of the most probable species as columns, from a classifier's row."""
    return {_PREDICTED + rank: species[rank] for rank in RANKS}


def colour_columns(photos: Sequence[Photo]) -> list[str]:
    """The columns that any of the photos has, in order; those that a person gave come first."""
    columns = list(dict.fromkeys(column for photo in photos for column in photo.about))
    return sorted(columns, key=lambda column: column.startswith(_PREDICTED))


def default_column(columns: Sequence[str]) -> str | None:
    """What to colour by before anybody has chosen."""
    order = _PREDICTED + "order"
    return order if order in columns else next(iter(columns), None)
