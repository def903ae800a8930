"""HTML report of shard_stats: the template's context, with charts, taxonomic tree and contact sheet."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bioclip_jax.html import THUMBNAIL_SIDE, data_size, number, share, thumbnail_url, write_page
from bioclip_jax.pipeline.images import BadImage, decode
from bioclip_jax.pipeline.sources import Sample, Source
from bioclip_jax.text import CAPTION_FILES, RANKS

from .abundance import display_name, species_abundance
from .charts import rank_abundance, size_grid, size_histogram
from .counts import SampleCounts
from .tree import pruned_tree

PLURALS = ("kingdoms", "phyla", "classes", "orders", "families", "genera", "species")
THUMBNAILS = 60
# Number of images tried per thumbnail; if all fail, something else is wrong.
_ATTEMPTS = 4
_FAMILY = RANKS.index("family") + 1
_MAX_BARS = 30
_MAX_SKIPPED = 10

Result = dict[str, Any]
# Label, value, value of a full bar, text beside the bar.
Bar = tuple[str, float, float, str]


def write_report(output: Path, result: Result, counts: SampleCounts, source: Source) -> None:
    """Write the report as one self-contained HTML file, with thumbnails of images of the source."""
    write_page(
        output,
        "shard_stats.html",
        name=Path(result["location"]).name or result["location"],
        location=result["location"],
        figures=_headline(result),
        skipped=result["shards"]["skipped"],
        max_skipped=_MAX_SKIPPED,
        tree=_tree(counts),
        tail=_tail(result, counts),
        images=_images(result, counts),
        thumbnails=contact_sheet(source, counts),
        captions=_captions(result),
        origins=_origins(result),
        taxa=_taxa(result),
    )


def _headline(result: Result) -> list[tuple[str, str]]:
    shards, images, tail = result["shards"], result["images"], result["long_tail"]
    figures = [("samples", number(result["samples"]))]
    if shards["count"] is not None:
        figures.append(("shard" if shards["count"] == 1 else "shards", number(shards["count"])))
    figures.append(("of encoded images", data_size(images["bytes"])))
    distinct = result["taxa"]["distinct"]
    figures += [
        (PLURALS[RANKS.index(rank)], number(distinct[rank])) for rank in ("family", "genus", "species")
    ]
    if tail["species"]:
        figures.append(("images per species (median)", number(tail["median_images"])))
    figures.append(("unreadable images", number(sum(images["unreadable"].values()))))
    return figures


def _tree(counts: SampleCounts) -> Result | None:
    if not counts.taxa:
        return None
    with_taxon = sum(taxon.images for taxon in counts.taxa.values())
    tree = pruned_tree(counts.taxa, counts.samples - with_taxon)
    return {"ranks": RANKS, "plurals": PLURALS, "tree": tree}


def _tail(result: Result, counts: SampleCounts) -> Result | None:
    tail = result["long_tail"]
    if not tail["species"]:
        return None
    most = max(row["species"] for row in tail["histogram"])
    ranges = (
        number(row["from"]) + (f"–{number(row['to'])}" if row["to"] > row["from"] else "")
        for row in tail["histogram"]
    )
    return tail | {
        "chart": rank_abundance(species_abundance(counts.taxa)),
        "fewer_than": [(f"{n} images", value, 1, share(value, 1)) for n, value in tail["fewer_than"].items()],
        "histogram": [
            (label, row["species"], most, number(row["species"]))
            for label, row in zip(ranges, tail["histogram"])
        ],
    }


def _images(result: Result, counts: SampleCounts) -> Result | None:
    images = result["images"]
    if not images["readable"]:
        return None
    width, height, encoded = images["width"], images["height"], images["encoded_bytes"]
    labels = {"min": "min", "5 %": "p5", "median": "median", "95 %": "p95", "max": "max"}
    charts = [("Encoded size", size_histogram(counts.sizes))]
    if width["min"] < width["max"] or height["min"] < height["max"]:
        charts.insert(0, ("Width and height (dashed: square images)", size_grid(counts.shapes)))
    return {
        "charts": charts,
        "sizes": [
            (label, number(width[key]), number(height[key]), data_size(encoded[key]))
            for label, key in labels.items()
        ],
        "formats": _shares(images["formats"], images["readable"]),
        "causes": _shares(images["unreadable"], result["samples"]),
    }


def _captions(result: Result) -> Result:
    captions, taxa, samples = result["captions"], result["taxa"], result["samples"]

    def bar(label: str, count: int) -> Bar:
        return label, count, samples, share(count, samples)

    types = [name for name in captions["samples"] if name in CAPTION_FILES or captions["samples"][name]]
    return {
        "stored": captions["stored"],
        "coverage": [
            *(bar(name, captions["samples"][name]) for name in types),
            bar("taxon with a common name", captions["with_common_name"]),
        ],
        "known": [bar(rank, taxa["known"][rank]) for rank in RANKS],
        "with_gaps": taxa["samples_with_gaps"],
        "gaps": [(rank, count) for rank, count in taxa["gaps"].items() if count],
        "tokens": [
            (name, *(number(row[key]) for key in ("median", "p95", "max", "cut")))
            for name, row in captions["tokens"].items()
        ],
    }


def _origins(result: Result) -> Result:
    sources, decisions, alignment = result["sources"], result["decisions"], result["alignment"]
    most = max((row["samples"] + row["removed"] for row in sources.values()), default=0)
    bars = []
    for name, row in sources.items():
        removed = f", {number(row['removed'])} removed" if row["removed"] else ""
        bars.append((name, row["samples"], most, number(row["samples"]) + removed))
    return {
        "sources": bars[:_MAX_BARS],
        "all_sources": len(bars),
        "decisions": _shares(decisions, sum(decisions.values())),
        "alignment": _shares(alignment, sum(alignment.values())),
    }


def _taxa(result: Result) -> list[Result]:
    """Tables of taxa from species up to kingdoms, and one of the rarest species."""
    taxa, tables = result["taxa"], []
    for rank, plural in reversed(list(zip(RANKS, PLURALS))):
        if rows := taxa["top"][rank]:
            title = f"{plural.capitalize()} with the most images ({number(taxa['distinct'][rank])} in total)"
            tables.append({"title": title, "open": rank == "species", "rows": rows})
    if taxa["rarest"]:
        title = "Species with the fewest images (ties broken at random)"
        tables.append({"title": title, "open": False, "rows": taxa["rarest"]})
    for table in tables:
        table["rows"] = [
            {
                "name": row["name"],
                "common_name": row["common_name"],
                "images": number(row["images"]),
                "share": share(row["images"], result["samples"]),
                # Without the genus, which a species' name contains.
                "lineage": " › ".join(value for value in row["lineage"][:-1][:5] if value),
            }
            for row in table["rows"]
        ]
    return tables


def _shares(counts: dict[str, int], total: int) -> list[Bar]:
    """Bars with counts and percentages; identifiers become words, except a user's name of a filter."""
    return [
        (
            name if ":" in name else name.replace("_", " "),
            count,
            total,
            f"{number(count)} ({share(count, total)})",
        )
        for name, count in counts.items()
    ]


def contact_sheet(source: Source, counts: SampleCounts, thumbnails: int = THUMBNAILS) -> list[dict[str, str]]:
    """Pick random images spread over the tree: one per family, then a second species of each, and so on.

    Random samples fill up the sheet if there are too few species; images that cannot be decoded are replaced
    by the next. Returns picture (a data URL), common_name and name of each, in the order of the tree.
    """
    figures: list[tuple[tuple[str, ...], int, dict[str, str]]] = []
    for index in _candidates(counts, _ATTEMPTS * thumbnails):
        try:
            sample = source[index]
            picture = thumbnail_url(decode(sample.image, min_side=THUMBNAIL_SIDE))
        except (BadImage, OSError, ValueError):
            continue
        lineage = sample.taxon.lineage() if sample.taxon else ("",)
        figures.append((lineage, index, {"picture": picture, **_names(sample)}))
        if len(figures) == thumbnails:
            break
    return [figure for *_, figure in sorted(figures, key=lambda item: item[:2])]


def _candidates(counts: SampleCounts, limit: int) -> Iterator[int]:
    """Yield indices of samples for the contact sheet, without repetition, in order of preference."""
    drawn_per_family: Counter[tuple[str, ...]] = Counter()
    turns = []
    in_random_order = (
        (taxon.priority, taxon.index, lineage) for lineage, taxon in counts.taxa.items() if taxon.index >= 0
    )
    for priority, index, lineage in sorted(in_random_order):
        turns.append((drawn_per_family[lineage[:_FAMILY]], priority, index))
        drawn_per_family[lineage[:_FAMILY]] += 1
    yield from dict.fromkeys(
        [index for *_, index in sorted(turns)[:limit]] + [index for _, index in counts.drawn]
    )


def _names(sample: Sample) -> dict[str, str]:
    taxon = sample.taxon
    name = display_name(taxon.lineage()) if taxon else ""
    common_name = taxon.common_name if taxon else ""
    if not name and not common_name:
        caption = next((caption for caption in sample.captions.values() if caption.strip()), "no name")
        common_name = caption[:80]
    return {"common_name": common_name, "name": name}
