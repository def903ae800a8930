"""Read local files and object storage at an offset or sequentially."""

from __future__ import annotations

import hashlib
import os
import weakref
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

from bioclip_jax.errors import UserError, first_line
from bioclip_jax.files import atomic_write, cache_directory

# A local path, or a URL such as s3://BUCKET/KEY.
Location = Path | str

_LOCAL_BLOCK = 256 << 10
# A request to object storage takes about ten milliseconds, however small.
_REMOTE_BLOCK = 1 << 20


def is_url(location: Location) -> bool:
    """True for a URL that fsspec reads, False for a local path."""
    return isinstance(location, str) and "://" in location


def absolute(location: Location) -> str:
    """The location independent of the working directory."""
    return location if is_url(location) else os.path.abspath(location)


def list_files(url: str) -> list[str]:
    """Sorted files under a URL, or matching its glob. Raises UserError if it cannot be listed."""
    files, path = _filesystem(url)
    try:
        if any(character in path for character in "*?["):
            names = files.glob(path)
        else:
            names = files.find(path)
    except Exception as error:  # each storage has its own errors
        raise UserError(
            f"{url} cannot be listed ({first_line(error)}); check the address and your credentials"
        ) from None
    return sorted(files.unstrip_protocol(name) for name in names)


def read_file(location: Location) -> bytes:
    """Content of the whole file. Raises OSError if it cannot be read."""
    if not is_url(location):
        return Path(location).read_bytes()
    files, path = _filesystem(location)
    return _guarded(location, files.cat_file, path)


def local_copy(location: Location) -> Path:
    """A local path of the file: itself, or an up-to-date copy in the user's cache.

    Raises UserError if it cannot be copied.
    """
    if not is_url(location):
        return Path(location)
    cache = cache_directory() / "copies"
    files, path = _filesystem(location)
    try:
        name = hashlib.sha256(repr((location, identity(location))).encode()).hexdigest()[:32]
        copy = cache / f"{name}-{path.rpartition('/')[2]}"
        if not copy.exists():
            cache.mkdir(parents=True, exist_ok=True)
            with atomic_write(copy) as partial:
                _guarded(location, files.get_file, path, str(partial))
    except OSError as error:
        raise UserError(
            f"{location} cannot be copied to {cache} ({error}); check the address and the disk"
        ) from None
    return copy


def identity(location: Location) -> tuple[int, str]:
    """File size, and a fingerprint that changes with the content. Raises OSError if it does not exist."""
    if not is_url(location):
        status = os.stat(location)
        # ctime as well, because mtime can be set back.
        return status.st_size, f"{status.st_mtime_ns} {status.st_ctime_ns}"
    files, path = _filesystem(location)
    info = _guarded(location, files.info, path)
    if info.get("size") is None:
        raise OSError(f"{location}: the server does not report its size")
    return int(info["size"]), repr(sorted((k, str(v)) for k, v in info.items() if k in _CHANGES))


# Storages' names of the attributes that change with a file's content.
_CHANGES = (
    "ETag",
    "etag",
    "md5Hash",
    "mtime",
    "LastModified",
    "last_modified",
    "created",
    "updated",
    "generation",
)


def _most_open_files() -> int:
    """Half of this process's limit on open files, at most 4,096."""
    try:
        import resource
    except ImportError:  # Windows, where C's limit is 512
        return 256
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(max(soft // 2, 16), 4096) if soft > 0 else 4096


class Files:
    """LRU cache of files open for reading at an offset. Pickles as an empty cache."""

    def __init__(self) -> None:
        self._open: OrderedDict[Path, _File] = OrderedDict()
        self._capacity = _most_open_files()

    def read(self, location: Location, offset: int, size: int) -> bytes:
        """Exactly `size` bytes. Raises OSError if the file has become shorter."""
        data = self.read_up_to(location, offset, size)
        if len(data) < size:
            raise OSError(f"{location} has been cut off since it was indexed")
        return data

    def read_up_to(self, location: Location, offset: int, size: int) -> bytes:
        """`size` bytes, fewer at the file's end. Raises OSError if it cannot be read."""
        if is_url(location):
            files, path = _filesystem(location)
            return _guarded(location, files.cat_file, path, start=offset, end=offset + size)
        try:
            file = self._open.pop(location)
        except KeyError:
            file = _File(location)
        self._open[location] = file
        # Dropping the reference closes the file, unless another thread is reading from it.
        while len(self._open) > self._capacity:
            self._open.popitem(last=False)
        return os.pread(file.descriptor, size, offset)

    def __getstate__(self):
        return {}

    def __setstate__(self, state):
        self.__init__()


class ForwardReader:
    """A file read sequentially in blocks, prefetching one block from object storage."""

    def __init__(self, files: Files, location: Location, end: int) -> None:
        self._files, self._location, self._end = files, location, end
        self._remote = is_url(location)
        self._block = _REMOTE_BLOCK if self._remote else _LOCAL_BLOCK
        self._start, self._data = 0, b""
        self._next: tuple[int, Future[bytes]] | None = None

    def read(self, offset: int, size: int) -> bytes:
        """At most `size` bytes, fewer at the file's end. Raises OSError if it cannot be read."""
        size = min(size, max(0, self._end - offset))
        first = offset - self._start
        if not size or (0 <= first and first + size <= len(self._data)):
            return self._data[first : first + size] if size else b""
        if 0 <= first <= len(self._data):
            # Keep the rest of the block and append the next one.
            rest, end = self._data[first:], self._start + len(self._data)
        else:
            rest, end = b"", offset
        self._start, self._data = offset, rest + self._fetch(end, max(self._block, size - len(rest)))
        return self._data[:size]

    def _fetch(self, offset: int, size: int) -> bytes:
        # Some storages refuse to read beyond the end.
        size = min(size, self._end - offset)
        if not self._remote:
            return self._files.read_up_to(self._location, offset, size)
        if self._next is not None and self._next[0] == offset:
            data = self._next[1].result()
            if len(data) < size and offset + len(data) < self._end:
                data += self._files.read_up_to(self._location, offset + len(data), size - len(data))
        else:
            data = self._files.read_up_to(self._location, offset, size)
        ahead = offset + len(data)
        self._next = None
        if ahead < self._end:
            size = min(self._block, self._end - ahead)
            self._next = ahead, _prefetch_pool().submit(self._files.read_up_to, self._location, ahead, size)
        return data


class _File:
    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self.descriptor)


@lru_cache(maxsize=1)
def _prefetch_pool() -> ThreadPoolExecutor:
    """Threads that prefetch from object storage, shared by all files of the process."""
    return ThreadPoolExecutor(16, "read_ahead")


def _filesystem(url: str) -> tuple[Any, str]:
    import fsspec

    try:
        return fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise UserError(
            f"{url} needs a package ({error}); for s3:// it is pip install 'bioclip-jax[s3]'"
        ) from None
    except ValueError as error:
        raise UserError(
            f"{url}: {error}; give s3://, gs://, https:// or another address that fsspec knows"
        ) from None


def _guarded(url: str, call: Any, *arguments: Any, **options: Any) -> Any:
    """Return the call's result, with any storage error as an OSError."""
    try:
        return call(*arguments, **options)
    except OSError:
        raise
    except Exception as error:
        raise OSError(f"{url}: {first_line(error)}") from error
