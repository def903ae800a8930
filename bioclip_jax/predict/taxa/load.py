"""Load the taxon embeddings of a model, and list their taxa."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioclip_jax.convert import TAXA_FILE, local_path, model_files
from bioclip_jax.errors import UserError
from bioclip_jax.files import cache_directory, check_outputs

from .embeddings import TaxonEmbeddings
from .filter import rows_within
from .names import TaxaNames

if TYPE_CHECKING:
    from bioclip_jax.predict.model import Model

_BLOCK = 10_000


def open_taxa(model: Model, taxa: TaxonEmbeddings | str | os.PathLike[str] | None = None) -> TaxonEmbeddings:
    """Open the taxon embeddings of a model: `taxa`, those in the model's directory, or the Hub's.

    The Hub's are downloaded and converted once, then cached. Raises UserError if there are none, or if they
    belong to another model.
    """
    name = str(model.directory or model.source)
    if isinstance(taxa, TaxonEmbeddings):
        taxa.check_model(model.fingerprint, name)
        return taxa
    if taxa is not None:
        return TaxonEmbeddings.open(taxa, model.fingerprint, name)
    if model.directory is not None and (model.directory / TAXA_FILE).is_file():
        return TaxonEmbeddings.open(model.directory / TAXA_FILE, model.fingerprint, name)
    if model.published is not None:
        return _open_published(model)
    raise UserError(
        f"{model.source} has no taxa to choose from; build them with "
        "`bioclip-jax taxa build NAMES --model MODEL`, or give labels with --cls"
    )


def _open_published(model: Model) -> TaxonEmbeddings:
    cached = cache_directory() / "taxa" / f"{model.fingerprint}.published.safetensors"
    if not cached.is_file():
        from .build import build_taxa

        cached.parent.mkdir(parents=True, exist_ok=True)
        build_taxa(None, model, cached)
    return TaxonEmbeddings.open(cached, model.fingerprint, model.source)


def list_taxa(
    model: str | None = None,
    *,
    taxa: str | os.PathLike[str] | None = None,
    within: str | None = None,
    format: str | None = None,
    output: Path | None = None,
    as_result: bool = False,
) -> dict[str, Any]:
    """Write the taxa of embeddings in the order of their source, in pybioclip's columns (`taxa list`).

    taxa: file of the embeddings; None takes those of `model` (as open_taxa). within: only taxa of this one.
    format, output: as check_format. as_result: without an output, return the rows instead of printing them.
    Returns: {"taxa": their number, "about": metadata of the file, "output" or "rows"}.
    Errors: UserError for absent embeddings and an unknown taxon.
    """
    from bioclip_jax.predict.results import check_format, write_rows

    if not as_result or output is not None:
        format = check_format(format, output)
    check_outputs(
        {"--output": output}, {"the taxa embeddings": taxa, "part of the model": model_files(model)}
    )
    embeddings = _open_without_model(model, taxa)
    names = embeddings.names
    if within is not None:
        names = names.take(rows_within(names, within))
    table = names.label_table()

    def rows() -> Iterator[dict[str, str]]:
        for batch in table.to_batches(_BLOCK):
            yield from batch.to_pylist()

    result: dict[str, Any] = {"taxa": len(names), "about": embeddings.about}
    if as_result and output is None:
        return result | {"rows": list(rows())}
    write_rows(rows(), format, output)
    return result | {"output": None if output is None else str(output)}


def open_names(model: str) -> TaxaNames:
    """Return the names of a model's taxa; its weights are read only where they are needed to find them."""
    return _open_without_model(model, None).names


def _open_without_model(model: str | None, taxa: str | os.PathLike[str] | None) -> TaxonEmbeddings:
    # With a local file, the weights need not be loaded.
    if taxa is None and model is not None:
        in_directory = local_path(model) / TAXA_FILE
        taxa = in_directory if in_directory.is_file() else None
    if taxa is not None:
        return TaxonEmbeddings.open(taxa)
    from bioclip_jax.predict.model import load_model

    return open_taxa(load_model(model))
