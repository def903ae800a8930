"""The taxa head of a model, where no file is named."""

from __future__ import annotations

import os

from bioclip_jax.convert import TAXA_FILE
from bioclip_jax.errors import UserError
from bioclip_jax.files import cache_directory
from bioclip_jax.predict.model import Model

from .head import TaxaHead


def open_taxa(model: Model, path: TaxaHead | str | os.PathLike[str] | None = None) -> TaxaHead:
    """The head `path` or in that file, or else the one in the model's directory, or else the Hub's for the model.

    What the Hub has is fetched and converted once, and then taken from the cache. UserError for a head that
    is not there or belongs to another model.
    """
    called = str(model.directory or model.source)
    if isinstance(path, TaxaHead):
        path.check_model(model.fingerprint, called)
        return path
    if path is not None:
        return TaxaHead.open(path, model.fingerprint, called)
    if model.directory is not None and (model.directory / TAXA_FILE).is_file():
        return TaxaHead.open(model.directory / TAXA_FILE, model.fingerprint, called)
    if model.published is not None:
        return _of_hub(model)
    raise UserError(
        f"{model.source} has no taxa to choose from; make them with `bioclip-jax taxa build NAMES --model "
        f"MODEL`, or"
        " give labels with --cls"
    )


def _of_hub(model: Model) -> TaxaHead:
    cached = cache_directory() / "taxa" / f"{model.fingerprint}.published.safetensors"
    if not cached.is_file():
        from .build import build_taxa

        cached.parent.mkdir(parents=True, exist_ok=True)
        build_taxa(None, model, cached)
    return TaxaHead.open(cached, model.fingerprint, model.source)
