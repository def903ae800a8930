"""A sample, and what every source of samples can do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from bioclip_jax.text import RANKS, MissingCaption, Taxon, captions_from_taxon, given_name


@dataclass(frozen=True, slots=True)
class Sample:
    """One labelled image as it is stored.

    key: unique within the source. image: encoded bytes, empty if it has none. captions: by caption type, as
    stored, perhaps incomplete (text.captions.complete_captions fills them up). taxon: None where the source
    names none.
    metadata: whatever else the source says. note: a reason why something may be missing, for messages.
    """

    key: str
    image: bytes
    captions: Mapping[str, str]
    taxon: Taxon | None = None
    metadata: Mapping[str, str | float] = field(default_factory=dict)
    note: str = ""


def sample_from_row(key: str, image: bytes, row: Mapping[str, Any]) -> Sample:
    """A sample whose labels stand in named columns: the ranks (class or cls), common_name, and any others.

    The captions are made from the taxon and a scientific_name beside its ranks. With both, cls is the rank
    and class becomes metadata, as does every other column that holds a text or a number.
    """
    taxon = Taxon.from_row(row)
    try:
        captions = captions_from_taxon(taxon, given_name(row))
    except MissingCaption:
        captions = {}
    of_taxon = {*RANKS, "common_name"}
    if "cls" in row:
        of_taxon = of_taxon - {"class"} | {"cls"}
    metadata = {
        n: value for n, value in row.items() if n not in of_taxon and isinstance(value, (str, int, float))
    }
    return Sample(key, image, captions, taxon, metadata)


class Source(Protocol):
    """Samples by number. A source can be pickled, and reads from any number of processes at once."""

    skipped_shards: list[str]

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample:
        """The sample; OSError or ValueError if its shard cannot be read there any more."""
        ...
