"""The table of corrections: one row for each photograph, or crop of one, that a person has looked at.

The report and the page write it in the browser (html/templates/review.js), byte for byte as corrections_csv
does: UTF-8 with a byte order mark, by which Excel recognizes it, and every cell quoted.

filepath: the photograph's name in the predictions, relative to where `predict` ran. label: the name that the
person stands behind, "" for a rejected one. kingdom ... species (epithet), common_name: its ranks, as far as
they are known. status: confirmed (label is the best prediction), corrected (another name) or rejected ("none
of these"). predicted, score: the best prediction. box_x ... box_height: shares of the upright image, "" for
the whole photograph. event: of the photograph, if predictions were by event. reviewed_at: UTC, ISO 8601.

Spreadsheets run cells that begin with = + - @ as formulas, so a path that does is written with "./" before
it, which changes nothing, and another text with a "'", which readers of this table remove.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bioclip_jax.errors import UserError
from bioclip_jax.predict.crop import BOX_COLUMNS, Box, row_box
from bioclip_jax.tables import path_column, read_table, table_rows, texts
from bioclip_jax.text import RANKS, Taxon, clean_text

CONFIRMED, CORRECTED, REJECTED = STATUSES = ("confirmed", "corrected", "rejected")
COLUMNS = (
    "filepath",
    "label",
    *RANKS,
    "common_name",
    "status",
    "predicted",
    "score",
    *BOX_COLUMNS,
    "event",
    "reviewed_at",
)
# Columns by which a table is recognized as one of corrections.
_MARKS = frozenset({"label", "status"})
_FORMULA = re.compile(r"[=+\-@\t\r]")
_QUOTED_FORMULA = re.compile(r"'+[=+\-@\t\r]")
_SCORE_DIGITS, _BOX_DIGITS = 4, 6

# The path and the box, by which corrections of one photograph are recognized.
Key = tuple[str, tuple[str, ...]]


@dataclass(frozen=True)
class Correction:
    """A row of the table; taxon has the ranks and the common name, score is None where it is unknown."""

    filepath: str
    label: str
    status: str
    taxon: Taxon = Taxon()
    predicted: str = ""
    score: float | None = None
    box: Box | None = None
    event: str = ""
    reviewed_at: str = ""

    @property
    def key(self) -> Key:
        """The photograph, and its part if it has a box."""
        box = () if self.box is None else tuple(decimal(edge, _BOX_DIGITS) for edge in self.box)
        return plain_path(self.filepath), box

    def cells(self) -> dict[str, str]:
        """Return the row's texts by column."""
        box = [""] * 4 if self.box is None else [decimal(edge, _BOX_DIGITS) for edge in self.box]
        return {
            "filepath": self.filepath,
            "label": self.label,
            **dict(zip(RANKS, self.taxon.lineage())),
            "common_name": self.taxon.common_name,
            "status": self.status,
            "predicted": self.predicted,
            "score": "" if self.score is None else decimal(self.score, _SCORE_DIGITS),
            **dict(zip(BOX_COLUMNS, box)),
            "event": self.event,
            "reviewed_at": self.reviewed_at,
        }


def corrections_csv(corrections: Iterable[Correction]) -> bytes:
    """Encode the table, in the order given."""
    lines = [COLUMNS]
    for correction in corrections:
        cells = correction.cells()
        lines.append([_inert(name, cells[name]) for name in COLUMNS])
    text = "".join(f"{','.join(map(_quoted, line))}\n" for line in lines)
    # Linux allows file names that are not valid UTF-8; they are written as their bytes.
    return b"\xef\xbb\xbf" + text.encode("utf-8", "surrogateescape")


def _quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"'


def _inert(column: str, text: str) -> str:
    if column == "filepath":
        return f"./{text}" if _FORMULA.match(text) else text
    return f"'{text}" if _FORMULA.match(text) or _QUOTED_FORMULA.match(text) else text


def plain_path(path: str) -> str:
    """Remove the "./" that corrections_csv puts before a path that a spreadsheet would run."""
    return path[2:] if path.startswith("./") and _FORMULA.match(path, 2) else path


def decimal(value: float, digits: int) -> str:
    """Format a number with so many digits behind the point."""
    # Ties half up as in the browser: the two languages' own formats round them differently.
    unit = 10**digits
    return f"{math.floor(value * unit + 0.5) / unit:.{digits}f}"


def read_corrections(path: str | Path) -> list[Correction]:
    """Read a table of corrections: of the browser, saved again by a spreadsheet, or made by hand.

    Without a status a row with a label is a correction; without a label a confirmed one has the prediction.
    Raises UserError for another table, and for a row whose status, score or box is invalid.
    """
    table = read_table(path, ["filepath"], known=COLUMNS)
    if not _MARKS & set(table.column_names):
        raise UserError(
            f"{path} is no table of corrections: it has neither a label nor a status; download the "
            "corrections from the report or the page"
        )
    paths = texts(table[path_column(table)])
    return [
        _correction(f"row {number:,} of {path}", filepath, row)
        for number, (filepath, row) in enumerate(zip(paths, table_rows(table)), 1)
        if filepath.strip()
    ]


def _correction(where: str, filepath: str, row: Mapping[str, Any]) -> Correction:
    cells = {name: _unquoted(row[name]) for name in COLUMNS[1:] if name in row}
    label, predicted = clean_text(cells.get("label")), clean_text(cells.get("predicted"))
    status = cells.get("status", "").strip().lower() or (CORRECTED if label else REJECTED)
    if status not in STATUSES:
        raise UserError(f"{where} has the status {status!r}; write {', '.join(STATUSES[:-1])} or {REJECTED}")
    taxon = Taxon() if status == REJECTED else Taxon.from_row({name: cells.get(name, "") for name in RANKS})
    common_name = "" if status == REJECTED else clean_text(cells.get("common_name"))
    taxon = Taxon(*taxon.lineage(), common_name)
    if status == REJECTED:
        label = ""
    elif not label:
        label = predicted if status == CONFIRMED else taxon.scientific_name
    if status != REJECTED and not label:
        raise UserError(f"{where} is {status} without a label; write one, or {REJECTED} as its status")
    return Correction(
        plain_path(filepath),
        label,
        status,
        taxon,
        predicted,
        _number(where, "score", cells.get("score", "")),
        row_box(cells, where),
        cells.get("event", ""),
        cells.get("reviewed_at", "").strip(),
    )


def _unquoted(value: Any) -> str:
    text = "" if value is None else value if isinstance(value, str) else str(value)
    return text[1:] if _QUOTED_FORMULA.match(text) else text


def _number(where: str, name: str, text: str) -> float | None:
    if not text.strip():
        return None
    try:
        # Excel saves a decimal comma in some languages.
        value = float(text.replace(",", "."))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"{where} has the {name} {text!r}, which is not a number; correct it")
    return value


def latest(corrections: Iterable[Correction]) -> tuple[list[Correction], int]:
    """Return the last correction of each photograph, and the number of photographs with different ones.

    The last by reviewed_at counts, of equal times the one further down; the order is of the first rows.
    """
    last: dict[Key, Correction] = {}
    conflicts: set[Key] = set()
    for correction in corrections:
        before = last.setdefault(correction.key, correction)
        if (before.label, before.status == REJECTED) != (correction.label, correction.status == REJECTED):
            conflicts.add(correction.key)
        if correction.reviewed_at >= before.reviewed_at:
            last[correction.key] = correction
    return list(last.values()), len(conflicts)
