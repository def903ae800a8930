"""Pieces of the page: shares as people write them, bars, tables to take away."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bioclip_jax.markup import text

from .photos import data_url


def percent(score: float) -> str:
    """93 %, 4.2 %; never 0 or 100 where it is a little more or less."""
    share = 100 * score
    if 0 < share < 0.1:
        return "< 0.1 %"
    if 99.9 < share < 99.9999:
        return "> 99.9 %"
    return f"{share:.0f} %" if share >= 99.9999 or share == 0 else f"{share:.1f} %"


def bar(score: float) -> str:
    """A bar as long as a share between 0 and 1."""
    return f'<span class="bj-bar"><i style="width:{100 * min(max(score, 0), 1):.1f}%"></i></span>'


def bars(items: Iterable[tuple[str, float]], title: str, level: int = 3) -> str:
    """Names, which are markup already, with their shares, below a heading of a level."""
    lines = "".join(
        f'<li><span class="bj-name">{name}</span><b>{percent(score)}</b>{bar(score)}</li>'
        for name, score in items
    )
    return f'<div><h{level}>{text(title)}</h{level}><ol class="bj-bars">{lines}</ol></div>'


def picture(thumbnail: bytes, name: str) -> str:
    """A thumbnail that says what it is."""
    return f'<img src="{data_url(thumbnail)}" alt="{text(name)}">'


def species_name(row: Mapping[str, Any]) -> str:
    """A species as people read it: its common name, if it has one, before the scientific one."""
    scientific = f"<em>{text(row['species'])}</em>"
    return f"{text(row['common_name'])} <small>{scientific}</small>" if row.get("common_name") else scientific


def sentence(message: object) -> str:
    """A message as a sentence: a capital at the beginning and one mark at the end."""
    words = str(message).strip()
    return f"{words[:1].upper()}{words[1:]}{'' if words.endswith(('.', '?', '!', '…')) else '.'}"


def empty(title: str, advice: str) -> str:
    """What stands where there is nothing yet: what to do. `advice` is markup."""
    return f'<div class="bj-empty"><p><b>{text(title)}</b></p><p>{advice}</p></div>'


def failed(message: object) -> str:
    """A message in place of a result: what went wrong."""
    problem = f"<p><b>That did not work</b></p><p>{text(sentence(message))}</p>"
    return f'<div class="bj-empty bj-failed" role="alert">{problem}</div>'


def download(rows: Sequence[Mapping[str, Any]], name: str) -> str:
    """A link to the rows as CSV. The file stands in the link, so that the server keeps none."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    file = io.StringIO()
    writer = csv.DictWriter(file, columns, restval="")
    writer.writeheader()
    writer.writerows({column: _harmless(value) for column, value in row.items()} for row in rows)
    # The mark at the beginning tells spreadsheets that this is UTF-8.
    url = data_url(b"\xef\xbb\xbf" + file.getvalue().encode(), "text/csv")
    return f'<a class="bj-download" download="{text(name)}" href="{url}">Download CSV</a>'


def _harmless(value: Any) -> Any:
    """Spreadsheets run cells that begin like a formula, and a photo may have any name."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t") else value


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose cells are markup already; it scrolls by itself where the window is narrow."""
    top = "".join(f'<th scope="col">{text(name)}</th>' for name in head)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    parts = f"<thead><tr>{top}</tr></thead><tbody>{body}</tbody>"
    return f'<div class="bj-scroll"><table class="bj-table">{parts}</table></div>'
