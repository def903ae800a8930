"""What is counted of samples, range by range, and added up."""

import hashlib
import heapq
import math
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from bioclip_jax.pipeline.images import BadImage, image_header
from bioclip_jax.pipeline.sources import Sample, Source
from bioclip_jax.text import CAPTION_FILES, PLAIN_TYPE, Taxon, Tokenizer

CAPTION_TYPES = (*CAPTION_FILES, PLAIN_TYPE)
# Samples that are drawn by chance, over whatever taxa they are of.
DRAWN = 120
# Bins an octave of the grid of widths and heights.
SHAPE_BINS = 4

Lineage = tuple[str, ...]

# A column `source` that says something else in every row names no providers.
_MOST_SOURCES = 10_000
_OTHER_SOURCES = "(others)"
# Sizes in bytes are kept to so many binary digits, 0.2 %, so that a hundred million of them fit a small
# table.
_DIGITS = 10
_NEVER = 1 << 64
_START_AND_END = 2


@dataclass(slots=True)
class TaxonTally:
    """Images of one taxon, and the one among them that chance puts first: its priority and its number (-1: none)."""

    images: int = 0
    priority: int = _NEVER
    index: int = -1
    common_name: str = ""


@dataclass
class Tally:
    """Counts over samples; those of two ranges add up to the counts over both.

    In any order, but for `sources` where there are more than _MOST_SOURCES: which of them are others depends
    on it.

    taxa: by lineage from kingdom to species, unknown ranks ""; samples without a taxon are not in it. widths,
    heights: in pixels. shapes: by SHAPE_BINS times the log2 of width and height, rounded. sizes: images by
    their encoded bytes, rounded down to 0.2 %. tokens: by type, the captions that are not empty by their
    number of tokens, start and end included. sources: by the sample's metadata `source`. drawn: (priority,
    index) of DRAWN readable images. unreadable: by cause (pipeline.images.CAUSES).
    """

    samples: int = 0
    image_bytes: int = 0
    with_common_name: int = 0
    unreadable: Counter[str] = field(default_factory=Counter)
    formats: Counter[str] = field(default_factory=Counter)
    widths: Counter[int] = field(default_factory=Counter)
    heights: Counter[int] = field(default_factory=Counter)
    shapes: Counter[tuple[int, int]] = field(default_factory=Counter)
    sizes: Counter[int] = field(default_factory=Counter)
    tokens: dict[str, Counter[int]] = field(
        default_factory=lambda: {name: Counter() for name in CAPTION_TYPES}
    )
    sources: Counter[str] = field(default_factory=Counter)
    taxa: dict[Lineage, TaxonTally] = field(default_factory=dict)
    drawn: list[tuple[int, int]] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        """Adds the counts of other samples."""
        for name in ("samples", "image_bytes", "with_common_name"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("unreadable", "formats", "widths", "heights", "shapes", "sizes"):
            getattr(self, name).update(getattr(other, name))
        for name, counts in other.tokens.items():
            self.tokens[name].update(counts)
        for name, count in other.sources.items():
            self._add_source(name, count)
        for lineage, theirs in other.taxa.items():
            ours = self.taxa.get(lineage)
            if ours is None:
                # Names come anew with every range; of a million lineages most share theirs.
                self.taxa[tuple(map(sys.intern, lineage))] = theirs
                continue
            ours.images += theirs.images
            if theirs.priority < ours.priority:
                ours.priority, ours.index = theirs.priority, theirs.index
            ours.common_name = _one_of(ours.common_name, theirs.common_name)
        self.drawn = heapq.nsmallest(DRAWN, self.drawn + other.drawn)

    def _add_source(self, name: str, count: int) -> None:
        if name not in self.sources and len(self.sources) >= _MOST_SOURCES:
            name = _OTHER_SOURCES
        self.sources[name] += count

    def count(self, sample: Sample, priority: int, index: int) -> None:
        """Counts one sample, the source's `index`-th."""
        self.samples += 1
        self.image_bytes += len(sample.image)
        try:
            kind, width, height = image_header(sample.image)
        except BadImage as error:
            self.unreadable[error.cause] += 1
            priority, index = _NEVER, -1
        else:
            self.formats[kind] += 1
            self.widths[width] += 1
            self.heights[height] += 1
            self.shapes[_bin(width), _bin(height)] += 1
            self.sizes[_rounded(len(sample.image))] += 1
            self.drawn.append((priority, index))
        self._count_captions(sample.captions)
        if sample.taxon is not None:
            self._count_taxon(sample.taxon, priority, index)
        if source := sample.metadata.get("source"):
            # JSON can name half a character, which no file or terminal takes.
            self._add_source(str(source).encode("utf-8", "replace").decode(), 1)

    def _count_captions(self, captions: Mapping[str, str]) -> None:
        for name, text in captions.items():
            if (lengths := self.tokens.get(name)) is not None and text.strip():
                lengths[len(_TOKENIZER.encode(text)) + _START_AND_END] += 1

    def _count_taxon(self, taxon: Taxon, priority: int, index: int) -> None:
        self.with_common_name += bool(taxon.common_name)
        lineage = taxon.lineage()
        if not any(lineage):
            return
        tally = self.taxa.get(lineage)
        if tally is None:
            tally = self.taxa[lineage] = TaxonTally()
        tally.images += 1
        if priority < tally.priority:
            tally.priority, tally.index = priority, index
        tally.common_name = _one_of(tally.common_name, taxon.common_name)


_TOKENIZER = Tokenizer()


def count_range(source: Source, work: tuple[int, int, int]) -> Tally:
    """The counts over the samples [first, end) of a source. work: (seed, first, end); what a worker does."""
    seed, first, end = work
    tally = Tally()
    for index in range(first, end):
        try:
            sample = source[index]
        except (OSError, ValueError):
            tally.samples += 1
            tally.unreadable["unreadable"] += 1
            continue
        tally.count(sample, _priority(seed, index), index)
    tally.drawn = heapq.nsmallest(DRAWN, tally.drawn)
    return tally


def _priority(seed: int, index: int) -> int:
    """A number that chance gives a sample: the same one however the samples are shared out among processes."""
    return int.from_bytes(hashlib.blake2b(b"%d %d" % (seed, index), digest_size=8).digest())


def _one_of(name: str, other: str) -> str:
    """One of two common names, the same one whichever was seen first."""
    return min(name, other) if name and other else name or other


def _bin(pixels: int) -> int:
    return round(SHAPE_BINS * math.log2(max(pixels, 1)))


def _rounded(size: int) -> int:
    shift = max(0, size.bit_length() - _DIGITS)
    return size >> shift << shift
