"""Several sources as one."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from .sample import Sample, Source

# Between locations, as open_clip has it between shards of several data sets.
SEPARATOR = "::"


class JoinedSource:
    """The samples of several sources, one source behind the other. firsts: where each begins, and the end."""

    def __init__(self, sources: Sequence[Source]):
        self.sources = list(sources)
        self.skipped_shards = [shard for source in sources for shard in source.skipped_shards]
        self.firsts = [0, *accumulate(map(len, sources))]

    def __len__(self) -> int:
        return self.firsts[-1]

    def __getitem__(self, index: int) -> Sample:
        """The sample; errors as those of its source."""
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        number = bisect_right(self.firsts, index) - 1
        return self.sources[number][index - self.firsts[number]]
