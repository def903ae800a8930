"""Results for a terminal: aligned tables that fit its width."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bioclip_jax.evaluate.protocol import Protocol
from bioclip_jax.evaluate.protocols import options_of
from bioclip_jax.evaluate.published import SYSTEMS

from .plot import short
from .rows import Row

_GAP = "  "
_TITLES = {"top1": "top-1", "top3": "top-3", "top5": "top-5", "ece": "calibration error"}
# Repetitions of the headline figure, by protocol.
_REPEATED = ("by_seed", "seeds", "repeats")
_SPREAD = ("std", "interval", *_REPEATED)
_COUNTED = {"n": "images", "n_train": "training images", "n_labelled": "labeled images", "n_old": "of Old classes",
            "old_classes": "Old classes", "not_candidates": "of other classes"}  # fmt: skip


def describe_result(result: Mapping[str, Any], protocol: Protocol) -> str:
    """The result of one protocol (as evaluate_protocol returns it) as text: data and options, figures, details."""
    options = {name: value for name, value in options_of(protocol).items() if value is not None}
    about = {"protocol", "model", "fingerprint", "data", "transform", "seconds", *options_of(protocol)}
    figures = {key: value for key, value in result.items() if key not in about}
    lines = _header(result, protocol.name, options, figures)
    lines += ["", *_headline(figures, protocol.score)]
    for title, rows in _details(figures):
        lines += ["", title, *format_table(rows)]
    return "\n".join(lines)


def describe_suite(rows: Sequence[Row]) -> str:
    """The rows of a suite (as report_rows) as tables, with as many of the images and published columns as fit."""
    systems = [name for name in SYSTEMS if any(name in row.published for row in rows)]
    for columns in (["images", *systems], *(systems[:count] for count in range(len(systems), -1, -1))):
        lines: list[str] = []
        for heading in dict.fromkeys(row.heading for row in rows):
            part = [row for row in rows if row.heading == heading]
            there = [
                name for name in columns if name == "images" or any(name in row.published for row in part)
            ]
            lines += [
                "",
                heading,
                *_aligned([["", "this model", *there], *(_suite_cells(row, there) for row in part)]),
            ]
        if max(map(len, lines), default=0) <= _width():
            break
    return "\n".join(lines[1:])


def format_table(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """Lines of a table whose first column is aligned left and all others right; columns with no entry are left out.

    Where it is wider than the terminal, the table is transposed, and in blocks of as many columns as fit.
    """
    columns = [
        name
        for name in dict.fromkeys(key for row in rows for key in row)
        if any(row.get(name) for row in rows)
    ]
    if not columns:
        return []
    cells = [columns, *([row.get(name, "") for name in columns] for row in rows)]
    lines = _aligned(cells)
    if max(map(len, lines), default=0) <= _width():
        return lines
    transposed = [list(cells_of) for cells_of in zip(*cells)]
    size = len(transposed[0]) - 1
    while size > 1 and max(map(len, _block(transposed, 1, size))) > _width():
        size -= 1
    blocks = [_block(transposed, start, size) for start in range(1, len(transposed[0]), size)]
    return [line for number, block in enumerate(blocks) for line in ([""] if number else []) + block]


def _block(cells: Sequence[Sequence[str]], start: int, size: int) -> list[str]:
    return _aligned([[row[0], *row[start : start + size]] for row in cells])


def _aligned(cells: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[place]) for row in cells) for place in range(len(cells[0]))]
    lines = ([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in cells)
    return [_GAP.join(line).rstrip() for line in lines]


def _header(
    result: Mapping[str, Any], name: str, options: Mapping[str, Any], figures: Mapping[str, Any]
) -> list[str]:
    said = {
        "protocol": name,
        "model": result["model"],
        "transform": result.get("transform"),
        "data": result["data"],
    }
    counts = [
        f"{value:,} {_COUNTED.get(key, _title(key))}"
        for key, value in figures.items()
        if isinstance(value, int) and not isinstance(value, bool) and (value or key != "not_candidates")
    ]
    # Where counts are by cause or by part, such as {"truncated": 2} and {"train": 0, "test": 2}.
    for key, title in (("bad", "left out"), ("unknown", "left out, traits unknown")):
        if causes := [
            f"{count:,} {cause.replace('_', ' ')}" for cause, count in figures.get(key, {}).items() if count
        ]:
            said[title] = ", ".join(causes)
    said["options"] = ", ".join(f"{_title(key)} {_option(value)}" for key, value in options.items())
    said["scored"] = ", ".join(counts)
    wide = max(len(title) for title, text in said.items() if text)
    lines = []
    for title, text in said.items():
        if text:
            indent = " " * (wide + len(_GAP))
            lines += textwrap.wrap(
                f"{title:{wide}}{_GAP}{text}", _width(), subsequent_indent=indent, break_long_words=False
            )
    return lines


def _headline(figures: Mapping[str, Any], score: str) -> list[str]:
    """The figures that are one number each with their spread, the one that is compared with the published first."""
    names = [
        key
        for key, value in figures.items()
        if key == score or isinstance(value, float) and not _is_spread(key)
    ]
    rows = []
    for key in sorted(names, key=lambda name: name != score):
        prefix = "" if key == score else f"{key}_"
        repeated = next((figures[prefix + name] for name in _REPEATED if prefix + name in figures), None)
        title = _title(key) + (" without dropout" if f"{key}_with_dropout" in figures else "")
        row = {"figure": title, "": share(figures[key]) or "none"}
        row["95 % interval"] = _interval(figures.get(prefix + "interval"))
        row["std"] = _number(figures.get(prefix + "std"))
        row["runs"] = " ".join(_number(value) for value in repeated or ())
        rows.append(row)
    return format_table(rows)


def _details(figures: Mapping[str, Any]) -> Iterable[tuple[str, list[dict[str, str]]]]:
    for key, value in figures.items():
        if key == "ranks":
            yield "By rank", [_rank_row(figures, rank) for rank in value]
        elif key == "few_shot":
            yield "By images a class", [_shots_row(shots, found) for shots, found in value.items()]
        elif key == "hierarchical_distance":
            means = {"mean": value["mean"], "of mistakes": value["mean_of_errors"]}
            told = ", ".join(f"{name} {mean:.2f}" for name, mean in means.items() if mean is not None)
            counts = {"ranks": "images"} | {ranks: f"{n:,}" for ranks, n in value["counts"].items()}
            yield f"Ranks between the answer and the truth: {told or 'none'}", [counts]
        elif key == "sister_confusion":
            rows = [
                {
                    "": f"in its {rank}",
                    "of mistakes": share(found["share"]),
                    "by chance": share(found["chance"]),
                }
                for rank, found in value.items()
            ]
            yield "Mistakes that name a relative", rows
        elif isinstance(value, Mapping) and value and all(isinstance(item, float) for item in value.values()):
            if not _is_spread(key) and key not in ("rank_intervals", "chance", "majority", "ece_by_rank"):
                title = _title(key).removeprefix("by ").capitalize()
                yield (
                    f"By {title.lower()}",
                    [{"": name, "accuracy": share(item)} for name, item in value.items()],
                )


def _rank_row(figures: Mapping[str, Any], rank: str) -> dict[str, str]:
    return {
        "rank": rank,
        "accuracy": share(figures["ranks"][rank]),
        "95 % interval": _interval(figures["rank_intervals"][rank]),
        "images": f"{figures['n_by_rank'][rank]:,}",
        "by chance": share(figures["chance"][rank]),
        "commonest": share(figures["majority"][rank]),
        "calib. error": share(figures["ece_by_rank"][rank]),
    }


def _shots_row(shots: str, found: Mapping[str, Any]) -> dict[str, str]:
    return {
        "images": shots,
        "top-1": share(found["mean"]),
        "95 % interval": _interval(found["interval"]),
        "std": _number(found["std"]),
        "small classes left out": f"{found['small_classes']:,}" if found["small_classes"] else "",
    }


def _suite_cells(row: Row, columns: Iterable[str]) -> list[str]:
    title = {"member": f"- {row.title}", "also": f"({row.title})"}.get(row.kind, row.title)
    between = "" if row.interval is None else f" ({row.interval[0]:.1f}–{row.interval[1]:.1f})"
    ours = f"({row.note})" if row.ours is None else f"{row.ours:.1f}{between}"
    cells = {name: f"{figure:.1f}" for name, figure in row.published.items()}
    cells["images"] = "" if row.n is None else f"{row.n:,}"
    return [short(title, 40), ours, *(cells.get(name, "") for name in columns)]


def share(value: float | None) -> str:
    """A share in percent, "" for none."""
    return "" if value is None else f"{100 * value:.1f} %"


def _number(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"


def _interval(interval: Sequence[float] | None) -> str:
    return "" if interval is None else f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}"


def _option(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _is_spread(key: str) -> bool:
    return key in _SPREAD or key.endswith(tuple(f"_{name}" for name in _SPREAD))


def _title(key: str) -> str:
    return _TITLES.get(key, key.replace("_", " "))


def _width() -> int:
    return max(shutil.get_terminal_size().columns, 40)
