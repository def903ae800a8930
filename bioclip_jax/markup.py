"""Markup built in Python, for the pages that are not templates yet; formats come from the room html."""

import html
import json
from collections.abc import Iterable, Sequence
from typing import Any

from bioclip_jax.html import data_size, number, share

__all__ = ["bars", "data_size", "json_text", "number", "section", "share", "table", "text"]


def text(value: Any) -> str:
    """A value as text of a page, or in an attribute's quotes: nothing in it is markup."""
    return html.escape(str(value), quote=True)


def json_text(value: Any) -> str:
    """JSON that can stand inside a script element, whatever texts are in it."""
    plain = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return plain.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def section(identifier: str, title: str, *parts: str) -> str:
    """A part of the page under a heading."""
    return (
        f'<section aria-labelledby="{identifier}"><h2 '
        f'id="{identifier}">{text(title)}</h2>{"".join(parts)}</section>'
    )


def table(
    caption: str, head: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = ()
) -> str:
    """A table whose cells are markup already; `numbers`: the columns that are figures."""

    def cell(tag: str, place: int, content: str, scope: str = "") -> str:
        kind = ' class="number"' if place in numbers else ""
        return f"<{tag}{kind}{scope}>{content}</{tag}>"

    top = "".join(cell("th", place, text(name), ' scope="col"') for place, name in enumerate(head))
    body = "".join(
        "<tr>"
        + "".join(
            cell("td" if place else "th", place, content, "" if place else ' scope="row"')
            for place, content in enumerate(row)
        )
        + "</tr>"
        for row in rows
    )
    heading = f"<caption>{text(caption)}</caption>" if caption else ""
    grid = f"{heading}<thead><tr>{top}</tr></thead><tbody>{body}</tbody>"
    return f'<div class="scroll"><table>{grid}</table></div>'


def bars(caption: str, rows: Iterable[tuple[str, float, float, str]]) -> str:
    """A table of bars: (label, value, whole, what stands behind the bar), label and tail as plain text."""

    def bar(value: float, whole: float) -> str:
        return f'<i style="width:{100 * value / whole:.2f}%"></i>' if value else ""

    body = "".join(
        f'<tr><th scope="row">{text(label)}</th>'
        f'<td class="bar"><div>{bar(value, whole)}</div></td>'
        f'<td class="number">{text(tail)}</td></tr>'
        for label, value, whole, tail in rows
    )
    return f'<table class="bars"><caption>{text(caption)}</caption><tbody>{body}</tbody></table>'
