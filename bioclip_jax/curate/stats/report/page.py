"""The page: what shard_stats has counted, for people to look at."""

import base64
import hashlib
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

from bioclip_jax import __version__
from bioclip_jax.curate.stats.abundance import species_abundance
from bioclip_jax.curate.stats.counts import SampleCounts
from bioclip_jax.files import atomic_write
from bioclip_jax.markup import bars, data_size, json_text, number, section, share, table, text
from bioclip_jax.pipeline.sources import Source
from bioclip_jax.text import CAPTION_FILES, RANKS

from .charts import rank_abundance, size_grid, size_histogram
from .contact_sheet import contact_sheet
from .tree import pruned_tree

PLURALS = ("kingdoms", "phyla", "classes", "orders", "families", "genera", "species")
_MOST_BARS = 30
_LONG_FIGURE = 8
_TOKEN_HEAD = ("", "median", "95\u00a0%", "most", "over 77")
_SECOND_LINE = '<br><span class="muted">{}</span>'

Result = dict[str, Any]


def write_report(output: Path, result: Result, tally: SampleCounts, source: Source) -> None:
    """Writes the page of what was counted: one file that loads nothing, with pictures from the source."""
    with atomic_write(output) as path:
        path.write_text(page(result, tally, source), encoding="utf-8")


def page(result: Result, tally: SampleCounts, source: Source) -> str:
    """The page's HTML. Nothing of the data becomes markup or is run."""
    style, script = _asset("page.css"), _asset("icicle.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    # Whatever the data hold, a browser runs this one script and asks no other machine for anything.
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    name = Path(result["location"]).name or result["location"]
    parts = (_tree(tally), _tail(result, tally), _images(result, tally), *_sheet(tally, source))
    parts += (_captions(result), _origins(result), _taxa(result))
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(name)}: what is in it</title><style>{style}</style></head><body>"
        f"<header><h1>{text(name)}</h1><p "
        f'class="muted">{text(result["location"])}</p>{_headline(result)}</header>'
        f"<main>{''.join(parts)}</main>"
        f"<footer>Made by bioclip-jax {text(__version__)}, shards stats.</footer>"
        f"{f'<script>{script}</script>' if tally.taxa else ''}</body></html>\n"
    )


def _asset(name: str) -> str:
    return (resources.files(__package__) / name).read_text(encoding="utf-8")


def _headline(result: Result) -> str:
    shards, images, distinct, tail = (
        result["shards"],
        result["images"],
        result["taxa"]["distinct"],
        result["long_tail"],
    )
    unreadable = sum(images["unreadable"].values())
    figures = [("samples", number(result["samples"]))]
    if shards["count"] is not None:
        figures.append(("shards" if shards["count"] != 1 else "shard", number(shards["count"])))
    figures.append(("of encoded images", data_size(images["bytes"])))
    figures += [
        (PLURALS[RANKS.index(rank)], number(distinct[rank])) for rank in ("family", "genus", "species")
    ]
    if tail["species"]:
        figures.append(("images a species (median)", number(tail["median_images"])))
    figures.append(("unreadable images", number(unreadable)))
    items = "".join(
        f"<li><b{' class=long' if len(value) > _LONG_FIGURE else ''}>{value}</b><span>{label}</span></li>"
        for label, value in figures
    )
    skipped = shards["skipped"]
    names = ", ".join(text(name) for name in skipped[:10]) + (", …" if len(skipped) > 10 else "")
    warning = (
        f'<p class="warning">{number(len(skipped))} shards could not be read: {names}</p>' if skipped else ""
    )
    return f'<ul class="figures">{items}</ul>{warning}'


def _tree(tally: SampleCounts) -> str:
    if not tally.taxa:
        return section("tree-title", "The tree", "<p>No sample says what taxon it is of.</p>")
    with_taxon = sum(taxon.images for taxon in tally.taxa.values())
    tree = pruned_tree(tally.taxa, tally.samples - with_taxon)
    data = json_text({"ranks": RANKS, "plurals": PLURALS, "tree": tree})
    return section(
        "tree-title",
        "The tree",
        '<p class="muted">Each box is as high as its share of the images; ranks go from left to right. '
        "Choose a box to "
        "zoom in, the leftmost one to go back.</p>"
        "<noscript><p>The picture of the tree needs JavaScript; the tables at the end do not.</p></noscript>"
        '<div id="tree" hidden><nav aria-label="Where in the tree"><ol id="tree-path"></ol></nav>'
        '<div id="tree-box"></div><p id="tree-told" aria-live="polite"></p>'
        '<details><summary id="tree-summary">List</summary><ol id="tree-list"></ol></details></div>'
        f'<script type="application/json" id="tree-data">{data}</script>',
    )


def _tail(result: Result, tally: SampleCounts) -> str:
    tail = result["long_tail"]
    if not tail["species"]:
        return section("tail-title", "The long tail", "<p>No sample is named down to its species.</p>")
    few = [(f"{n} images", value, 1, share(value, 1)) for n, value in tail["fewer_than"].items()]
    most = max(row["species"] for row in tail["histogram"])
    histogram = [
        (
            number(row["from"]) if row["from"] == row["to"] else f"{number(row['from'])}–{number(row['to'])}",
            row["species"],
            most,
            number(row["species"]),
        )
        for row in tail["histogram"]
    ]
    half, gini = number(tail["half_of_images_in"]), f"{tail['gini']:.2f}"
    return section(
        "tail-title",
        "The long tail",
        f"<p>Half of the images are of {half} of the {number(tail['species'])} species. Gini coefficient "
        f"{gini} "
        "(0: every species has as many images as any other; towards 1: one has them all).</p>"
        '<div class="columns"><div>',
        rank_abundance(species_abundance(tally.taxa)),
        bars("Share of the species with fewer than", few),
        "</div><div>",
        bars("Species by how many images they have", histogram),
        "</div></div>",
    )


def _images(result: Result, tally: SampleCounts) -> str:
    images = result["images"]
    if not images["readable"]:
        return section("images-title", "Images", "<p>No image can be read.</p>")
    width, height = images["width"], images["height"]
    shown = {"least": "min", "5 %": "p5", "median": "median", "95 %": "p95", "most": "max"}
    rows = [
        (label, number(width[key]), number(height[key]), data_size(images["encoded_bytes"][key]))
        for label, key in shown.items()
    ]
    charts = [("Encoded size", size_histogram(tally.sizes))]
    if width["min"] < width["max"] or height["min"] < height["max"]:
        charts.insert(0, ("Width and height (dashed: square images)", size_grid(tally.shapes)))
    formats = _shares(images["formats"], images["readable"])
    causes = _shares(images["unreadable"], result["samples"])
    sizes = table("Sizes", ("", "width", "height", "encoded"), rows, range(1, 4))
    kinds = bars("Formats", formats)
    kinds += bars("Unreadable", causes) if causes else "<p>All headers can be read.</p>"
    cells = [f'<div><p class="muted">{title}</p>{chart}</div>' for title, chart in charts]
    # Beside one chart there is room for all of it, below two each has its place.
    cells += (
        [f"<div>{sizes}{kinds}</div>"] if len(charts) == 1 else [f"<div>{sizes}</div>", f"<div>{kinds}</div>"]
    )
    return section(
        "images-title",
        "Images",
        '<p class="muted">As the headers say; pixels were not decoded.</p><div class="columns">',
        *cells,
        "</div>",
    )


def _sheet(tally: SampleCounts, source: Source) -> Iterator[str]:
    sheet, count = contact_sheet(source, tally)
    if count:
        told = f"{number(count)} images picked by chance: one of each family first, then more of each."
        yield section("sheet-title", "Contact sheet", f'<p class="muted">{told}</p>', sheet)


def _captions(result: Result) -> str:
    captions, taxa, samples = result["captions"], result["taxa"], result["samples"]
    stored = "" if captions["stored"] else "<p>The source stores labels; the captions are made from them.</p>"
    shown = [name for name in captions["samples"] if name in CAPTION_FILES or captions["samples"][name]]
    coverage = [
        (name, captions["samples"][name], samples, share(captions["samples"][name], samples))
        for name in shown
    ]
    named = captions["with_common_name"]
    coverage.append(("a common name of its own", named, samples, share(named, samples)))
    known = [(rank, taxa["known"][rank], samples, share(taxa["known"][rank], samples)) for rank in RANKS]
    gaps = [f"{rank} {number(count)}" for rank, count in taxa["gaps"].items() if count]
    gap = (
        f"<p>{number(taxa['samples_with_gaps'])} samples lack a rank above one that they have: "
        f"{', '.join(gaps)}.</p>"
        if gaps
        else "<p>No sample lacks a rank above one that it has.</p>"
    )
    tokens = [
        (text(name), number(row["median"]), number(row["p95"]), number(row["max"]), number(row["cut"]))
        for name, row in captions["tokens"].items()
    ]
    return section(
        "captions-title",
        "Captions and labels",
        stored,
        '<div class="columns"><div>',
        bars("Samples that have the caption", coverage),
        "</div><div>",
        bars("Samples whose rank is known", known),
        gap,
        table("Tokens a caption", _TOKEN_HEAD, tokens, range(1, 5)) if tokens else "",
        "</div></div>",
    )


def _origins(result: Result) -> str:
    sources, decisions, alignment = result["sources"], result["decisions"], result["alignment"]
    most = max((row["samples"] + row["removed"] for row in sources.values()), default=0)
    removed = lambda row: f", {number(row['removed'])} removed" if row["removed"] else ""  # noqa: E731
    rows = [
        (name, row["samples"], most, number(row["samples"]) + removed(row)) for name, row in sources.items()
    ]
    parts = [bars("Samples by source" + _more(rows), rows[:_MOST_BARS])]
    if decisions:
        parts.append(bars("What the build decided", _shares(decisions, sum(decisions.values()))))
    else:
        parts.append(
            "<p>No catalogue of a build lies beside the shards, so nothing is known of removals.</p>"
        )
    if alignment:
        parts.append(
            bars("Samples by their name in the backbone", _shares(alignment, sum(alignment.values())))
        )
    cells = "".join(f"<div>{part}</div>" for part in parts)
    return section("origins-title", "Sources and removals", f'<div class="columns">{cells}</div>')


def _taxa(result: Result) -> str:
    taxa = result["taxa"]
    if not taxa["samples"]:
        return ""
    parts = []
    for rank, plural in reversed(list(zip(RANKS, PLURALS))):
        if rows := taxa["top"][rank]:
            opened = " open" if rank == "species" else ""
            title = f"{plural.capitalize()} with the most images ({number(taxa['distinct'][rank])} in all)"
            shown = _taxon_table(rows, result["samples"])
            parts.append(f"<details{opened}><summary>{title}</summary>{shown}</details>")
    if taxa["rarest"]:
        title = "Species with the fewest images (of equals, some by chance)"
        parts.append(
            f"<details><summary>{title}</summary>{_taxon_table(taxa['rarest'], result['samples'])}</details>"
        )
    return section("taxa-title", "Taxa", *parts)


def _taxon_table(rows: list[Result], samples: int) -> str:
    head = ("name", "images", "share", "above it")
    cells = [
        (
            text(row["name"]) + (_SECOND_LINE.format(text(row["common_name"])) if row["common_name"] else ""),
            number(row["images"]),
            share(row["images"], samples),
            # The genus is in a species' name already.
            text(" › ".join(value for value in row["lineage"][:-1][:5] if value)),
        )
        for row in rows
    ]
    return f'<div class="taxa">{table("", head, cells, (1, 2))}</div>'


def _shares(counts: dict[str, int], total: int) -> list[tuple[str, int, int, str]]:
    """Rows of bars; causes become words, a user's own name of a filter stays as it is."""
    return [
        (
            name if ":" in name else name.replace("_", " "),
            count,
            total,
            f"{number(count)} ({share(count, total)})",
        )
        for name, count in counts.items()
    ]


def _more(rows: list[Any]) -> str:
    return f" (the largest {_MOST_BARS} of {number(len(rows))})" if len(rows) > _MOST_BARS else ""
