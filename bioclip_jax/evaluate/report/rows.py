"""Rows of a suite's report, in the paper's order, with the published scores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bioclip_jax.evaluate.reference_scores import PARTS, REFERENCE_SCORES

_FEW_SHOT = "Species, few-shot"
_FURTHER = "Further sets"
# The paper's tables come first.
HEADINGS = (PARTS["zero-shot"].title, _FEW_SHOT, PARTS["tasks"].title, _FURTHER)


@dataclass(frozen=True)
class Row:
    """One line of scores, in percent.

    ours, interval: None if there is no score. n: number of images. published: by system. kind: "set", "mean"
    of a part, "member" of the group above it, "also" for a score of the set above it that is computed
    differently from the published one. note: reason for a missing score.
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
    """Return the rows of evaluate_suite's result, by HEADINGS, with the mean of each part of the paper.

    A mean, of a part or of a group, is given only if all of its sets have a score.
    """
    entries, groups = results["entries"], results["groups"]
    parts: dict[str, list[tuple[int, list[Row]]]] = {heading: [] for heading in HEADINGS}
    seen: set[str] = set()
    published = list(REFERENCE_SCORES)
    for index, (name, entry) in enumerate(entries.items()):
        group = entry["group"]
        if group is None:
            rows = _set_rows(name, entry, _figures(entry))
        elif group in seen:
            continue
        else:
            seen.add(group)
            rows = _group_rows(group, groups.get(group, (name,)), entries)
        reference = entry["published"]
        order = published.index(reference) if reference in published else len(published) + index
        parts[rows[0].heading].append((order, rows))
    report = []
    for heading, blocks in parts.items():
        blocks.sort(key=lambda block: block[0])
        report += _with_mean(heading, [row for _, rows in blocks for row in rows])
    return report


def _figures(entry: Mapping[str, Any]) -> dict[str, _Figure]:
    """Return an entry's figures by the suffix of their titles.

    The suffix is "" for the published figure, or the number of shots for few-shot. The figures of `also`
    follow, which are not comparable with the published one.
    """
    figures = entry["figures"]
    n = figures.get("n") if isinstance(figures.get("n"), int) else None
    if by_shots := figures.get("few_shot"):
        return {
            f", {shots}-shot": _figure(figure["mean"], figure.get("interval"), n)
            for shots, figure in by_shots.items()
        }
    value = figures.get(entry["score"])
    if value is None:
        return {}
    also = {f", {how}": key for key, how in entry.get("also", {}).items() if figures.get(key) is not None}
    return {"": _figure(value, figures.get("interval"), n)} | {
        suffix: _figure(figures[key], figures.get(f"{key}_interval"), n, comparable=False)
        for suffix, key in also.items()
    }


def _figure(value: float, interval: Any, n: int | None, *, comparable: bool = True) -> _Figure:
    low_high = tuple(100 * end for end in interval) if interval else None
    return _Figure(100 * value, low_high, n, comparable)


def _heading(entry: Mapping[str, Any]) -> str:
    if entry["published"] is not None:
        return PARTS[REFERENCE_SCORES[entry["published"]].part].title
    return _FEW_SHOT if entry["protocol"] == "few-shot" else _FURTHER


def _set_rows(
    name: str, entry: Mapping[str, Any], figures: Mapping[str, _Figure], kind: str = "set"
) -> list[Row]:
    reference = REFERENCE_SCORES.get(entry["published"] or "")
    # One of several sets has no published score of its own.
    own = reference is not None and reference.sets == 1 and kind == "set"
    title, published = (reference.title, reference.figures) if own else (name, {})
    heading, protocol = _heading(entry), entry["protocol"]
    if not figures:
        return [Row(heading, title, None, None, None, published, kind, "no figure", protocol)]
    also_kind = kind if kind == "member" else "also"
    return [
        Row(heading, title + suffix, figure.value, figure.interval, figure.n, published, kind, "", protocol)
        if figure.comparable
        else Row(
            heading, title + suffix, figure.value, figure.interval, figure.n, {}, also_kind, "", protocol
        )
        for suffix, figure in figures.items()
    ]


def _group_rows(group: str, members: Iterable[str], entries: Mapping[str, Any]) -> list[Row]:
    """Return the mean of a group, if all of its sets have a score, followed by its members."""
    members = list(members)
    scored = [name for name in members if name in entries]
    entry = entries[scored[0]]
    reference = REFERENCE_SCORES.get(entry["published"] or "")
    n_sets = max(len(members), reference.sets if reference else 0)
    title, published = (reference.title, reference.figures) if reference else (group, {})
    heading, protocol = _heading(entry), entry["protocol"]
    figures = [_figures(entries[name]) for name in scored]
    shared = [suffix for suffix in figures[0] if all(suffix in others for others in figures)]
    rows = []
    for suffix in shared or [""]:
        if len(scored) == n_sets and shared:
            parts = [by_suffix[suffix] for by_suffix in figures]
            n = None if any(part.n is None for part in parts) else sum(part.n for part in parts)
            mean = sum(part.value for part in parts) / n_sets
            about = {"published": published} if parts[0].comparable else {"kind": "also"}
            rows.append(Row(heading, f"{title}{suffix}", mean, None, n, protocol=protocol, **about))
        else:
            note = f"{len(scored)} of its {n_sets} sets are scored"
            rows.append(
                Row(heading, f"{title}{suffix}", None, published=published, note=note, protocol=protocol)
            )
    for name, by_suffix in zip(scored, figures):
        rows += _set_rows(name, entries[name], by_suffix, "member")
    return rows


def _with_mean(heading: str, rows: list[Row]) -> list[Row]:
    part = next((name for name, part in PARTS.items() if part.title == heading), None)
    if part is None or not rows:
        return rows
    wanted = [reference.title for reference in REFERENCE_SCORES.values() if reference.part == part]
    comparable = [row for row in rows if row.kind == "set" and row.published]
    ours = {row.title: row.ours for row in comparable if row.ours is not None}
    missing = [title for title in wanted if title not in ours]
    title = f"Mean of the {len(wanted)}"
    # An entry scored twice, by different options, would distort the mean.
    twice = len(comparable) > len(wanted)
    if missing or twice:
        note = f"{', '.join(missing)} not scored" if missing else "some sets are scored twice"
        return [*rows, Row(heading, title, None, kind="mean", note=note)]
    mean = sum(ours[title] for title in wanted) / len(wanted)
    return [*rows, Row(heading, title, mean, None, None, PARTS[part].mean, "mean")]
