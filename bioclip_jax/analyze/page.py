"""The report of an analysis: one HTML document that loads nothing, its pictures in it."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from bioclip_jax import __version__
from bioclip_jax.files import written_beside
from bioclip_jax.markup import data_size, section, table, text

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
    """Write the page. `about`: what the whole is about, as pairs of a name and what it is."""
    # The same look as the report of predictions, and what figures need beside.
    style = _style("bioclip_jax.predict.report") + _style("bioclip_jax.analyze")
    # Whatever the data hold, a browser runs no script and asks no other machine for anything.
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    facts = "".join(f"<dt>{text(name)}</dt><dd>{text(value)}</dd>" for name, value in about)
    body = "".join(_part(part, number, Path(path).parent) for number, part in enumerate(parts, 1))
    document = (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(title)}</title><style>{style}</style></head><body>"
        f"<header><h1>{text(title)}</h1>{f'<dl>{facts}</dl>' if facts else ''}</header><main>{body}</main>"
        f"<footer>Made by bioclip-jax {text(__version__)}.</footer></body></html>\n"
    )
    with written_beside(Path(path)) as beside:
        beside.write_text(document, encoding="utf-8", errors="backslashreplace")


def _style(package: str) -> str:
    return resources.files(package).joinpath("page.css").read_text("utf-8")


def _part(part: Part, number: int, folder: Path) -> str:
    paragraphs = "".join(f"<p>{text(paragraph)}</p>" for paragraph in part.text)
    tables = "".join(
        table(one.caption, one.head, [[text(_cell(cell)) for cell in row] for row in one.rows], one.numbers)
        for one in part.tables
    )
    figures = "".join(_figure(figure, folder) for figure in part.figures)
    return section(f"part-{number}", part.title, paragraphs, tables, figures)


def _figure(figure: Figure, folder: Path) -> str:
    picture = base64.b64encode(figure.png.read_bytes()).decode()
    # Beside the page it opens at once; a page that travels alone still has the smaller ones.
    where = quote(Path(os.path.relpath(figure.csv, folder)).as_posix(), errors="surrogateescape")
    # A name such as a:b.csv would be taken for a protocol.
    name, links = text(figure.csv.name), f'<a href="./{where}">{text(figure.csv.name)}</a>'
    content = figure.csv.read_bytes()
    if len(content) < _MOST_EMBEDDED:
        data = base64.b64encode(content).decode()
        save = f"save a copy ({data_size(len(content))})"
        links += f', <a download="{name}" href="data:text/csv;charset=utf-8;base64,{data}">{save}</a>'
    return (
        f'<figure><img alt="{text(figure.title)}" src="data:image/png;base64,{picture}">'
        f"<figcaption>{text(figure.caption)} Numbers: {links}</figcaption></figure>"
    )


def _cell(value: Any) -> str:
    if value is None or value != value:
        return "–"
    if isinstance(value, (float, np.floating)):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return (
        f"{value:,}" if isinstance(value, (int, np.integer)) and not isinstance(value, bool) else str(value)
    )
