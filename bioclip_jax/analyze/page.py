"""The report of an analysis: one HTML document that loads nothing, its pictures in it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from bioclip_jax import html
from bioclip_jax.html import data_url

# Larger tables lie beside the page alone.
_MOST_EMBEDDED = 200_000


@dataclass(frozen=True)
class Figure:
    """A picture, the table behind it, and what they show; the files lie beside the page."""

    title: str
    caption: str
    png: Path
    csv: Path


@dataclass(frozen=True)
class Table:
    """Rows of texts and numbers under a caption; `numbers`: the columns that are figures."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[Any]]
    numbers: Sequence[int] = ()


@dataclass(frozen=True)
class Part:
    """A part of the page: what was found in words, then tables, then figures."""

    title: str
    text: Sequence[str] = ()
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()


def write_page(path: Path, title: str, about: Sequence[tuple[str, str]], parts: Sequence[Part]) -> None:
    """Write the page. `about`: facts of the header, as pairs of a name and a value."""
    folder = Path(path).parent
    html.write_page(
        path,
        "analysis.html",
        title=title,
        facts=about,
        parts=[
            {
                "title": part.title,
                "text": part.text,
                "tables": [
                    replace(one, rows=[[_cell(cell) for cell in row] for row in one.rows])
                    for one in part.tables
                ],
                "figures": [_figure(figure, folder) for figure in part.figures],
            }
            for part in parts
        ],
    )


def _figure(figure: Figure, folder: Path) -> dict[str, Any]:
    # A link opens the table beside the page; a page that travels alone holds a copy of a smaller one.
    path = quote(Path(os.path.relpath(figure.csv, folder)).as_posix(), errors="surrogateescape")
    content = figure.csv.read_bytes()
    small = len(content) < _MOST_EMBEDDED
    return {
        "title": figure.title,
        "caption": figure.caption,
        "picture": data_url(figure.png.read_bytes(), "image/png"),
        "name": figure.csv.name,
        # Without the dot, a name such as a:b.csv would be a URL of the scheme a.
        "link": f"./{path}",
        "size": len(content),
        "data": data_url(content, "text/csv;charset=utf-8") if small else "",
    }


def _cell(value: Any) -> str:
    if value is None or value != value:
        return "–"
    if isinstance(value, (float, np.floating)):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return (
        f"{value:,}" if isinstance(value, (int, np.integer)) and not isinstance(value, bool) else str(value)
    )
