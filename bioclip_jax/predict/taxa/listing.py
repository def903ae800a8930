"""The verb `taxa list`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bioclip_jax.convert import TAXA_FILE, model_files
from bioclip_jax.files import check_outputs
from bioclip_jax.predict.results import check_format, write_rows

from .head import TaxaHead
from .select import within as rows_within

_BLOCK = 10_000


def list_taxa(
    model: str | None = None,
    *,
    taxa: str | os.PathLike[str] | None = None,
    within: str | None = None,
    format: str | None = None,
    output: Path | None = None,
    as_result: bool = False,
) -> dict[str, Any]:
    """Write the taxa of a head in the order of their source, by pybioclip's columns.

    Args: `taxa`, the head's file, or else that of `model` (as open_taxa); `within`, only those of this taxon;
      `format` and `output` as check_format; `as_result`, without an output put the rows into the result
      instead.
    Returns: {"taxa": how many, "about": what the head's file says, "output" or "rows"}.
    Errors: UserError for a head that is not there, and a taxon that is not known.
    """
    if not as_result or output is not None:
        format = check_format(format, output)
    check_outputs({"--output": output}, {"the head of taxa": taxa, "part of the model": model_files(model)})
    head = _open(model, taxa)
    names = head.names if within is None else head.names.taken(rows_within(head.names, within))
    table = names.label_table()

    def rows() -> Iterator[dict[str, str]]:
        for batch in table.to_batches(_BLOCK):
            yield from batch.to_pylist()

    result: dict[str, Any] = {"taxa": len(names), "about": head.about}
    if as_result and output is None:
        return result | {"rows": list(rows())}
    write_rows(rows(), format, output)
    return result | {"output": None if output is None else str(output)}


def _open(model: str | None, taxa: str | os.PathLike[str] | None) -> TaxaHead:
    # The weights are not needed where the file is at hand.
    if taxa is None and model is not None:
        beside = Path(model.removeprefix("local-dir:")).expanduser() / TAXA_FILE
        taxa = beside if beside.is_file() else None
    if taxa is not None:
        return TaxaHead.open(taxa)
    from bioclip_jax.predict.model import load_model

    from .find import open_taxa

    return open_taxa(load_model(model))
