"""The rows that a suite's table and picture show: ours beside the published, in the paper's order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bioclip_jax.evaluate.published import PARTS, PUBLISHED

_FEW_SHOT = "Species, few-shot"
_FURTHER = "Further sets"
# What is not of the paper comes after what is.
HEADINGS = (PARTS["zero-shot"].title, _FEW_SHOT, PARTS["tasks"].title, _FURTHER)


@dataclass(frozen=True)
class Row:
    """One line of figures, in percent.

    ours, interval: None where there is none. n: images. published: by system. kind: "set", "mean" of a part,
    "member" of a group whose row stands before it, "also" for a figure of the set before it that is scored in
    another way than the published one. note: why there is no figure.
    """

    heading: str
    title: str
    ours: float | None
    interval: tuple[float, float] | None = None
    n: int | None = None
    published: Mapping[str, float] = field(default_factory=dict)
    kind: str = "set"
    note: str = ""
    protocol: str = ""


@dataclass(frozen=True)
class _Figure:
    value: float
    interval: tuple[float, float] | None
    n: int | None
    comparable: bool = True


def report_rows(results: Mapping[str, Any]) -> list[Row]:
    """The rows of what evaluate_suite returned, by HEADINGS, each part with its mean.

    The mean of a part of the paper is given where all of its rows are there, and so is the mean of a group.
    """
    entries, groups = results["entries"], results["groups"]
    rows: dict[str, list[tuple[float, list[Row]]]] = {heading: [] for heading in HEADINGS}
    seen: set[str] = set()
    for place, (name, entry) in enumerate(entries.items()):
        group = entry["group"]
        if group is None:
            found = _set_rows(name, entry, _figures(entry))
        elif group in seen:
            continue
        else:
            seen.add(group)
            found = _group_rows(group, groups.get(group, (name,)), entries)
        published = list(PUBLISHED)
        order = (
            published.index(entry["published"]) if entry["published"] in published else len(published) + place
        )
        rows[found[0].heading].append((order, found))
    ordered = {heading: [row for _, found in sorted(parts, key=lambda part: part[0]) for row in found]
               for heading, parts in rows.items()}  # fmt: skip
    return [row for heading in HEADINGS for row in _with_mean(heading, ordered[heading])]


def _figures(entry: Mapping[str, Any]) -> dict[str, _Figure]:
    """An entry's figures by the end of their titles: "" for the published one, or one for each number of shots.

    Those of `also` follow, which are not comparable with the published one.
    """
    figures = entry["figures"]
    n = figures.get("n") if isinstance(figures.get("n"), int) else None
    if shots := figures.get("few_shot"):
        return {f", {k}-shot": _figure(found["mean"], found.get("interval"), n) for k, found in shots.items()}
    value = figures.get(entry["score"])
    if value is None:
        return {}
    others = {f", {how}": key for key, how in entry.get("also", {}).items() if figures.get(key) is not None}
    return {"": _figure(value, figures.get("interval"), n)} | {
        tail: _figure(figures[key], figures.get(f"{key}_interval"), n, comparable=False)
        for tail, key in others.items()
    }


def _figure(value: float, interval: Any, n: int | None, *, comparable: bool = True) -> _Figure:
    low_high = tuple(100 * end for end in interval) if interval else None
    return _Figure(100 * value, low_high, n, comparable)


def _heading(entry: Mapping[str, Any]) -> str:
    if entry["published"] is not None:
        return PARTS[PUBLISHED[entry["published"]].part].title
    return _FEW_SHOT if entry["protocol"] == "few-shot" else _FURTHER


def _set_rows(
    name: str, entry: Mapping[str, Any], figures: Mapping[str, _Figure], kind: str = "set"
) -> list[Row]:
    published = PUBLISHED.get(entry["published"] or "")
    # A set that is one of several has no published figure of its own.
    alone = published is not None and published.sets == 1 and kind == "set"
    title, beside = (published.title, published.figures) if alone else (name, {})
    about = {"published": beside, "kind": kind, "protocol": entry["protocol"]}
    if not figures:
        return [Row(_heading(entry), title, None, note="no figure", **about)]
    other = about | {"published": {}, "kind": kind if kind == "member" else "also"}
    return [
        Row(
            _heading(entry),
            title + tail,
            found.value,
            found.interval,
            found.n,
            **about if found.comparable else other,
        )
        for tail, found in figures.items()
    ]


def _group_rows(group: str, members: Iterable[str], entries: Mapping[str, Any]) -> list[Row]:
    """The mean of a group, where all of it was scored, and then its entries."""
    members = list(members)
    there = [name for name in members if name in entries]
    entry = entries[there[0]]
    published = PUBLISHED.get(entry["published"] or "")
    of = max(len(members), published.sets if published else 0)
    title, beside = (published.title, published.figures) if published else (group, {})
    figures = [_figures(entries[name]) for name in there]
    shared = [tail for tail in figures[0] if all(tail in found for found in figures)]
    rows = []
    for tail in shared or [""]:
        if len(there) == of and shared:
            parts = [found[tail] for found in figures]
            n = None if any(part.n is None for part in parts) else sum(part.n for part in parts)
            mean = sum(part.value for part in parts) / of
            about = {"published": beside} if parts[0].comparable else {"kind": "also"}
            rows.append(
                Row(_heading(entry), f"{title}{tail}", mean, None, n, protocol=entry["protocol"], **about)
            )
        else:
            note = f"{len(there)} of its {of} sets are scored"
            rows.append(
                Row(
                    _heading(entry),
                    f"{title}{tail}",
                    None,
                    published=beside,
                    note=note,
                    protocol=entry["protocol"],
                )
            )
    return rows + [
        row for name, found in zip(there, figures) for row in _set_rows(name, entries[name], found, "member")
    ]


def _with_mean(heading: str, rows: list[Row]) -> list[Row]:
    part = next((name for name, part in PARTS.items() if part.title == heading), None)
    if part is None or not rows:
        return rows
    wanted = [published.title for published in PUBLISHED.values() if published.part == part]
    ours = {
        row.title: row.ours for row in rows if row.kind == "set" and row.published and row.ours is not None
    }
    missing = [title for title in wanted if title not in ours]
    title = f"Mean of the {len(wanted)}"
    # An entry that was scored twice, in two ways, would make it a mean of something else.
    twice = len([row for row in rows if row.kind == "set" and row.published]) > len(wanted)
    if missing or twice:
        note = f"{', '.join(missing)} not scored" if missing else "some sets are there twice"
        return [*rows, Row(heading, title, None, kind="mean", note=note)]
    mean = sum(ours[title] for title in wanted) / len(wanted)
    return [*rows, Row(heading, title, mean, None, None, PARTS[part].mean, "mean")]
