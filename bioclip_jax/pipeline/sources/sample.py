"""A sample, the protocol of its sources, and the concatenation of several sources."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Protocol

import numpy as np
from jaxtyping import Int64

from bioclip_jax.text import RANKS, MissingCaption, Taxon, captions_from_taxon, row_scientific_name


@dataclass(frozen=True, slots=True)
class Sample:
    """One labeled image as stored.

    key: unique within the source. image: encoded bytes, empty if missing. captions: by caption type, as
    stored, maybe incomplete (see text.complete_captions). taxon: None if unknown. metadata: all other
    columns. note: a possible reason for missing parts, for messages.
    """

    key: str
    image: bytes
    captions: Mapping[str, str]
    taxon: Taxon | None = None
    metadata: Mapping[str, str | float] = field(default_factory=dict)
    note: str = ""


def sample_from_row(key: str, image: bytes, row: Mapping[str, Any]) -> Sample:
    """Build a sample from named columns: the ranks (class or cls), common_name, and any others.

    Captions are made from the taxon and the column scientific_name. With both cls and class, cls is the rank
    and class becomes metadata, as does every other column of texts or numbers.
    """
    taxon = Taxon.from_row(row)
    try:
        captions = captions_from_taxon(taxon, row_scientific_name(row))
    except MissingCaption:
        captions = {}
    taxon_columns = {*RANKS, "common_name"}
    if "cls" in row:
        taxon_columns = taxon_columns - {"class"} | {"cls"}
    metadata = {
        name: value
        for name, value in row.items()
        if name not in taxon_columns and isinstance(value, (str, int, float))
    }
    return Sample(key, image, captions, taxon, metadata)


def locate(index: int, firsts: Sequence[int] | Int64[np.ndarray, " parts_and_end"]) -> tuple[int, int]:
    """Find the part of concatenated parts that contains an index, and the offset in it.

    firsts: first index of each part, and the total. Raises IndexError if the index is out of range.
    """
    if not 0 <= index < firsts[-1]:
        raise IndexError(f"sample {index} of {firsts[-1]}")
    part = bisect_right(firsts, index) - 1
    return part, index - int(firsts[part])


class Source(Protocol):
    """Samples by index. A source can be pickled, and reads from any number of processes at once."""

    skipped_shards: list[str]

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample:
        """The sample. Raises OSError or ValueError if its shard has become unreadable."""
        ...


class ConcatSource:
    """Several sources concatenated. firsts: index of each source's first sample, and the total."""

    def __init__(self, sources: Sequence[Source]):
        self.sources = list(sources)
        self.skipped_shards = [shard for source in sources for shard in source.skipped_shards]
        self.firsts = [0, *accumulate(map(len, sources))]

    def __len__(self) -> int:
        return self.firsts[-1]

    def __getitem__(self, index: int) -> Sample:
        """The sample. Raises the errors of its source."""
        number, offset = locate(index, self.firsts)
        return self.sources[number][offset]
