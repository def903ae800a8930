"""A part of a file, such as a tar's member, as a file of its own."""

from __future__ import annotations

import io
import os
from typing import Any, BinaryIO

# Containers are read in small steps, which a buffer turns into few system calls.
_BUFFER = 1 << 20


def open_part(path: str, offset: int = 0, size: int | None = None) -> BinaryIO:
    """Open `size` bytes at `offset` of a file for reading; None takes all to the end."""
    return io.BufferedReader(Part(path, offset, size), _BUFFER)


class Part(io.RawIOBase):
    """`size` bytes at `offset` of a file, as a file; None takes all to the end."""

    def __init__(self, path: str, offset: int = 0, size: int | None = None):
        self._file = open(path, "rb", buffering=0)
        self._offset, self._position = offset, 0
        end = self._file.seek(0, os.SEEK_END) - offset
        self._size = end if size is None else min(size, end)

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position within the part."""
        self._position = max(0, offset + (0, self._position, self._size)[whence])
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer; return the number of bytes."""
        view = memoryview(buffer)[: max(0, self._size - self._position)]
        self._file.seek(self._offset + self._position)
        count = self._file.readinto(view) or 0
        self._position += count
        return count

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()
