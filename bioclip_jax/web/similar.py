"""Similar images for visitors: an index that hides its folder, and thumbnails of its images."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float32

from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.images import BadImage, open_image
from bioclip_jax.predict import Model
from bioclip_jax.predict.search import ImageIndex, check_same_model, within_filter

from .photos import make_thumbnail

Row = dict[str, Any]

# Columns of an index that are not shown.
_HIDDEN_COLUMNS = ("id", "sha256")
# Ranks for the example of a taxon, best first.
_EXAMPLE_RANKS = ("class", "order", "family", "phylum", "kingdom", "genus")


class SimilarImages:
    """An ImageIndex for visitors; only the index chooses which files the server opens."""

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        """Open the index. Raises UserError for a folder without one."""
        self._index = ImageIndex(directory)

    @property
    def images(self) -> ImageIndex:
        """The index itself."""
        return self._index

    @property
    def model(self) -> str:
        """MODEL that built the index. Raises UserError if it is unknown or missing."""
        return self._index.model_for()

    @property
    def transform(self) -> str | None:
        """Name of the transform behind the vectors; None if unknown."""
        return self._index.transform

    def check_model(self, model: Model) -> None:
        """Raise UserError if the index's vectors are of another model or transform."""
        given = {"fingerprint": model.fingerprint, "source": model.source, "transform": model.transform}
        check_same_model(self._index.directory, self._index.about, given)

    def example_taxon(self) -> str | None:
        """Most frequent class of the images, or another taxon; None if the index has no lineages."""
        table = self._index.values(_EXAMPLE_RANKS)
        counts = (Counter(value for value in table[rank].to_pylist() if value) for rank in _EXAMPLE_RANKS)
        return next((count.most_common(1)[0][0] for count in counts if count), None)

    def __len__(self) -> int:
        return len(self._index)

    def search(
        self, vector: Float32[np.ndarray, " embed_dim"], k: int, within: str | None = None
    ) -> list[Row]:
        """Return the k nearest images, best first: "score", "path" and the known columns of each.

        within: only images of that taxon, as within_filter. Raises UserError with the nearest names if there
        are none.
        """
        try:
            where = within_filter(self._index, within.strip()) if within and within.strip() else None
            rows = self._index.search(vector[None], k, where=where)[0]
        except UserError as error:
            # Visitors must not learn the index's folder.
            raise UserError(str(error).replace(f" {self._index.directory}", "")) from None
        return [{"score": row["score"], **shown_columns(row)} for row in rows]


def shown_columns(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of an index's row that have a value and that visitors see."""
    return {name: value for name, value in row.items() if name not in _HIDDEN_COLUMNS and value}


@lru_cache(maxsize=512)
def indexed_thumbnail(path: str) -> bytes | None:
    """Thumbnail of an image that the index names; None if its file is gone or unreadable."""
    try:
        with open(path, "rb") as file:
            return make_thumbnail(open_image(file.read()))
    except (BadImage, OSError):
        return None
