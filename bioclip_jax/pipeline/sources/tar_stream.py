"""Samples from tars that are read forward, without an index."""

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

from .sample import Sample
from .storage import Files, ForwardReader, Location, identity, is_url, read_file
from .tar import make_sample
from .tar_format import BadTar, members, split_name

# Places that one process reads at: each keeps a block, in object storage two.
_STREAMS = 128
# Of so many samples, the place of one is remembered, so that going back there reads few headers.
_MARK_EVERY = 32
# Shards whose marks are kept.
_MARKED = 1024


class StreamedTarSource:
    """The samples of tars whose numbers of samples are known, by number, read forward from where the last one was.

    For orders that go through shards from front to back (order.Windowed): no index is needed, and no header
    is read twice. What is asked for out of turn is reached from the nearest place that was read before.
    bad_shards: whether a tar that turns out to be damaged is an error that ends everything, or its samples
    are.
    """

    def __init__(
        self, shards: Sequence[Location], sizes: Sequence[int], bad_shards: Literal["error", "skip"] = "error"
    ):
        """sizes: of each shard, how many samples it holds."""
        self.skipped_shards: list[str] = []
        self.shards = list(shards)
        self.shard_sizes = np.asarray(sizes, np.int64)
        self._bad_shards = bad_shards
        self._firsts = np.concatenate([[0], np.cumsum(self.shard_sizes)])
        self._start()
        if not len(self):
            raise UserError(
                f"{shards[0]}: the tars hold no samples, says {SIZES_FILE}; give tars with KEY.jpg files"
            )

    def _start(self) -> None:
        self._files = Files()
        # By shard and the number of the sample that comes next.
        self._streams: OrderedDict[tuple[int, int], Iterator[Sample]] = OrderedDict()
        # By shard: numbers of samples, and the bytes where they begin.
        self._marks: OrderedDict[int, tuple[list[int], list[int]]] = OrderedDict()
        # From which sample on a shard cannot be read, and why.
        self._broken: dict[int, tuple[int, str]] = {}

    def __len__(self) -> int:
        return int(self._firsts[-1])

    def __getitem__(self, index: int) -> Sample:
        """The sample; OSError or ValueError if its shard cannot be read that far, UserError if that is to end all."""
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        shard = int(np.searchsorted(self._firsts, index, "right")) - 1
        number = index - int(self._firsts[shard])
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
            raise UserError(f"{message}; replace it, or read over it with data.bad_shards=skip")
        raise ValueError(message)

    def _samples(self, shard: int, first: int) -> Iterator[Sample]:
        """A tar's samples from number `first` on. BadTar where it is damaged, OSError where it cannot be read."""
        location = self.shards[shard]
        end, _ = identity(location)
        reader = ForwardReader(self._files, location, end)
        numbers, places = self._marks.setdefault(shard, ([0], [0]))
        self._marks.move_to_end(shard)
        if len(self._marks) > _MARKED:
            self._marks.popitem(last=False)
        near = bisect_right(numbers, first) - 1
        number, start = numbers[near] - 1, places[near]
        if not start:
            # What is no tar at all is told so.
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
                    places.append(member.start)
            if number >= first:
                data = reader.read(member.offset, member.size)
                if len(data) < member.size:
                    raise BadTar(f"it is cut off inside the member at byte {member.offset:,}")
                content.setdefault(parts[1], data)
        if number >= first:
            yield make_sample(key, content)

    def __getstate__(self):
        return {name: value for name, value in self.__dict__.items() if name not in _OF_PROCESS}

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._start()


_OF_PROCESS = ("_files", "_streams", "_marks", "_broken")


def read_sizes(shards: Sequence[Location]) -> list[int] | None:
    """The shards' numbers of samples from the sizes.json beside each; None if one is missing or does not name them.

    Errors: UserError if one is there and cannot be read.
    """
    folders: dict[str, dict] = {}
    sizes = []
    for shard in shards:
        folder, _, name = str(shard).rpartition("/")
        if folder not in folders:
            place = f"{folder}/{SIZES_FILE}" if folder else SIZES_FILE
            try:
                folders[folder] = json.loads(read_file(place))
            except FileNotFoundError:
                if is_url(str(shard)):
                    print(f"there is no {place}: all tars are read once, for an index", file=sys.stderr)
                return None
            except (OSError, ValueError) as error:
                raise UserError(f"{place} cannot be read ({error}); mend it or remove it") from None
        size = folders[folder].get(name) if isinstance(folders[folder], dict) else None
        if type(size) is not int or size < 0:
            raise UserError(
                f"{folder}/{SIZES_FILE} does not say how many samples {name} holds; mend it or remove it"
            )
        sizes.append(size)
    return sizes
