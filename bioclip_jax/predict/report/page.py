"""The page's HTML: what Report has gathered, for people to look at."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from bioclip_jax import __version__
from bioclip_jax.files import written_beside
from bioclip_jax.markup import bars, json_text, number, section, share, text
from bioclip_jax.text import RANKS

from .report import BINS, MOST_ROWS, MOST_THUMBNAILS, UNKNOWN, Name, Report
from .thumbnails import thumbnails
from .tree import tree

_MOST_BARS = 10
_MOST_UNREADABLE = 1_000
# The summary's steps of confidence, of the BINS that were counted.
_STEPS = (20, 19, 16, 10, 5, 0)

_CONTROLS = (
    '<form id="controls" role="search" hidden>'
    '<label class="wide">Name, or file<input id="filter" type="search" autocomplete="off" '
    'spellcheck="false"></label>'
    '<label for="least">Confidence from <output id="least-told" for="least">0 %</output>'
    '<input id="least" type="range" min="0" max="100" value="0" step="1"></label>'
    '<label>Order<select id="order"><option value="given">as given</option><option value="sure">surest '
    "first</option>"
    '<option value="unsure">least sure first</option><option value="name">by name</option>'
    '<option value="file">by file</option></select></label></form>'
    '<p id="told" class="muted" aria-live="polite"></p><ul id="cards"></ul>'
    '<button id="more" type="button" hidden></button>'
    "<noscript><p>The answers of each image need JavaScript; the figures and the tree do not.</p></noscript>"
)


def write_page(report: Report, path: Path, images: int, unreadable: Sequence[str]) -> None:
    """Write the page; `images`: how many there were, `unreadable`: what is wrong with those that gave no answer."""
    with written_beside(path) as beside:
        beside.write_text(page(report, images, unreadable), encoding="utf-8", errors="backslashreplace")


def page(report: Report, images: int, unreadable: Sequence[str]) -> str:
    """One document that loads nothing. Nothing of the data becomes markup or is run."""
    style, script = _asset("page.css"), _asset("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    # Whatever the data hold, a browser runs this one script and asks no other machine for anything.
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    parts = (_summary(report), _tree(report), _cards(report), _unreadable(unreadable))
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{number(images)} images: what is in them</title><style>{style}</style></head><body>"
        f"<header><h1>What is in {_plural(images, 'image')}</h1>{_about(report)}"
        f"{_headline(report, images, len(unreadable))}</header><main>{''.join(parts)}</main>"
        f"<footer>Made by bioclip-jax {text(__version__)} on {report.made:%d %B %Y at %H:%M}. "
        f"Model {text(report.fingerprint[:12])}.</footer><script>{script}</script></body></html>\n"
    )


def _asset(name: str) -> str:
    return (resources.files(__package__) / name).read_text(encoding="utf-8")


def _about(report: Report) -> str:
    shown = (
        (name.replace("_", " "), str(value)) for name, value in report.settings.items() if name != "min_prob"
    )
    asked = [f"{name}: {text(_short(value))}" for name, value in shown]
    return (
        f'<p class="muted">{text(report.model)} · {report.made:%d %B %Y}</p><p '
        f'class="muted">{" · ".join(asked)}</p>'
    )


def _headline(report: Report, images: int, unreadable: int) -> str:
    names = [name for name in report.best if name.lineage]
    figures = [("images" if images != 1 else "image", number(images))]
    if report.about_taxa:
        for rank, plural in (("family", "families"), ("genus", "genera"), ("species", "species")):
            depth = RANKS.index(rank) + 1
            if found := len({name.lineage[:depth] for name in names if len(name.lineage) >= depth}):
                figures.append((plural, number(found)))
    else:
        figures.append(("different answers", number(len(names))))
    sure = sum(report.confidence[BINS * 4 // 5 :])
    figures.append(("are 80 % sure or more", share(sure, report.images)))
    if unknown := report.best[Name(())]:
        figures.append(("unknown", number(unknown)))
    figures.append(("unreadable", number(unreadable)))
    items = "".join(f"<li><b>{value}</b><span>{label}</span></li>" for label, value in figures)
    return f'<ul class="figures">{items}</ul>'


def _summary(report: Report) -> str:
    if not report.images:
        return section("summary-title", "Summary", "<p>No image has an answer.</p>")
    total = report.images
    confidence = []
    for upper, lower in zip(_STEPS, _STEPS[1:]):
        count = sum(report.confidence[lower:upper])
        label = (
            f"{100 * lower // BINS} to {100 * upper // BINS} %" if lower else f"below {100 * upper // BINS} %"
        )
        confidence.append((label, count, total, f"{number(count)} ({share(count, total)})"))
    known = [(name, count) for name, count in report.best.most_common() if name.lineage]
    most = known[0][1] if known else 1
    commonest = [(_spoken(name), count, most, number(count)) for name, count in known[:_MOST_BARS]]
    title = "The commonest answers" if len(known) > _MOST_BARS else "Images by answer"
    more = f" (the first {_MOST_BARS} of {number(len(known))})" if len(known) > _MOST_BARS else ""
    columns = [bars("Images by how sure the best answer is", confidence)]
    if len(report.ranks) > 1:
        order = [*reversed(RANKS), UNKNOWN]
        reached = [(rank, report.ranks[rank], total, number(report.ranks[rank])) for rank in order]
        columns.append(bars("Images by the rank of the answer", [row for row in reached if row[1]]))
    left, right = "".join(columns), bars(title + more, commonest)
    return section(
        "summary-title", "Summary", f'<div class="columns"><div>{left}</div><div>{right}</div></div>'
    )


def _tree(report: Report) -> str:
    if not report.about_taxa or not any(name.lineage for name in report.best):
        return ""
    known = {name: count for name, count in report.best.items() if name.lineage}
    told = '<p class="muted">The best answer of each image; a bar is a share of all of them.</p>'
    return section("tree-title", "The tree", told, tree(known))


def _cards(report: Report) -> str:
    cards, pictured = report.cards()
    if not cards:
        return ""
    shown = [card for card in cards if card.place in pictured]
    pictures = dict(zip((card.place for card in shown), thumbnails([card.image for card in shown])))
    names: dict[Name, int] = {}
    listed = []
    for card in cards:
        answers = [
            [names.setdefault(name, len(names)), float(f"{score:.4g}")] for name, score in card.answers
        ]
        listed.append([card.image.name, answers, pictures.get(card.place, "")])
    data = {"ranks": RANKS if report.about_taxa else [], "names": list(names), "cards": listed}
    told = ""
    if len(cards) < report.images:
        told += (
            f"The page holds {number(MOST_ROWS)} answers, so {number(len(cards))} of the "
            f"{number(report.images)} "
            "images are here: the first of each best answer, then the second, and so on. The output has all. "
        )
    if len(pictured) < len(cards):
        told += f"{number(MOST_THUMBNAILS)} have a picture, chosen the same way."
    told = f'<p class="notice">{told}</p>' if told else ""
    script = f'<script type="application/json" id="data">{json_text(data)}</script>'
    return section("cards-title", "Image by image", told, _CONTROLS, script)


def _unreadable(problems: Sequence[str]) -> str:
    if not problems:
        return ""
    items = "".join(f"<li>{text(problem)}</li>" for problem in problems[:_MOST_UNREADABLE])
    more = len(problems) - _MOST_UNREADABLE
    more = f"<p>and {number(more)} more, which the command's own result names</p>" if more > 0 else ""
    return section("unreadable-title", "Left out", f'<ul class="problems">{items}</ul>{more}')


def _spoken(name: Name) -> str:
    last = next((part for part in reversed(name.lineage) if part), "no name")
    return f"{name.common} ({last})" if name.common else last


def _short(value: str) -> str:
    return value if len(value) <= 80 else value[:79] + "…"


def _plural(count: int, word: str) -> str:
    return f"{number(count)} {word}{'' if count == 1 else 's'}"
