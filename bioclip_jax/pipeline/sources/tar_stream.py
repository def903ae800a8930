"""Samples from tars that are read forward, without an index."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator, Sequence

import numpy as np

from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.sources.sample import Sample
from bioclip_jax.pipeline.sources.storage import Files, ForwardReader, Location, identity, read_file
from bioclip_jax.pipeline.sources.tar import make_sample
from bioclip_jax.pipeline.sources.tar_format import BadTar, members, split_name

# How many samples each shard holds, as webdataset's users write it: {"shard-00000.tar": 10000, ...}.
SIZES_FILE = "sizes.json"

# Places that one process reads at: each keeps a block, in object storage two.
_STREAMS = 32


class StreamedTarSource:
    """The samples of tars whose numbers of samples are known, by number, read forward from where the last one was.

    For orders that go through shards from front to back (order.Windowed): no header is read twice and no index is
    needed, but to go back, or far ahead, the headers between are read. Errors in a tar show when it is read.
    """

    def __init__(self, shards: Sequence[Location], sizes: Sequence[int]):
        """sizes: of each shard, how many samples it holds."""
        self.skipped_shards: list[str] = []
        self.shards = list(shards)
        self.shard_sizes = np.asarray(sizes, np.int64)
        self._firsts = np.concatenate([[0], np.cumsum(self.shard_sizes)])
        self._files = Files()
        self._streams: OrderedDict[tuple[int, int], Iterator[Sample]] = OrderedDict()
        # From which sample on a shard cannot be read, and why: so that it is not gone through again for each.
        self._broken: dict[int, tuple[int, str]] = {}
        if not len(self):
            raise UserError(f"{shards[0]}: the tars hold no samples, says {SIZES_FILE}; give tars with KEY.jpg files")

    def __len__(self) -> int:
        return int(self._firsts[-1])

    def __getitem__(self, index: int) -> Sample:
        """The sample; OSError or ValueError if its shard cannot be read that far."""
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        shard = int(np.searchsorted(self._firsts, index, "right")) - 1
        number = index - int(self._firsts[shard])
        if shard in self._broken and number >= self._broken[shard][0]:
            raise ValueError(self._broken[shard][1])
        # Two places of one shard may be read in turns, so a stream is known by where it stands.
        stream = self._streams.pop((shard, number), None) or _samples(self._files, self.shards[shard], number)
        try:
            sample = next(stream)
        except StopIteration:
            self._broken[shard] = number, f"{self.shards[shard]} holds fewer samples than {SIZES_FILE} says"
        except BadTar as error:
            self._broken[shard] = number, f"{self.shards[shard]}: {error}"
        if shard in self._broken and number >= self._broken[shard][0]:
            raise ValueError(self._broken[shard][1])
        self._streams[shard, number + 1] = stream
        while len(self._streams) > _STREAMS:
            self._streams.popitem(last=False)
        return sample

    def __getstate__(self):
        return self.__dict__ | {"_streams": OrderedDict()}


def _samples(files: Files, shard: Location, first: int) -> Iterator[Sample]:
    """A tar's samples from number `first` on. BadTar where it is damaged, OSError where it cannot be read."""
    end, _ = identity(shard)
    reader = ForwardReader(files, shard, end)
    number, key, content = -1, None, {}
    for member in members(reader.read, end, check=False):
        parts = split_name(member.name)
        if parts is None:
            continue
        if parts[0] != key:
            if number >= first:
                yield make_sample(key, content)
            number, key, content = number + 1, parts[0], {}
        if number >= first:
            data = reader.read(member.offset, member.size)
            if len(data) < member.size:
                raise BadTar(f"it is cut off inside the member at byte {member.offset:,}")
            content.setdefault(parts[1], data)
    if number >= first:
        yield make_sample(key, content)


def read_sizes(folder: Location, shards: Sequence[Location]) -> list[int] | None:
    """The shards' numbers of samples from the folder's sizes.json; None if it is missing or does not name them all."""
    try:
        sizes = json.loads(read_file(f"{folder}/{SIZES_FILE}"))
        found = [sizes[str(shard).rpartition("/")[2]] for shard in shards]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if all(type(size) is int and size >= 0 for size in found) else None
