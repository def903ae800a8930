"""Thumbnails of images that chance picks, spread over the tree."""

import base64
import io
from collections import Counter
from collections.abc import Iterator

from PIL import Image

from bioclip_jax.curate.stats.abundance import display_name
from bioclip_jax.curate.stats.counts import SampleCounts
from bioclip_jax.markup import text
from bioclip_jax.pipeline.images import BadImage, decode
from bioclip_jax.pipeline.sources import Sample, Source
from bioclip_jax.text import RANKS

THUMBNAILS = 60
# Twice what the page shows, for the screens that have such pixels.
_SIDE = 168
_QUALITY = 72
# Images tried for one that can be shown; where they all fail, something else is wrong.
_TRIES = 4
_FAMILY = RANKS.index("family") + 1


def contact_sheet(source: Source, tally: SampleCounts, thumbnails: int = THUMBNAILS) -> tuple[str, int]:
    """A list of figures, one of each family first, then a second species of each, and so on; and how many there are.

    Where the species are not enough, images that chance draws from all samples fill the sheet up. They stand
    in the order of the tree. An image that cannot be decoded is left out for the next.
    """
    figures: list[tuple[tuple[str, ...], int, str]] = []
    for index in _candidates(tally, _TRIES * thumbnails):
        try:
            sample = source[index]
            picture = _thumbnail(sample.image)
        except (BadImage, OSError, ValueError):
            continue
        lineage = sample.taxon.lineage() if sample.taxon else ("",)
        figures.append((lineage, index, _figure(sample, picture)))
        if len(figures) == thumbnails:
            break
    return f'<ul class="sheet">{"".join(figure for *_, figure in sorted(figures))}</ul>', len(figures)


def _candidates(tally: SampleCounts, most: int) -> Iterator[int]:
    """The numbers of samples to show, each once, the most wanted first."""
    of_family: Counter[tuple[str, ...]] = Counter()
    turns = []
    by_chance = (
        (taxon.priority, taxon.index, lineage) for lineage, taxon in tally.taxa.items() if taxon.index >= 0
    )
    for priority, index, lineage in sorted(by_chance):
        turns.append((of_family[lineage[:_FAMILY]], priority, index))
        of_family[lineage[:_FAMILY]] += 1
    wanted = [index for *_, index in sorted(turns)[:most]] + [index for _, index in tally.drawn]
    yield from dict.fromkeys(wanted)


def _thumbnail(image: bytes) -> str:
    """A small JPEG of the whole picture as a data URL; BadImage if there is none."""
    small = Image.fromarray(decode(image, min_side=_SIDE))
    small.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    small.save(stream, "JPEG", quality=_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()


def _figure(sample: Sample, picture: str) -> str:
    taxon = sample.taxon
    name = display_name(taxon.lineage()) if taxon else ""
    common = taxon.common_name if taxon else ""
    if not name and not common:
        common = next((caption for caption in sample.captions.values() if caption.strip()), "no name")[:80]
    lines = (f"<b>{text(common)}</b>" if common else "") + (f"<i>{text(name)}</i>" if name else "")
    alt = ", ".join(part for part in (common, name) if part)
    return (
        f'<li><figure><img src="{picture}" alt="{text(alt)}"><figcaption>{lines}</figcaption></figure></li>'
    )
