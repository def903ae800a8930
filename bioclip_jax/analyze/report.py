"""The output of an analysis: a folder with results.json, report.html, and a PNG and a CSV of each figure."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from bioclip_jax import html
from bioclip_jax.errors import UserError
from bioclip_jax.files import Reads, check_folder, json_text, written_together
from bioclip_jax.html import data_url

if TYPE_CHECKING:
    from .checkpoint_series import Stage

# A page holds a copy of tables up to this size; larger ones are only beside it.
_MOST_EMBEDDED = 200_000

# Values of a quantity over the stages, by the name of their curve.
Curves = Mapping[str, Sequence[float | None]]


@dataclass(frozen=True)
class Figure:
    """A picture and its table, files beside the page."""

    title: str
    caption: str
    png: Path
    csv: Path


@dataclass(frozen=True)
class Table:
    """Rows of texts and numbers under a caption; `numbers`: indices of the columns to align as numbers."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[Any]]
    numbers: Sequence[int] = ()


@dataclass(frozen=True)
class Part:
    """A section of the page: findings in words, then tables, then figures."""

    title: str
    text: Sequence[str] = ()
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()


def check_arguments(stages: Sequence[Stage], output: Path, permutations: int, fewest: int) -> None:
    """Raise UserError for no stages, fewer than `fewest` permutations, or an output that is not a folder."""
    if not stages:
        raise UserError("there are no embeddings to analyze; name at least one file or model")
    if permutations < fewest:
        raise UserError(f"permutations cannot be {permutations}; give {fewest} or more")
    check_folder(output)


def write_report(
    output: Path,
    title: str,
    stages: Sequence[Stage],
    facts: Sequence[tuple[str, str]],
    result: Mapping[str, Any],
    draw_parts: Callable[[Path], Sequence[Part]],
    reads: Reads | None,
) -> None:
    """Write all files of an analysis into the folder `output`, or none.

    draw_parts: draws the figures into a folder and returns the page's parts. reads: as written_together.
    """
    sources = ", ".join(dict.fromkeys(stage.embeddings.source for stage in stages))
    facts = [("embeddings", sources), ("stages", ", ".join(stage.name for stage in stages)), *facts]
    with written_together(output, reads) as folder:
        (folder / "results.json").write_text(json_text(result, indent=2) + "\n", encoding="utf-8")
        write_page(folder / "report.html", title, facts, draw_parts(folder))


def write_page(path: Path, title: str, facts: Sequence[tuple[str, str]], parts: Sequence[Part]) -> None:
    """Write the page. facts: names and values for the header."""
    folder = Path(path).parent
    sections = [
        {
            "title": part.title,
            "text": part.text,
            "tables": [_formatted(table) for table in part.tables],
            "figures": [_embedded(figure, folder) for figure in part.figures],
        }
        for part in parts
    ]
    html.write_page(path, "analysis.html", title=title, facts=facts, parts=sections)


def _formatted(table: Table) -> Table:
    return replace(table, rows=[[_cell(value) for value in row] for row in table.rows])


def _embedded(figure: Figure, folder: Path) -> dict[str, Any]:
    path = quote(Path(os.path.relpath(figure.csv, folder)).as_posix(), errors="surrogateescape")
    content = figure.csv.read_bytes()
    embedded = len(content) < _MOST_EMBEDDED
    return {
        "title": figure.title,
        "caption": figure.caption,
        "picture": data_url(figure.png.read_bytes(), "image/png"),
        "name": figure.csv.name,
        # Without ./ a name such as a:b.csv would be a URL of the scheme "a".
        "link": f"./{path}",
        "size": len(content),
        # For a page that is sent without its folder.
        "data": data_url(content, "text/csv;charset=utf-8") if embedded else "",
    }


def _cell(value: Any) -> str:
    if value is None or value != value:
        return "–"
    if isinstance(value, (float, np.floating)):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)


def draw_figure(
    folder: Path,
    stem: str,
    heading: str,
    caption: str,
    draw: Callable[..., None],
    *arguments: Any,
    **options: Any,
) -> Figure:
    """Draw a figure and its table as STEM.png and STEM.csv: `draw(png, csv, *arguments, **options)`."""
    png, csv = folder / f"{stem}.png", folder / f"{stem}.csv"
    draw(png, csv, *arguments, **options)
    return Figure(heading, caption, png, csv)


def draw_stages(
    folder: Path,
    stages: Sequence[Mapping[str, Any]],
    stem: str,
    title: str,
    ylabel: str,
    caption: str,
    series: Curves,
    nulls: Curves,
    percent: bool = False,
) -> list[Figure]:
    """Draw a measure over the stages of a result (as plot_curves); an empty list if there are no `series`."""
    from bioclip_jax.analyze.figures import plot_curves

    if not series:
        return []
    along = [(stage["name"], stage["position"]) for stage in stages]
    options = {"title": title, "ylabel": ylabel, "nulls": nulls or None, "percent": percent}
    return [draw_figure(folder, f"stages-{stem}", title, caption, plot_curves, along, series, **options)]


def file_stems(names: Iterable[str], empty: str) -> dict[str, str]:
    """Turn names into distinct stems of file names; `empty`: for a name without letters."""
    stems: dict[str, str] = {}
    for name in names:
        stem = plain = re.sub(r"[^\w-]+", "-", name).strip("-") or empty
        number = 1
        while stem.lower() in {other.lower() for other in stems.values()}:
            number += 1
            stem = f"{plain}-{number}"
        stems[name] = stem
    return stems


def percent(value: float | None) -> str:
    """Format a share as 12.3 %, and None as "–"."""
    return "–" if value is None else f"{100 * value:.1f} %"


def percent_range(values: Sequence[float] | None) -> str:
    """Format two shares as 12.3 % – 45.6 %, and None as "–"."""
    return "–" if values is None else f"{percent(values[0])} – {percent(values[1])}"


def decimal(value: float | None, digits: int) -> str:
    """Format a number with `digits` decimals, and None as "–"."""
    return "–" if value is None else f"{value:.{digits}f}"


def p_value(p: float) -> str:
    """Format a p-value with two to four decimals: 0.0001, 0.012, 0.35."""
    return f"{p:.4f}" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"
