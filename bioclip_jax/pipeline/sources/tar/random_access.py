"""Random access to the samples of uncompressed tars."""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Literal

import numpy as np

from bioclip_jax.errors import UserError
from bioclip_jax.file_kinds import IMAGE_SUFFIXES
from bioclip_jax.pipeline.sources.sample import Sample, locate
from bioclip_jax.pipeline.sources.storage import Files, Location
from bioclip_jax.text import CAPTION_FILES, PLAIN_TYPE, Taxon, taxon_from_captions

from .format import BLOCK, parse_sample
from .index_table import IndexTable

# Member kinds (the part of a name after the key, in lower case) of images, and of captions with their types.
IMAGE_KINDS = frozenset(suffix.removeprefix(".") for suffix in IMAGE_SUFFIXES)
CAPTION_KINDS = {PLAIN_TYPE: PLAIN_TYPE} | {f"{name}.txt".lower(): name for name in CAPTION_FILES}
# Captions that contain the taxon.
_NAMING = ("taxonTag", "taxonTag_com", "common_name", "scientific_name")


class TarSource:
    """Samples of tars as webdataset writes them: KEY.jpg, KEY.TYPE.txt, and KEY.json for metadata.

    A shard that is cut off, compressed or not a tar raises a UserError, or with bad_shards="skip" is skipped
    and listed in `skipped_shards`.
    """

    def __init__(self, shards: Sequence[Location], bad_shards: Literal["error", "skip"] = "error"):
        self.skipped_shards: list[str] = []
        self._table = IndexTable(shards)
        for shard, error in self._table.errors.items():
            if bad_shards == "error":
                raise UserError(
                    f"shard {shard}: {_reason(error)}; replace it, or skip it with data.bad_shards=skip"
                )
            self.skipped_shards.append(str(shard))
        # A tar has one row more than samples.
        self.shard_sizes = np.diff(self._table.firsts) - 1
        self._firsts = np.concatenate([[0], np.cumsum(self.shard_sizes)])
        self._shards = list(shards)
        if not len(self):
            skipped = f" ({len(self.skipped_shards)} bad ones were skipped)" if self.skipped_shards else ""
            raise UserError(f"{shards[0]}: the tars hold no samples{skipped}; give tars with KEY.jpg files")
        self._files = Files()

    def __len__(self) -> int:
        return int(self._firsts[-1])

    def __getitem__(self, index: int) -> Sample:
        """The sample. Raises OSError or ValueError if the shard has changed or cannot be read any more."""
        shard, _ = locate(index, self._firsts)
        row = index + shard  # each tar has one row more than samples
        start, end = (int(block) * BLOCK for block in self._table.starts[row : row + 2])
        span = self._files.read(self._shards[shard], start, end - start)
        return make_sample(*parse_sample(span))

    @property
    def shards(self) -> list[Location]:
        """The tars that hold samples, in order."""
        return [shard for shard, size in zip(self._shards, self.shard_sizes) if size]


def make_sample(key: str, files: Mapping[str, bytes]) -> Sample:
    """Build a sample from the contents of a tar's members with one key, by kind."""
    image, captions, metadata, note = b"", {}, {}, ""
    for kind, content in files.items():
        folded = kind.lower()
        if caption := CAPTION_KINDS.get(folded):
            captions[caption] = content.decode("utf-8", "replace")
        elif folded in IMAGE_KINDS:
            image = image or content
        elif folded == "json":
            metadata = _metadata(content)
        else:
            note = note or dot_note(kind)
    taxon = _taxon(*(captions.get(name, "") for name in _NAMING))
    return Sample(key, image, captions, taxon, metadata, note)


def dot_note(kind: str) -> str:
    """Explain a kind that is unknown because of a dot, such as "2024.jpg" of IMG.2024.jpg; else return ""."""
    end = kind.rpartition(".")[2].lower()
    if "." not in kind or not (end in IMAGE_KINDS or end in ("txt", "json")):
        return ""
    return (
        f"the key of a file ends at the first dot of its name, which leaves {kind}; "
        "rename it without other dots"
    )


def _reason(error: Exception) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


@lru_cache(maxsize=1 << 16)
def _taxon(*texts: str) -> Taxon | None:
    return taxon_from_captions(dict(zip(_NAMING, texts)))


def _metadata(content: bytes) -> Mapping[str, str | float]:
    try:
        values = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return (
        {k: v for k, v in values.items() if isinstance(v, (str, int, float))}
        if isinstance(values, dict)
        else {}
    )
