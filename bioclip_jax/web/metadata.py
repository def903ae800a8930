"""Tables that say more about images: what the map can be coloured by."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from bioclip_jax.tables import path_column, read_table, texts
from bioclip_jax.text import RANKS

from .photos import Photo

Columns = Mapping[str, str]

_FILE_COLUMNS = ("filepath", "file_name", "filename", "file", "path", "image")
_PREDICTED = "predicted "
_LONGEST = 60


def read_metadata(content: bytes, name: str) -> dict[str, Columns]:
    """The further columns of each file that a table names, by the path that stands there and by its last part.

    The column of paths is called filepath, or file_name and the like. UserError where it cannot be read or
    has no such column.
    """
    table = read_table(name, _FILE_COLUMNS, content=content)
    files = path_column(table, _FILE_COLUMNS)
    columns = {column: texts(table[column]) for column in table.column_names if column != files}
    found: dict[str, Columns] = {}
    for row, path in enumerate(texts(table[files])):
        about = {column: cells[row][:_LONGEST] for column, cells in columns.items()}
        found[path] = about
        last = re.split(r"[/\\]", path.strip())[-1]
        # Photographs from a Mac have decomposed names.
        for form in ("NFC", "NFD"):
            found.setdefault(unicodedata.normalize(form, last), about)
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
