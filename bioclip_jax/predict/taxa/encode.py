"""What text a taxon is embedded by, and its vector."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int

from bioclip_jax.predict.progress import track
from bioclip_jax.predict.taxa.head import Block
from bioclip_jax.predict.taxa.names import TaxaNames
from bioclip_jax.text.taxon import Taxon

if TYPE_CHECKING:
    from bioclip_jax.predict.model import Model

# What the metadata of a head call such texts.
TEXT_TYPE = "known ranks from kingdom to species epithet, then the common name"
# Taxa between two steps of the progress bar.
_CHUNK = 128


def taxon_text(taxon: Taxon) -> str:
    """The known ranks and the common name, joined by blanks, as the published embeddings of BioCLIP have them.

    Unlike in training captions there is no "with common name".
    """
    return f"{taxon.taxonomic_name} {taxon.common_name}".strip()


def encode_taxa(
    model: Model, names: TaxaNames, rows: Int[np.ndarray, " n"], templates: Sequence[str], description: str
) -> Iterator[Block]:
    """The unit vectors of these rows' taxa: the mean of their texts in all `templates`, in blocks, with a bar."""
    from bioclip_jax.predict.head import class_embeddings

    chunks = [rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK)]
    for chunk in track(chunks, description, len(chunks)):
        texts = [taxon_text(names.taxon(int(row))) for row in chunk]
        yield chunk, class_embeddings(model.encode_text, texts, templates)
