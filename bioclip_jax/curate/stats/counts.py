"""Sample counts, computed in parallel by ranges and merged."""

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
# Number of random samples, drawn regardless of taxon.
DRAWN = 120
# Bins per octave of the grid of widths and heights.
SHAPE_BINS = 4

Lineage = tuple[str, ...]

# More distinct values of `source` are identifiers, not providers.
_MAX_SOURCES = 10_000
_OTHER_SOURCES = "(others)"
# Sizes in bytes are rounded to 10 binary digits (0.2 %), so that the distinct ones of 100 million fit a
# table.
_DIGITS = 10
_NEVER = 1 << 64
_START_AND_END = 2


@dataclass(slots=True)
class TaxonCounts:
    """Images of one taxon, and a random one of them, the index of the lowest priority (-1 if none)."""

    images: int = 0
    priority: int = _NEVER
    index: int = -1
    common_name: str = ""


@dataclass
class SampleCounts:
    """Counts over samples; counts over two ranges add up to those over both.

    The order of addition matters only for `sources` with more than _MAX_SOURCES values: later ones are
    merged.

    taxa: by lineage from kingdom to species, "" for unknown ranks; without samples that have no taxon.
    widths, heights: in pixels. shapes: by rounded SHAPE_BINS * log2 of width and height. sizes: images by
    encoded bytes, rounded down to 0.2 %. tokens: by caption type, nonempty captions by number of tokens,
    start and end included. sources: by metadata `source`. drawn: (priority, index) of DRAWN random readable
    images. unreadable: by cause (pipeline.images.CAUSES).
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
    taxa: dict[Lineage, TaxonCounts] = field(default_factory=dict)
    drawn: list[tuple[int, int]] = field(default_factory=list)

    def add(self, other: "SampleCounts") -> None:
        """Add the counts of other samples."""
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
                # Every range unpickles its own strings, though most lineages share names.
                self.taxa[tuple(map(sys.intern, lineage))] = theirs
                continue
            ours.images += theirs.images
            if theirs.priority < ours.priority:
                ours.priority, ours.index = theirs.priority, theirs.index
            ours.common_name = _smaller_name(ours.common_name, theirs.common_name)
        self.drawn = heapq.nsmallest(DRAWN, self.drawn + other.drawn)

    def _add_source(self, name: str, count: int) -> None:
        if name not in self.sources and len(self.sources) >= _MAX_SOURCES:
            name = _OTHER_SOURCES
        self.sources[name] += count

    def count(self, sample: Sample, priority: int, index: int) -> None:
        """Count the sample at `index` of the source."""
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
            self.shapes[_shape_bin(width), _shape_bin(height)] += 1
            self.sizes[_round_size(len(sample.image))] += 1
            self.drawn.append((priority, index))
        self._count_captions(sample.captions)
        if sample.taxon is not None:
            self._count_taxon(sample.taxon, priority, index)
        if source := sample.metadata.get("source"):
            # JSON can hold lone surrogates, which cannot be written.
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
        counts = self.taxa.get(lineage)
        if counts is None:
            counts = self.taxa[lineage] = TaxonCounts()
        counts.images += 1
        if priority < counts.priority:
            counts.priority, counts.index = priority, index
        counts.common_name = _smaller_name(counts.common_name, taxon.common_name)


_TOKENIZER = Tokenizer()


def count_range(source: Source, task: tuple[int, int, int]) -> SampleCounts:
    """Count samples of a source in a worker; task = (seed, first, end)."""
    seed, first, end = task
    counts = SampleCounts()
    for index in range(first, end):
        try:
            sample = source[index]
        except (OSError, ValueError):
            counts.samples += 1
            counts.unreadable["unreadable"] += 1
            continue
        counts.count(sample, _priority(seed, index), index)
    counts.drawn = heapq.nsmallest(DRAWN, counts.drawn)
    return counts


def _priority(seed: int, index: int) -> int:
    """Random number of a sample, a function of seed and index only."""
    return int.from_bytes(hashlib.blake2b(b"%d %d" % (seed, index), digest_size=8).digest())


def _smaller_name(name: str, other: str) -> str:
    """Return the alphabetically first of two common names; "" counts as no name."""
    return min(name, other) if name and other else name or other


def _shape_bin(pixels: int) -> int:
    return round(SHAPE_BINS * math.log2(max(pixels, 1)))


def _round_size(size: int) -> int:
    shift = max(0, size.bit_length() - _DIGITS)
    return size >> shift << shift
