"""Texts of taxa, and their embeddings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Int

from bioclip_jax.predict.progress import track
from bioclip_jax.text import Taxon

from .embeddings import Block
from .names import TaxaNames

if TYPE_CHECKING:
    from bioclip_jax.predict.model import Model

# Separator of ranks and common name: a space in the published embeddings of BioCLIP and BioCLIP 2, words in
# those of TreeOfLife-toolbox's make_txt_embedding.py since, with one template, as for BioCLIP 2.5.
PLAIN, IN_WORDS = " ", " with common name "
TOOLBOX_TEMPLATES = ("an image of {}.",)
# Descriptions of the texts in a file's metadata, by separator.
TEXT_TYPES = {
    PLAIN: "known ranks from kingdom to species epithet, then the common name",
    IN_WORDS: "known ranks from kingdom to species epithet, then with common name",
}
# Taxa per step of the progress bar.
_CHUNK = 128


class Recipe(NamedTuple):
    """Text of a taxon: its known ranks, `separator` and the common name, in each of `templates`."""

    templates: Sequence[str]
    separator: str = PLAIN

    def text(self, taxon: Taxon) -> str:
        """Return the text without a template."""
        return self.separator.join(filter(None, (taxon.taxonomic_name, taxon.common_name)))


TOOLBOX = Recipe(TOOLBOX_TEMPLATES, IN_WORDS)


def encode_taxa(
    model: Model, names: TaxaNames, rows: Int[np.ndarray, " n"], recipe: Recipe, description: str
) -> Iterator[Block]:
    """Yield blocks of unit vectors, each taxon's mean over all templates, with a progress bar."""
    from bioclip_jax.predict.zero_shot import class_embeddings

    chunks = [rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK)]
    for chunk in track(chunks, description, len(chunks)):
        texts = [recipe.text(names.taxon(int(row))) for row in chunk]
        yield chunk, class_embeddings(model.encode_text, texts, recipe.templates)
