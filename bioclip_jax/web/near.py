"""Similar images of an index, with something to look at."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float32

from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.images import BadImage, open_image
from bioclip_jax.predict.search.query import within_filter
from bioclip_jax.predict.search.table import ImageIndex
from bioclip_jax.web.photos import make_thumbnail

# What is of use to the index only.
_INNER = ("id", "sha256")


class Near:
    """An ImageIndex for visitors. Which files it shows, the index says, and never a visitor."""

    def __init__(self, directory: str | os.PathLike[str], fingerprint: str) -> None:
        """UserError for a folder without an index, or one of another model."""
        self._index = ImageIndex(directory, fingerprint)

    def __len__(self) -> int:
        return len(self._index)

    def similar(
        self, vector: Float32[np.ndarray, " embed_dim"], k: int, within: str | None = None
    ) -> list[dict[str, Any]]:
        """The k nearest images, best first: "score", "path" and the columns that are known of each.

        `within`: only those of a taxon, as within_filter. UserError where there are none, with the nearest names.
        """
        try:
            where = within_filter(self._index, within.strip()) if within and within.strip() else None
            rows = self._index.search(vector[None], k, where=where)[0]
        except UserError as error:
            # Where the index lies is no business of visitors.
            raise UserError(str(error).replace(f" {self._index.directory}", "")) from None
        return [
            {"score": row["score"], **{name: value for name, value in row.items() if name not in _INNER and value}}
            for row in rows
        ]


@lru_cache(maxsize=512)
def thumbnail_of(path: str) -> bytes | None:
    """A small JPEG of an image that the index names; None where its file is not there any more."""
    try:
        with open(path, "rb") as file:
            return make_thumbnail(open_image(file.read()))
    except (BadImage, OSError):
        return None
