"""Vectors on disk, by the model that made them and a digest of what they were made of."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import Float32

from bioclip_jax.files import cache_directory

Vector = Float32[np.ndarray, " dim"]
Result = TypeVar("Result")

# How many parameters one statement may have, in the oldest SQLite around.
_CHUNK = 900
_SCHEMA = """
CREATE TABLE IF NOT EXISTS vectors (
    fingerprint TEXT, key TEXT, vector BLOB, PRIMARY KEY (fingerprint, key)
)"""


class VectorCache:
    """float32 vectors in one SQLite file, for any number of threads and processes at a time.

    It only ever saves time: where the disk is full or cannot be written, nothing is kept, and a damaged file
    is moved aside and begun anew. Beyond `max_bytes` of vectors the first that came are the first to go.
    """

    def __init__(self, directory: str | os.PathLike[str] | None = None, *, max_bytes: int = 4 << 30) -> None:
        """`directory`: where the file vectors.sqlite lies; None takes the user's cache ($XDG_CACHE_HOME)."""
        self.path = (
            Path(directory if directory is not None else cache_directory() / "vectors") / "vectors.sqlite"
        )
        self.max_bytes = max_bytes

    def get(self, fingerprint: str, keys: Iterable[str]) -> dict[str, Vector]:
        """The vectors that are there, by their keys; `fingerprint` is the model's."""
        keys = list(keys)

        def read(connection: sqlite3.Connection) -> dict[str, Vector]:
            found: dict[str, Vector] = {}
            for start in range(0, len(keys), _CHUNK):
                chunk = keys[start : start + _CHUNK]
                marks = ",".join("?" * len(chunk))
                rows = connection.execute(
                    f"SELECT key, vector FROM vectors WHERE fingerprint = ? AND key IN ({marks})",
                    (fingerprint, *chunk),
                )
                found.update((key, np.frombuffer(vector, np.float32)) for key, vector in rows)
            return found

        return self._with_connection(read) or {}

    def put(self, fingerprint: str, vectors: Mapping[str, Vector]) -> None:
        """Keep vectors by their keys; one that is there already is replaced."""
        rows = [
            (fingerprint, key, np.asarray(vector, np.float32).tobytes()) for key, vector in vectors.items()
        ]

        def write(connection: sqlite3.Connection) -> None:
            with connection:
                connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", rows)
                self._drop_oldest(connection)

        self._with_connection(write)

    def _drop_oldest(self, connection: sqlite3.Connection) -> None:
        # Each row that is put gets the next number, so their order is the order in which they came.
        first, last, size = connection.execute(
            "SELECT min(rowid), max(rowid), (SELECT length(vector) FROM vectors LIMIT 1) FROM vectors"
        ).fetchone()
        if size and (last - first + 1) * size > self.max_bytes:
            # Some more than needed, so that this is rare.
            connection.execute(
                "DELETE FROM vectors WHERE rowid <= ?", (last - int(0.9 * self.max_bytes / size),)
            )

    def _with_connection(self, work: Callable[[sqlite3.Connection], Result]) -> Result | None:
        """What `work` gives, or None where the file cannot be used. A connection a call may come from any thread."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.closing(sqlite3.connect(self.path, timeout=30)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")
                # A power cut may lose the last vectors, which are made again.
                connection.execute("PRAGMA synchronous=NORMAL")
                connection.execute(_SCHEMA)
                return work(connection)
        except (OSError, sqlite3.Error) as error:
            # Its subclasses are a full disk, a lock, a file that cannot be written; this one itself is
            # damage.
            if type(error) is sqlite3.DatabaseError:
                self._move_aside()
            return None

    def _move_aside(self) -> None:
        with contextlib.suppress(OSError):
            os.replace(self.path, f"{self.path}.damaged")
            for suffix in ("-wal", "-shm"):
                Path(f"{self.path}{suffix}").unlink(missing_ok=True)
