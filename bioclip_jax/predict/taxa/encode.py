"""What text a taxon is embedded by, and its vector."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Int

from bioclip_jax.predict.progress import track
from bioclip_jax.text import Taxon

from .head import Block
from .names import TaxaNames

if TYPE_CHECKING:
    from bioclip_jax.predict.model import Model

# What separates the ranks from the common name: nothing but a blank in BioCLIP's and BioCLIP 2's published
# embeddings, these words in those that TreeOfLife-toolbox's make_txt_embedding.py makes since, with one
# template, as BioCLIP 2.5's.
PLAIN, IN_WORDS = " ", " with common name "
TOOLBOX_TEMPLATES = ("an image of {}.",)
# What the metadata of a head call such texts.
TEXT_TYPES = {
    PLAIN: "known ranks from kingdom to species epithet, then the common name",
    IN_WORDS: "known ranks from kingdom to species epithet, then with common name",
}
# Taxa between two steps of the progress bar.
_CHUNK = 128


class Recipe(NamedTuple):
    """The text of a taxon: the known ranks, `separator` and the common name, in each of `templates`."""

    templates: Sequence[str]
    separator: str = PLAIN

    def text(self, taxon: Taxon) -> str:
        """The text without a template."""
        return self.separator.join(filter(None, (taxon.taxonomic_name, taxon.common_name)))


TOOLBOX = Recipe(TOOLBOX_TEMPLATES, IN_WORDS)


def encode_taxa(
    model: Model, names: TaxaNames, rows: Int[np.ndarray, " n"], recipe: Recipe, description: str
) -> Iterator[Block]:
    """The unit vectors of these rows' taxa: the mean of their texts in all templates, in blocks, with a bar."""
    from bioclip_jax.predict.zero_shot import class_embeddings

    chunks = [rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK)]
    for chunk in track(chunks, description, len(chunks)):
        texts = [recipe.text(names.taxon(int(row))) for row in chunk]
        yield chunk, class_embeddings(model.encode_text, texts, recipe.templates)
