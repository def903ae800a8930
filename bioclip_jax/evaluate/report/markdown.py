"""Markdown report of a suite: results.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bioclip_jax.evaluate.reference_scores import SYSTEMS
from bioclip_jax.files import write_text

from .rows import Row

_SOURCES = {"BioCAP": "https://arxiv.org/abs/2510.20095"}
_SOURCE = "https://arxiv.org/abs/2505.23883"


def write_markdown(path: Path, results: Mapping[str, Any], rows: Sequence[Row]) -> None:
    """Write the table of `rows` (as report_rows), and the skipped and failed entries with their reasons."""
    write_text(path, markdown(results, rows))


def markdown(results: Mapping[str, Any], rows: Sequence[Row]) -> str:
    """Return the text of results.md."""
    versions = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    images = f", images {results['transform']}" if results.get("transform") else ""
    notes = ""
    if any(row.published for row in rows):
        names = ", ".join(f"[{name}]({_SOURCES.get(name, _SOURCE)})" for name in SYSTEMS)
        notes += f" Scores of {names} (ViT-L-14 of LAION-2B) are the published ones."
    if any(row.kind == "also" for row in rows):
        notes += " Rows in italics are not comparable with the published figures, and not in the means."
    lines = [
        f"# {_escaped(results['model'])}",
        "",
        f"Scored on {results['date'][:10]} by {versions} on {results['device']}{images}. "
        f"Figures are in percent, with 95 % intervals.{notes}",
        "",
    ]
    heading, systems = None, []
    for row in rows:
        if row.heading != heading:
            heading = row.heading
            part = [other for other in rows if other.heading == heading]
            systems = [name for name in SYSTEMS if any(name in other.published for other in part)]
            lines += ["", f"## {heading}", "", _line(["set", "protocol", "images", "this model", *systems])]
            lines += [_line(["---", "---", "--:", "--:", *("--:" for _ in systems)])]
        if row.kind == "mean" and row.ours is None:
            lines += ["", f"No {row.title[0].lower()}{row.title[1:]}: {_escaped(row.note)}."]
        else:
            lines.append(_line(_cells(row, systems)))
    for title, reasons in (("Skipped", results["skipped"]), ("Failed", results["failed"])):
        if reasons:
            lines += ["", f"## {title}", ""]
            lines += [f"- {_escaped(name)}: {_escaped(reason)}" for name, reason in reasons.items()]
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"


def _cells(row: Row, systems: Iterable[str]) -> Iterable[str]:
    title = _escaped(row.title)
    yield {"member": f"– {title}", "mean": f"**{title}**", "also": f"*{title}*"}.get(row.kind, title)
    yield row.protocol
    yield "" if row.n is None else f"{row.n:,}"
    yield _score_text(row)
    for system in systems:
        yield f"{row.published[system]:.1f}" if system in row.published else ""


def _score_text(row: Row) -> str:
    """Format a score and its interval, 74.9 (74.5–75.3), or the reason for its absence."""
    if row.ours is None:
        return f"({_escaped(row.note)})"
    interval = "" if row.interval is None else f" ({row.interval[0]:.1f}–{row.interval[1]:.1f})"
    return f"{row.ours:.1f}{interval}"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    """Escape Markdown markup, and join lines."""
    text = " ".join(str(text).split())
    for character in "\\|`*_<>[]":
        text = text.replace(character, f"\\{character}")
    return text
