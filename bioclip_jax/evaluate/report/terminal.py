"""Evaluation results as aligned tables that fit the terminal."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bioclip_jax.evaluate.protocols import Protocol, protocol_options
from bioclip_jax.evaluate.reference_scores import SYSTEMS

from .figures import shorten
from .rows import Row

_GAP = "  "
_TITLES = {"top1": "top-1", "top3": "top-3", "top5": "top-5", "ece": "calibration error"}
# Keys of the headline figure's repetitions.
_REPEATED = ("by_seed", "seeds", "repeats")
_SPREAD = ("std", "interval", *_REPEATED)
_COUNTS = {
    "n": "images",
    "n_train": "training images",
    "n_labelled": "labeled images",
    "n_old": "of Old classes",
    "old_classes": "Old classes",
    "not_candidates": "of other classes",
}


def describe_result(result: Mapping[str, Any], protocol: Protocol) -> str:
    """Describe the result of evaluate_protocol: data and options, figures, details."""
    all_options = protocol_options(protocol)
    options = {name: value for name, value in all_options.items() if value is not None}
    about = {"protocol", "model", "fingerprint", "data", "transform", "precision", "seconds", *all_options}
    figures = {key: value for key, value in result.items() if key not in about}
    lines = _header(result, protocol.name, options, figures)
    lines += ["", *_headline(figures, protocol.score)]
    for title, rows in _details(figures):
        lines += ["", title, *format_table(rows)]
    return "\n".join(lines)


def describe_suite(rows: Sequence[Row]) -> str:
    """Format the rows of a suite (as report_rows) as tables, with as many published columns as fit."""
    systems = [name for name in SYSTEMS if any(name in row.published for row in rows)]
    for columns in (["images", *systems], *(systems[:count] for count in range(len(systems), -1, -1))):
        lines: list[str] = []
        for heading in dict.fromkeys(row.heading for row in rows):
            part = [row for row in rows if row.heading == heading]
            present = [
                name for name in columns if name == "images" or any(name in row.published for row in part)
            ]
            cells = [["", "this model", *present], *(_suite_cells(row, present) for row in part)]
            lines += ["", heading, *_align(cells)]
        if max(map(len, lines), default=0) <= _width():
            break
    return "\n".join(lines[1:])


def format_table(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """Return the lines of a table: first column left-aligned, the others right-aligned.

    Empty columns are dropped. A table wider than the terminal is transposed, and split into blocks of as
    many columns as fit.
    """
    columns = [
        name
        for name in dict.fromkeys(key for row in rows for key in row)
        if any(row.get(name) for row in rows)
    ]
    if not columns:
        return []
    cells = [columns, *([row.get(name, "") for name in columns] for row in rows)]
    lines = _align(cells)
    if max(map(len, lines), default=0) <= _width():
        return lines
    transposed = [list(column) for column in zip(*cells)]
    size = len(transposed[0]) - 1
    while size > 1 and max(map(len, _block(transposed, 1, size))) > _width():
        size -= 1
    blocks = [_block(transposed, start, size) for start in range(1, len(transposed[0]), size)]
    return [line for number, block in enumerate(blocks) for line in ([""] if number else []) + block]


def _block(cells: Sequence[Sequence[str]], start: int, size: int) -> list[str]:
    return _align([[row[0], *row[start : start + size]] for row in cells])


def _align(cells: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    lines = ([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in cells)
    return [_GAP.join(line).rstrip() for line in lines]


def _header(
    result: Mapping[str, Any], name: str, options: Mapping[str, Any], figures: Mapping[str, Any]
) -> list[str]:
    items = {
        "protocol": name,
        "model": result["model"],
        "transform": result.get("transform"),
        "data": result["data"],
    }
    counts = [
        f"{value:,} {_COUNTS.get(key, _title(key))}"
        for key, value in figures.items()
        if isinstance(value, int) and not isinstance(value, bool) and (value or key != "not_candidates")
    ]
    # Counts by cause or by split, such as {"truncated": 2} and {"train": 0, "test": 2}.
    for key, title in (("bad", "skipped"), ("unknown", "skipped, traits unknown")):
        if causes := [
            f"{count:,} {cause.replace('_', ' ')}" for cause, count in figures.get(key, {}).items() if count
        ]:
            items[title] = ", ".join(causes)
    items["options"] = ", ".join(f"{_title(key)} {_option(value)}" for key, value in options.items())
    items["scored"] = ", ".join(counts)
    width = max(len(title) for title, text in items.items() if text)
    indent = " " * (width + len(_GAP))
    lines = []
    for title, text in items.items():
        if text:
            line = f"{title:{width}}{_GAP}{text}"
            lines += textwrap.wrap(line, _width(), subsequent_indent=indent, break_long_words=False)
    return lines


def _headline(figures: Mapping[str, Any], score: str) -> list[str]:
    """Format the scalar figures with their spread, the headline figure first."""
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
        row = {"figure": title, "": _percent(figures[key]) or "none"}
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
            yield "By images per class", [_shots_row(shots, result) for shots, result in value.items()]
        elif key == "hierarchical_distance":
            means = {"mean": value["mean"], "of errors": value["mean_of_errors"]}
            text = ", ".join(f"{name} {mean:.2f}" for name, mean in means.items() if mean is not None)
            counts = {"ranks": "images"} | {ranks: f"{n:,}" for ranks, n in value["counts"].items()}
            yield f"Ranks between the prediction and the truth: {text or 'none'}", [counts]
        elif key == "sister_confusion":
            rows = [
                {
                    "": f"in its {rank}",
                    "of errors": _percent(sisters["share"]),
                    "by chance": _percent(sisters["chance"]),
                }
                for rank, sisters in value.items()
            ]
            yield "Confusion with relatives", rows
        elif isinstance(value, Mapping) and value and all(isinstance(item, float) for item in value.values()):
            if not _is_spread(key) and key not in ("rank_intervals", "chance", "majority", "ece_by_rank"):
                title = _title(key).removeprefix("by ").capitalize()
                yield (
                    f"By {title.lower()}",
                    [{"": name, "accuracy": _percent(item)} for name, item in value.items()],
                )


def _rank_row(figures: Mapping[str, Any], rank: str) -> dict[str, str]:
    return {
        "rank": rank,
        "accuracy": _percent(figures["ranks"][rank]),
        "95 % interval": _interval(figures["rank_intervals"][rank]),
        "images": f"{figures['n_by_rank'][rank]:,}",
        "by chance": _percent(figures["chance"][rank]),
        "majority": _percent(figures["majority"][rank]),
        "calib. error": _percent(figures["ece_by_rank"][rank]),
    }


def _shots_row(shots: str, result: Mapping[str, Any]) -> dict[str, str]:
    return {
        "images": shots,
        "top-1": _percent(result["mean"]),
        "95 % interval": _interval(result["interval"]),
        "std": _number(result["std"]),
        "small classes skipped": f"{result['small_classes']:,}" if result["small_classes"] else "",
    }


def _suite_cells(row: Row, columns: Iterable[str]) -> list[str]:
    title = {"member": f"- {row.title}", "also": f"({row.title})"}.get(row.kind, row.title)
    interval = "" if row.interval is None else f" ({row.interval[0]:.1f}–{row.interval[1]:.1f})"
    ours = f"({row.note})" if row.ours is None else f"{row.ours:.1f}{interval}"
    cells = {name: f"{figure:.1f}" for name, figure in row.published.items()}
    cells["images"] = "" if row.n is None else f"{row.n:,}"
    return [shorten(title, 40), ours, *(cells.get(name, "") for name in columns)]


def _percent(value: float | None) -> str:
    """Format a share in percent, "" for None."""
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
