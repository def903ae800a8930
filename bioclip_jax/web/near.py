"""Similar images of an index, with something to look at."""

from __future__ import annotations

import os
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32

from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.images import BadImage, open_image
from bioclip_jax.predict.search import ImageIndex, check_same_model, within_filter

from .photos import make_thumbnail

if TYPE_CHECKING:
    from bioclip_jax.predict import Model

# What is of use to the index only.
_INNER = ("id", "sha256")
# Ranks whose names are good examples of a taxon, the best first.
_EXAMPLES = ("class", "order", "family", "phylum", "kingdom", "genus")


class Near:
    """An ImageIndex for visitors. Which files it shows, the index says, and never a visitor."""

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        """UserError for a folder without an index."""
        self._index = ImageIndex(directory)

    @property
    def model(self) -> str:
        """The MODEL that built the index. UserError where that is unknown, or gone."""
        return self._index.model_for()

    @property
    def transform(self) -> str | None:
        """The transform of the images behind the vectors, by its name; None where that is not known."""
        return self._index.transform

    def check_model(self, model: Model) -> None:
        """UserError for another model, or transform, than that of the index's vectors."""
        given = {"fingerprint": model.fingerprint, "source": model.source, "transform": model.transform}
        check_same_model(self._index.directory, self._index.about, given)

    def example(self) -> str | None:
        """The most frequent class of the images, or another taxon; None where no lineage is known."""
        table = self._index.values(_EXAMPLES)
        counts = (Counter(value for value in table[rank].to_pylist() if value) for rank in _EXAMPLES)
        return next((count.most_common(1)[0][0] for count in counts if count), None)

    def __len__(self) -> int:
        return len(self._index)

    def similar(
        self, vector: Float32[np.ndarray, " embed_dim"], k: int, within: str | None = None
    ) -> list[dict[str, Any]]:
        """The k nearest images, best first: "score", "path" and the columns that are known of each.

        `within`: only those of a taxon, as within_filter. UserError where there are none, with the nearest
        names.
        """
        try:
            where = within_filter(self._index, within.strip()) if within and within.strip() else None
            rows = self._index.search(vector[None], k, where=where)[0]
        except UserError as error:
            # Where the index lies is no business of visitors.
            raise UserError(str(error).replace(f" {self._index.directory}", "")) from None
        return [
            {
                "score": row["score"],
                **{name: value for name, value in row.items() if name not in _INNER and value},
            }
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
