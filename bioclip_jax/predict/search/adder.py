"""Adding to an index what it does not hold yet."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioclip_jax.errors import UserError

from .approximate import bring_up_to_date
from .table import ImageIndex, check_same_model

if TYPE_CHECKING:
    import pyarrow as pa


# A version of the table is written for so many rows, or after so long: that much a build that is killed has
# lost.
_ROWS = 4096
_SECONDS = 30


class Adder:
    """Adds rows to an index, which it makes with the first of them, and counts what becomes of them."""

    def __init__(self, output: Path, index: ImageIndex | None) -> None:
        """`index`: the one at `output`, where it is there already."""
        self._output, self._index = output, index
        self._known = index.known() if index else {}
        self._contents = {content for content in self._known.values() if content}
        self._new: dict[str, Any] = {}
        self._waiting: list[pa.Table] = []
        self._flushed = time.monotonic()
        self._counts = {"added": 0, "replaced": 0, "known": 0}

    def made_by(
        self, dim: int, fingerprint: str, source: str, model: str | None = None, transform: str | None = None
    ) -> None:
        """Says of which model the rows are that follow, as ImageIndex.create. UserError where others are of another,
        or of another transform.
        """
        about = {
            "dim": dim,
            "fingerprint": fingerprint,
            "source": source,
            "model": model,
            "transform": transform,
        }
        held = self._index.about if self._index else self._new
        if held:
            check_same_model(self._output, held, about)
        else:
            self._new = about

    def wanted(self, ids: Sequence[str], contents: Sequence[str | None]) -> list[int]:
        """The places of those to add; the others count as known.

        `contents`: SHA-256, or None where not known. A known id is wanted where its content has changed, and
        a new one where no image of the index has its content.
        """
        places = []
        for place, (id, content) in enumerate(zip(ids, contents)):
            if content is None:
                known = id in self._known
            elif id in self._known:
                known = content == self._known[id]
            else:
                known = content in self._contents
            if known:
                self._counts["known"] += 1
                continue
            places.append(place)
            # What the row held before may come back under another name.
            self._contents.discard(self._known.get(id))
            if content is not None:
                self._contents.add(content)
        return places

    def add(self, rows: pa.Table) -> None:
        """Add rows as make_rows gives them; those with an id that is known take that row's place."""
        self._waiting.append(rows)
        many = sum(map(len, self._waiting)) >= _ROWS
        if many or time.monotonic() - self._flushed > _SECONDS:
            self._flush()

    def finish(self) -> dict[str, Any]:
        """Brings the index up to date. Returns: how many rows were "added", "replaced" and "known", and what
        bring_up_to_date gives.
        """
        self._flush()
        if self._index is None:
            raise UserError(
                f"nothing was added, so there is no index {self._output}; give images that can be read"
            )
        return self._counts | bring_up_to_date(self._index)

    def keep(self) -> int:
        """Writes what was added so far. Returns how many images the index holds."""
        self._flush()
        return len(self._index) if self._index is not None else 0

    def _flush(self) -> None:
        import pyarrow as pa

        if not self._waiting:
            return
        rows = pa.concat_tables(self._waiting, promote_options="default")
        self._waiting, self._flushed = [], time.monotonic()
        if self._index is None:
            self._index = ImageIndex.create(self._output, **self._new)
        ids = rows["id"].to_pylist()
        # Of two rows with one id the later stays: a table holds an id once.
        last = {id: place for place, id in enumerate(ids)}
        for replace in (False, True):
            places = [place for id, place in last.items() if (id in self._known) == replace]
            if places:
                self._index.add(rows.take(pa.array(places)), replace)
            self._counts["replaced" if replace else "added"] += len(places)
        self._known |= dict(zip(ids, rows["sha256"].to_pylist()))
