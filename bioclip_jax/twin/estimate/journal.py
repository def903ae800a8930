"""The journal of an interrupted `twin estimate`: finished species, beside the output."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from bioclip_jax.errors import Interrupted
from bioclip_jax.files import json_text
from bioclip_jax.locks import lock

if TYPE_CHECKING:
    from bioclip_jax.twin.observe.camtrap_dp import Package


class Journal:
    """Results of finished species, one JSON line each, in the file .NAME.partial beside the output NAME.

    The first line is a digest of the package and the options: with any other, work starts anew. A torn last
    line, of a killed process, is dropped.
    """

    def __init__(self, file: BinaryIO, digest: str) -> None:
        self._file = file
        self._finished: dict[str, dict[str, Any]] = {}
        first, *rest = file.read().split(b"\n")
        if first != digest.encode():
            file.truncate(0)
            file.write(digest.encode() + b"\n")
            return
        for line in rest:
            with contextlib.suppress(ValueError):
                species, result = json.loads(line)
                self._finished[species] = result
        file.write(b"\n")

    @classmethod
    @contextlib.contextmanager
    def open(cls, output: Path, digest: str) -> Iterator[Journal]:
        """Open or create the journal of `output`; it is removed when the block succeeds.

        Ctrl-C becomes Interrupted, which says how to resume. Raises UserError if another process has it open.
        """
        path = output.with_name(f".{output.name}.partial")
        with open(path, "a+b") as file:
            lock(file, f"another process is writing {output}; wait for it, or name another output")
            file.seek(0)
            journal = cls(file, digest)
            try:
                yield journal
            except KeyboardInterrupt:
                raise Interrupted(
                    f"{len(journal._finished):,} finished species are kept in {path}; run the same command "
                    "again to resume"
                ) from None
            except Exception:
                # The next run may have other options.
                path.unlink(missing_ok=True)
                raise
            path.unlink(missing_ok=True)

    def get(self, species: str) -> dict[str, Any] | None:
        """Return the result of a finished species, None for another."""
        return self._finished.get(species)

    def add(self, species: str, result: dict[str, Any]) -> None:
        """Record the result of a species; a kill from then on does not lose it."""
        self._finished[species] = result
        self._file.write(json_text([species, result]).encode() + b"\n")
        self._file.flush()


def inputs_digest(package: Package, files: Mapping[str, Any], options: Any) -> str:
    """Return a digest of a package's tables, of the content of files by option, and of all options."""
    digest = hashlib.sha256(repr(options).encode())
    for table in package.tables.values():
        digest.update(repr(table.columns).encode())
        digest.update(table.hash_rows().to_numpy().tobytes())
    for name, path in sorted(files.items()):
        digest.update(name.encode())
        if path is not None:
            digest.update(Path(path).read_bytes())
    return digest.hexdigest()
