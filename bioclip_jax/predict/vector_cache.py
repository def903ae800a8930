"""An on-disk cache of vectors, keyed by model fingerprint and a digest of the embedded content."""

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

# Names of the precisions in keys; caches of earlier versions hold these.
CACHE_NAMES = {"fp32": "float32", "bf16": "bfloat16"}

# Parameters per SQL statement, within the limit of the oldest SQLite in use.
_CHUNK = 900
_SCHEMA = """
CREATE TABLE IF NOT EXISTS vectors (
    fingerprint TEXT, key TEXT, vector BLOB, PRIMARY KEY (fingerprint, key)
)"""


class VectorCache:
    """float32 vectors in one SQLite file, shared by any number of threads and processes.

    Failures only cost time: if the disk is full or read-only, nothing is cached, and a damaged file is moved
    aside and rebuilt. Beyond `max_bytes` of vectors, the oldest are deleted.
    """

    def __init__(self, directory: str | os.PathLike[str] | None = None, *, max_bytes: int = 4 << 30) -> None:
        """Use vectors.sqlite in `directory`; None means the user's cache ($XDG_CACHE_HOME)."""
        self.path = (
            Path(directory if directory is not None else cache_directory() / "vectors") / "vectors.sqlite"
        )
        self.max_bytes = max_bytes

    def get(self, fingerprint: str, keys: Iterable[str]) -> dict[str, Vector]:
        """Return the cached vectors of a model, by key."""
        keys = list(keys)

        def read(connection: sqlite3.Connection) -> dict[str, Vector]:
            vectors: dict[str, Vector] = {}
            for start in range(0, len(keys), _CHUNK):
                chunk = keys[start : start + _CHUNK]
                marks = ",".join("?" * len(chunk))
                rows = connection.execute(
                    f"SELECT key, vector FROM vectors WHERE fingerprint = ? AND key IN ({marks})",
                    (fingerprint, *chunk),
                )
                vectors.update((key, np.frombuffer(vector, np.float32)) for key, vector in rows)
            return vectors

        return self._with_connection(read) or {}

    def put(self, fingerprint: str, vectors: Mapping[str, Vector]) -> None:
        """Cache vectors by key, replacing existing ones."""
        rows = [
            (fingerprint, key, np.asarray(vector, np.float32).tobytes()) for key, vector in vectors.items()
        ]

        def write(connection: sqlite3.Connection) -> None:
            with connection:
                connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", rows)
                self._drop_oldest(connection)

        self._with_connection(write)

    def _drop_oldest(self, connection: sqlite3.Connection) -> None:
        # Row ids increase with insertion, so the oldest vectors have the smallest.
        first, last, size = connection.execute(
            "SELECT min(rowid), max(rowid), (SELECT length(vector) FROM vectors LIMIT 1) FROM vectors"
        ).fetchone()
        if size and (last - first + 1) * size > self.max_bytes:
            # Delete more than necessary, so that it happens rarely.
            connection.execute(
                "DELETE FROM vectors WHERE rowid <= ?", (last - int(0.9 * self.max_bytes / size),)
            )

    def _with_connection(self, work: Callable[[sqlite3.Connection], Result]) -> Result | None:
        """Return the result of `work`, None if the file is unusable; each call connects, for any thread."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.closing(sqlite3.connect(self.path, timeout=30)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")
                # A power failure may lose the last vectors, which are then computed again.
                connection.execute("PRAGMA synchronous=NORMAL")
                connection.execute(_SCHEMA)
                return work(connection)
        except (OSError, sqlite3.Error) as error:
            # Subclasses mean a full disk, a lock or a read-only file; the base class itself means damage.
            if type(error) is sqlite3.DatabaseError:
                self._move_aside()
            return None

    def _move_aside(self) -> None:
        with contextlib.suppress(OSError):
            os.replace(self.path, f"{self.path}.damaged")
            for suffix in ("-wal", "-shm"):
                Path(f"{self.path}{suffix}").unlink(missing_ok=True)
