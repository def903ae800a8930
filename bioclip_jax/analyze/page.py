"""The report of an analysis: one HTML document that loads nothing, its pictures in it."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from bioclip_jax import __version__
from bioclip_jax.markup import section, table, text
from bioclip_jax.predict.results import written_beside

# Larger tables are beside the page alone.
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
    style = resources.files("bioclip_jax.analyze").joinpath("page.css").read_text("utf-8")
    # Whatever the data hold, a browser runs no script and asks no other machine for anything.
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    facts = "".join(f"<dt>{text(name)}</dt><dd>{text(value)}</dd>" for name, value in about)
    body = "".join(_part(part) for part in parts)
    document = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(title)}</title><style>{style}</style></head><body>"
        f"<header><h1>{text(title)}</h1><dl>{facts}</dl></header><main>{body}</main>"
        f"<footer><p>Made by bioclip_jax {text(__version__)}. Behind each figure is a table of its numbers.</p></footer>"
        "</body></html>\n"
    )
    with written_beside(path) as beside:
        beside.write_text(document, encoding="utf-8", errors="backslashreplace")


def _part(part: Part) -> str:
    identifier = re.sub(r"\W+", "-", part.title.lower()).strip("-") or "part"
    paragraphs = "".join(f"<p>{text(paragraph)}</p>" for paragraph in part.text)
    tables = "".join(
        table(one.caption, one.head, [[text(_cell(cell)) for cell in row] for row in one.rows], one.numbers)
        for one in part.tables
    )
    return section(identifier, part.title, paragraphs, tables, *map(_figure, part.figures))


def _figure(figure: Figure) -> str:
    picture = base64.b64encode(figure.png.read_bytes()).decode()
    name = text(figure.csv.name)
    # Beside the page it opens at once; a page that travels alone still has it.
    links = f'<a href="{name}">{name}</a>'
    content = figure.csv.read_bytes()
    if len(content) < _MOST_EMBEDDED:
        data = base64.b64encode(content).decode()
        links = f'<a download="{name}" href="data:text/csv;base64,{data}">{name}</a>'
    return (
        f'<figure><img alt="{text(figure.title)}" src="data:image/png;base64,{picture}">'
        f"<figcaption>{text(figure.caption)} Numbers: {links}.</figcaption></figure>"
    )


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "–" if value != value else f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return (
        "–" if value is None else f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    )
