"""Data blocks of the page: arrays and JSON as gzipped base64, which browsers decode by themselves."""

from __future__ import annotations

import base64
import gzip
import re

import numpy as np
from jaxtyping import Int, Integer

_BLOCK = re.compile(r'<script type="text/plain" class="block" id="([\w-]+)">([A-Za-z0-9+/=]*)</script>')


def block(name: str, content: bytes) -> str:
    """Return the element of a data block; equal content has equal bytes."""
    text = base64.b64encode(gzip.compress(content, 9, mtime=0)).decode()
    return f'<script type="text/plain" class="block" id="{name}">{text}</script>'


def read_blocks(page: str) -> dict[str, bytes]:
    """Return the content of all data blocks of a page, by name."""
    return {name: gzip.decompress(base64.b64decode(text)) for name, text in _BLOCK.findall(page)}


def block_texts(page: str) -> list[str]:
    """Return the base64 of all data blocks of a page."""
    return [text for _, text in _BLOCK.findall(page)]


def block_sizes(page: str) -> dict[str, int]:
    """Return the gzipped bytes of all data blocks of a page, by name."""
    return {name: len(text) * 3 // 4 for name, text in _BLOCK.findall(page)}


def deltas(values: Integer[np.ndarray, "... times"]) -> bytes:
    """Return integers as int16 differences along the last axis, low bytes before high bytes.

    Differences wrap around, and so do the sums of the reader. Slow changes leave the high bytes alike, which
    compress well when they are neighbors.
    """
    values = np.ascontiguousarray(values, np.int16)
    changes = np.diff(values, axis=-1, prepend=np.zeros((*values.shape[:-1], 1), np.int16))
    return np.ascontiguousarray(changes.astype("<i2").reshape(-1, 1).view(np.uint8).T).tobytes()


def undo_deltas(content: bytes, shape: tuple[int, ...]) -> Int[np.ndarray, "..."]:
    """Return the integers that deltas encoded, as the page's reader does; for tests."""
    halves = np.frombuffer(content, np.uint8).reshape(2, -1)
    changes = np.ascontiguousarray(halves.T).view("<i2").reshape(shape)
    return np.cumsum(changes, axis=-1, dtype=np.int16)
