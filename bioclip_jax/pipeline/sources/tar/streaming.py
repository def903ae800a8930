"""Sequential access to the samples of tars, without an index."""

from __future__ import annotations

import json
import sys
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from bioclip_jax.errors import UserError
from bioclip_jax.file_kinds import SIZES_FILE
from bioclip_jax.pipeline.sources.sample import Sample, locate
from bioclip_jax.pipeline.sources.storage import Files, ForwardReader, Location, identity, is_url, read_file

from .format import BadTar, members, split_name
from .random_access import make_sample

# Open streams per process; each buffers one block, two from object storage.
_STREAMS = 128
# Samples between remembered offsets, so that seeking back parses few headers.
_MARK_EVERY = 32
# Shards whose remembered offsets are kept.
_MARKED = 1024


class StreamingTarSource:
    """Samples of tars of known sizes by index, read from the position of the previous sample.

    For orders that read shards front to back (order.Windowed): needs no index and parses no header twice. A
    sample out of turn is reached from the nearest remembered offset before it. bad_shards: "error" raises
    UserError when a tar turns out to be damaged, "skip" makes its remaining samples bad.
    """

    def __init__(
        self, shards: Sequence[Location], sizes: Sequence[int], bad_shards: Literal["error", "skip"] = "error"
    ):
        """sizes: number of samples in each shard."""
        self.skipped_shards: list[str] = []
        self.shards = list(shards)
        self.shard_sizes = np.asarray(sizes, np.int64)
        self._bad_shards = bad_shards
        self._firsts = np.concatenate([[0], np.cumsum(self.shard_sizes)])
        self._start()
        if not len(self):
            raise UserError(
                f"{shards[0]}: the tars hold no samples according to {SIZES_FILE}; give tars with KEY.jpg "
                f"files"
            )

    def _start(self) -> None:
        self._files = Files()
        # By shard and the number of the next sample.
        self._streams: OrderedDict[tuple[int, int], Iterator[Sample]] = OrderedDict()
        # By shard: sample numbers, and their byte offsets.
        self._marks: OrderedDict[int, tuple[list[int], list[int]]] = OrderedDict()
        # By shard: the first sample that cannot be read, and the reason.
        self._broken: dict[int, tuple[int, str]] = {}

    def __len__(self) -> int:
        return int(self._firsts[-1])

    def __getitem__(self, index: int) -> Sample:
        """The sample. Raises OSError, ValueError or (see bad_shards) UserError if it cannot be read."""
        shard, number = locate(index, self._firsts)
        if shard not in self._broken or number < self._broken[shard][0]:
            stream = self._streams.pop((shard, number), None) or self._samples(shard, number)
            try:
                sample = next(stream)
            except StopIteration:
                self._broken[shard] = number, f"it holds fewer samples than {SIZES_FILE} says"
            except BadTar as error:
                self._broken[shard] = number, str(error)
            else:
                if number + 1 < self.shard_sizes[shard]:
                    self._streams[shard, number + 1] = stream
                    if len(self._streams) > _STREAMS:
                        self._streams.popitem(last=False)
                return sample
        message = f"shard {self.shards[shard]}: {self._broken[shard][1]}"
        if self._bad_shards == "error":
            raise UserError(f"{message}; replace it, or skip the damaged part with data.bad_shards=skip")
        raise ValueError(message)

    def _samples(self, shard: int, first: int) -> Iterator[Sample]:
        """Iterate over samples from number `first`. Raises BadTar if damaged, OSError if unreadable."""
        location = self.shards[shard]
        end, _ = identity(location)
        reader = ForwardReader(self._files, location, end)
        numbers, offsets = self._marks.setdefault(shard, ([0], [0]))
        self._marks.move_to_end(shard)
        if len(self._marks) > _MARKED:
            self._marks.popitem(last=False)
        near = bisect_right(numbers, first) - 1
        number, start = numbers[near] - 1, offsets[near]
        if not start:
            # The checks of the first header report a file that is not a tar at all.
            next(members(reader.read, end), None)
        key, content = None, {}
        for member in members(reader.read, end, start, check=False):
            parts = split_name(member.name)
            if parts is None:
                continue
            if parts[0] != key:
                if number >= first:
                    yield make_sample(key, content)
                number, key, content = number + 1, parts[0], {}
                if number % _MARK_EVERY == 0 and number > numbers[-1]:
                    numbers.append(number)
                    offsets.append(member.start)
            if number >= first:
                data = reader.read(member.offset, member.size)
                if len(data) < member.size:
                    raise BadTar(f"it is cut off inside the member at byte {member.offset:,}")
                content.setdefault(parts[1], data)
        if number >= first:
            yield make_sample(key, content)

    def __getstate__(self):
        return {name: value for name, value in self.__dict__.items() if name not in _PROCESS_STATE}

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._start()


_PROCESS_STATE = ("_files", "_streams", "_marks", "_broken")


def read_sizes(shards: Sequence[Location]) -> list[int] | None:
    """Number of samples of each shard from the sizes.json beside it; None if a sizes.json is missing.

    Raises UserError if one is damaged or lacks a shard.
    """
    folders: dict[str, dict] = {}
    sizes = []
    for shard in shards:
        folder, _, name = str(shard).rpartition("/")
        if folder not in folders:
            path = f"{folder}/{SIZES_FILE}" if folder else SIZES_FILE
            try:
                folders[folder] = json.loads(read_file(path))
            except FileNotFoundError:
                if is_url(str(shard)):
                    print(f"{path} does not exist: reading all tars once to index them", file=sys.stderr)
                return None
            except (OSError, ValueError) as error:
                raise UserError(f"{path} cannot be read ({error}); fix it or remove it") from None
        size = folders[folder].get(name) if isinstance(folders[folder], dict) else None
        if type(size) is not int or size < 0:
            raise UserError(
                f"{folder}/{SIZES_FILE} does not give the number of samples of {name}; fix it or remove it"
            )
        sizes.append(size)
    return sizes
