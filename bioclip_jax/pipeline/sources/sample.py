"""A sample, and what every source of samples can do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from bioclip_jax.text.taxon import Taxon


@dataclass(frozen=True, slots=True)
class Sample:
    """One labelled image as it is stored.

    key: unique within the source. image: encoded bytes, empty if it has none. captions: by caption type, as stored,
    perhaps incomplete (text.captions.complete_captions fills them up). taxon: None where the source names none.
    metadata: whatever else the source says.
    """

    key: str
    image: bytes
    captions: Mapping[str, str]
    taxon: Taxon | None = None
    metadata: Mapping[str, str | float] = field(default_factory=dict)


class Source(Protocol):
    """Samples by number. A source can be pickled, and reads from any number of processes at once."""

    skipped_shards: list[str]

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample:
        """The sample; OSError or ValueError if its shard cannot be read there any more."""
        ...
