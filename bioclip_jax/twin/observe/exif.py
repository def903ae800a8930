"""Times in the EXIF of photographs, read in parallel threads and kept in a journal."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bioclip_jax.pipeline.images import read_exif
from bioclip_jax.predict import track

_CHUNK = 256
# Most of the time is spent waiting for disks and networks.
_THREADS = 16


def read_exif_times(paths: Sequence[str], journal: Path) -> list[str]:
    """Return each photograph's time as YYYY-MM-DDTHH:MM:SS, with the fraction and zone if given; "" for none.

    DateTimeOriginal, or without it DateTimeDigitized. Only the headers of files are read; one that cannot be
    read has no time. journal: a file of finished chunks, from which a killed run of the same paths resumes.
    """
    digest = hashlib.sha256("\0".join(paths).encode()).hexdigest()
    times, size = _finished(journal, digest)
    remaining = [paths[start : start + _CHUNK] for start in range(len(times), len(paths), _CHUNK)]
    with open(journal, "r+b" if size else "wb") as file, ThreadPoolExecutor(_THREADS) as pool:
        file.seek(size)
        file.truncate()
        if not size:
            file.write(json.dumps(digest).encode() + b"\n")

        def read() -> Iterator[str]:
            for chunk in pool.map(_chunk_times, remaining):
                file.write(json.dumps(chunk).encode() + b"\n")
                file.flush()
                yield from chunk

        try:
            times += track(read(), "reading times", len(paths), done=len(times))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    return times


def _finished(journal: Path, digest: str) -> tuple[list[str], int]:
    """Return the times in a journal about the same paths, and its size without a torn last line."""
    lines = journal.read_bytes().split(b"\n")[:-1] if journal.exists() else []
    if not lines or json.loads(lines[0]) != digest:
        return [], 0
    return [time for line in lines[1:] for time in json.loads(line)], sum(map(len, lines)) + len(lines)


def _chunk_times(paths: Sequence[str]) -> list[str]:
    return [read_exif(path).time for path in paths]
