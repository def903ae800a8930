"""Shard statistics as tables for a terminal."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from bioclip_jax.text import RANKS

_TOP = 5
_MAX_SOURCES = 15


def print_stats(result: Mapping[str, Any], file: TextIO | None = None) -> None:
    """Print the result of shard_stats as tables, to standard output or `file`."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    file = file or sys.stdout
    # Files and pipes have no terminal width.
    console = Console(file=file, width=None if file.isatty() else 140, highlight=False)

    def show(title: str, head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), show_header=any(head))
        for column, name in enumerate(head):
            side = "right" if column and all(_is_number(row[column]) for row in rows) else "left"
            table.add_column(name, justify=side, overflow="fold", header_style="dim")
        for row in rows:
            # As Text, so that brackets in names are not parsed as markup.
            table.add_row(*(Text(_cell(value)) for value in row))
        console.print(Text(title, style="bold"), table, "")

    samples, images, taxa, tail = (result[name] for name in ("samples", "images", "taxa", "long_tail"))
    captions, shards = result["captions"], result["shards"]
    rows = [("samples", samples)]
    if shards["count"] is not None:
        rows += [("shards", shards["count"]), ("bytes on disk", shards["bytes"])]
    rows += [("skipped shard", name) for name in shards["skipped"]]
    rows += [("bytes of images", images["bytes"]), ("readable images", images["readable"])]
    rows += [(f"unreadable: {cause}", count) for cause, count in images["unreadable"].items()]
    rows += [(f"format {name}", count) for name, count in images["formats"].items()]
    show(str(result["location"]), ("", ""), rows)
    if images["readable"]:
        columns = ("min", "p5", "median", "p95", "max", "mean")
        sizes = {"width": "width", "height": "height", "encoded bytes": "encoded_bytes"}
        rows = [(label, *(images[name][key] for key in columns)) for label, name in sizes.items()]
        show("image sizes", ("", *columns), rows)
    ranks = []
    for rank in RANKS:
        named = [f"{row['name']} {row['images']:,}" for row in taxa["top"][rank][:_TOP]]
        ranks.append((rank, taxa["distinct"][rank], _share(taxa["known"][rank], samples), ", ".join(named)))
    show("taxa", ("", "taxa", "samples with it", "most images"), ranks)
    if gaps := {rank: count for rank, count in taxa["gaps"].items() if count}:
        show("missing above a known rank", ("", "samples"), list(gaps.items()))
    if tail["species"]:
        few = [
            (f"species with fewer than {few} images", _share(share, 1))
            for few, share in tail["fewer_than"].items()
        ]
        rest = [
            ("median images per species", tail["median_images"]),
            ("species with half of the images", tail["half_of_images_in"]),
            ("Gini coefficient", f"{tail['gini']:.3f}"),
        ]
        show("long tail", ("", ""), few + rest)
        show(
            "images per species",
            ("from", "to", "species", "images"),
            [(str(row["from"]), row["to"], row["species"], row["images"]) for row in tail["histogram"]],
        )
    rows = []
    for name, count in captions["samples"].items():
        if lengths := captions["tokens"].get(name):
            figures = (lengths["median"], lengths["p95"], lengths["max"], lengths["cut"])
            rows.append((name, _share(count, samples), *figures))
        else:
            rows.append((name, _share(count, samples), "", "", "", ""))
    rows.append(("taxon with a common name", _share(captions["with_common_name"], samples), "", "", "", ""))
    title = "captions" if captions["stored"] else "captions, built from the labels"
    show(title, ("", "samples with it", "tokens: median", "p95", "max", "over 77"), rows)
    sources = [(name, row["samples"], row["removed"]) for name, row in result["sources"].items()]
    more = f" (the largest {_MAX_SOURCES} of {len(sources):,})" if len(sources) > _MAX_SOURCES else ""
    show("sources" + more, ("", "samples", "removed"), sources[:_MAX_SOURCES])
    for name in ("decisions", "alignment"):
        if result[name]:
            show(f"{name} of the build", ("", "samples"), list(result[name].items()))


def _is_number(value: Any) -> bool:
    return not isinstance(value, str) or not value.rstrip(" %").strip("0123456789.")


def _cell(value: Any) -> str:
    if isinstance(value, str):
        # Names in the data must not control the terminal.
        return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in value)
    return f"{value:,}" if isinstance(value, int) or value == int(value) and value < 1e15 else f"{value:,.1f}"


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %" if whole else ""
