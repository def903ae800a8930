"""Samples from uncompressed tars, by number."""

import json
import os
import resource
import weakref
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Literal

import numpy as np
from rich.console import Console
from rich.progress import track

from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.sources.sample import Sample
from bioclip_jax.pipeline.sources.tar_format import BLOCK, BadTar, parse_sample
from bioclip_jax.pipeline.sources.tar_index import is_cached, load_index
from bioclip_jax.text.captions import CAPTION_FILES, PLAIN_TYPE, taxon_of
from bioclip_jax.text.taxon import Taxon

IMAGE_KINDS = frozenset({"jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "ppm", "pgm", "jp2", "avif"})
_CAPTIONS = {PLAIN_TYPE: PLAIN_TYPE} | {f"{name}.txt": name for name in CAPTION_FILES}

# Indexing is worth a progress bar from about this many tars on (a TreeOfLife shard takes a third of a second).
_MANY = 6


class TarSource:
    """The samples of one or more tars as webdataset writes them: KEY.jpg, KEY.TYPE.txt, and KEY.json for metadata.

    A shard that is cut off, compressed or not a tar is a UserError that names it, or with bad_shards="skip" is left
    out and named in `skipped_shards`.
    """

    def __init__(self, shards: Sequence[Path], bad_shards: Literal["error", "skip"] = "error"):
        self.skipped_shards: list[str] = []
        indexes = []
        self._shards: list[Path] = []
        with ThreadPoolExecutor(16) as pool:
            found = pool.map(_try_index, shards)
            if sum(not is_cached(shard) for shard in shards) > _MANY:
                found = track(found, "indexing shards", len(shards), console=Console(stderr=True), transient=True)
            for shard, index in zip(shards, found):
                if isinstance(index, Exception):
                    if bad_shards == "error":
                        pool.shutdown(cancel_futures=True)
                        raise UserError(
                            f"shard {shard}: {_reason(index)}; replace it, or leave it out with data.bad_shards=skip"
                        )
                    self.skipped_shards.append(str(shard))
                elif len(index) > 1:
                    self._shards.append(shard)
                    indexes.append(index)
        if not indexes:
            skipped = f" ({len(self.skipped_shards)} bad ones were skipped)" if self.skipped_shards else ""
            raise UserError(f"{shards[0].parent}: the tars hold no samples{skipped}; give tars with KEY.jpg files")
        self._starts = np.concatenate(indexes)
        # Every shard has one entry more than samples, the end of its last one.
        self._firsts = [0, *accumulate(len(index) - 1 for index in indexes)]
        self._files = _OpenFiles()

    def __len__(self) -> int:
        return self._firsts[-1]

    def __getitem__(self, index: int) -> Sample:
        """The sample; OSError or ValueError if the shard has changed or cannot be read any more."""
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        shard = bisect_right(self._firsts, index) - 1
        row = index + shard
        start, end = int(self._starts[row]) * BLOCK, int(self._starts[row + 1]) * BLOCK
        span = self._files.read(self._shards[shard], start, end - start)
        key, files = parse_sample(span)
        image, captions, metadata = b"", {}, {}
        for kind, content in files.items():
            if caption := _CAPTIONS.get(kind):
                captions[caption] = content.decode("utf-8", "replace")
            elif kind.lower() in IMAGE_KINDS:
                image = image or content
            elif kind == "json":
                metadata = _metadata(content)
        taxon = _taxon(captions.get("taxonTag", ""), captions.get("taxonTag_com", ""), captions.get("common_name", ""))
        return Sample(key, image, captions, taxon, metadata)

    @property
    def shards(self) -> list[Path]:
        """The tars that are read, in order."""
        return list(self._shards)


class _OpenFiles:
    """Open files for reading at an offset, the least recently used closed first. Pickles without them."""

    def __init__(self):
        self._open: OrderedDict[Path, _File] = OrderedDict()
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._capacity = min(max(soft // 2, 16), 4096) if soft > 0 else 4096

    def read(self, path: Path, offset: int, size: int) -> bytes:
        try:
            file = self._open.pop(path)
        except KeyError:
            file = _File(path)
        self._open[path] = file
        # Dropping the reference closes the file, unless another thread is reading from it at this moment.
        while len(self._open) > self._capacity:
            self._open.popitem(last=False)
        data = os.pread(file.descriptor, size, offset)
        if len(data) < size:
            raise OSError(f"{path} has been cut off since it was indexed")
        return data

    def __getstate__(self):
        return {}

    def __setstate__(self, state):
        self.__init__()


class _File:
    def __init__(self, path: Path):
        self.descriptor = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self.descriptor)


def _try_index(shard: Path) -> np.ndarray | Exception:
    try:
        return load_index(shard)
    except (BadTar, OSError) as error:
        return error


def _reason(error: Exception) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


@lru_cache(maxsize=1 << 16)
def _taxon(tag: str, tag_with_common: str, common_name: str) -> Taxon | None:
    return taxon_of({"taxonTag": tag, "taxonTag_com": tag_with_common, "common_name": common_name})


def _metadata(content: bytes) -> Mapping[str, str | float]:
    try:
        values = json.loads(content)
    except ValueError:
        return {}
    return {k: v for k, v in values.items() if isinstance(v, (str, int, float))} if isinstance(values, dict) else {}
