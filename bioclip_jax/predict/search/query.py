"""Search an index for the images most similar to images or texts (`index search`)."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32

from bioclip_jax.convert import model_files
from bioclip_jax.errors import UserError, did_you_mean
from bioclip_jax.files import check_not_read, check_output, files_below
from bioclip_jax.predict.embedding import blocks
from bioclip_jax.predict.inputs import find_images
from bioclip_jax.predict.progress import FailureLog, report_truncated, track
from bioclip_jax.predict.results import check_format, write_empty, write_rows

from .table import LINEAGE, ImageIndex, check_same_model, quoted

if TYPE_CHECKING:
    from bioclip_jax.predict.model import Model

# Columns with the name of a taxon at each rank.
_NAMES = tuple(name for name in LINEAGE if name not in ("species_epithet", "common_name"))


def search_index(
    directory: str | os.PathLike[str],
    queries: Sequence[str | os.PathLike[str]] = (),
    model: str | None = None,
    *,
    texts: Sequence[str] = (),
    k: int = 10,
    within: str | None = None,
    where: str | None = None,
    exact: bool = False,
    format: str | None = None,
    output: Path | None = None,
    as_result: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """Write the `k` images nearest to each of `queries` (as find_images) and to each text.

    model: None takes the one that built the index. within: only images of this taxon, of any rank. where:
    only images that match this filter (as ImageIndex.check_filter). exact: compare all vectors, as for texts.
    format, output: as check_format. as_result: without an output, return the rows instead of printing them.
    options: as load_model.
    Rows: "query" (path or text), "rank" from 1, "path", "score" (the cosine), and LINEAGE.
    Returns: {"queries", "unreadable", "truncated", and "output" or "neighbours"}.
    Errors: UserError for invalid arguments (before the model is loaded), and for a model other than the
      index's.
    """
    output = None if output is None else Path(output)
    if not as_result or output is not None:
        format = check_format(format, output)
    check_output(output)
    if k < 1:
        raise UserError(f"--k is {k}; it must be at least 1")
    if not queries and not texts:
        raise UserError("there is no query; give images, or a text with --text")
    index = ImageIndex(directory)
    conditions = []
    if where is not None:
        index.check_filter(where)
        conditions.append(f"({where})")
    if within is not None:
        conditions.append(within_filter(index, within))
    images = find_images(queries) if queries else []
    read = {"an input": itertools.chain(queries, (image.path for image in images))}
    read |= {"part of the model": model_files(model), "part of the index": files_below(index.directory)}
    check_not_read({"--output": output}, read)
    model = index.model_for(model)

    # Imports JAX, once all arguments are checked.
    from bioclip_jax.predict.model import load_model

    transform = options.pop("transform", None) or index.transform
    # The precision need not be the index's: vectors of both are close enough to be compared.
    loaded = load_model(model, transform=transform, **options)
    given = {"fingerprint": loaded.fingerprint, "source": loaded.source}
    if images:
        given["transform"] = loaded.transform
    check_same_model(index.directory, index.about, given)
    failures = FailureLog(len(images) + len(texts))
    filter_ = " AND ".join(conditions) or None
    to_stdout = output is None and not as_result

    def rows() -> Iterator[dict[str, Any]]:
        for names, vectors, are_texts in _encode_queries(loaded, images, texts, failures, to_stdout):
            # Texts are far from all images, so the partitions of an approximate index are a poor guide.
            results = index.search(
                vectors, k, where=filter_, exact=exact or are_texts, columns=["path", *LINEAGE]
            )
            for name, neighbors in zip(names, results):
                for rank, row in enumerate(neighbors, 1):
                    lineage = {column: row[column] or "" for column in LINEAGE}
                    yield {"query": name, "rank": rank, "path": row["path"], "score": row["score"], **lineage}

    result: dict[str, Any] = {"queries": len(images) + len(texts)}
    if as_result and output is None:
        result["neighbours"] = list(rows())
    else:
        if not write_rows(rows(), format, output) and output is not None:
            # So that an older file is not mistaken for it.
            names = ["query", "rank", "path", "score", *LINEAGE]
            write_empty(names, format, output, {"rank": "int64", "score": "float64"})
        result["output"] = None if output is None else str(output)
    return result | {
        "unreadable": failures.problems,
        "truncated": report_truncated(loaded.embedder.truncated),
    }


def within_filter(index: ImageIndex, taxon: str) -> str:
    """Return the filter for images of a taxon of any rank, in any case; a species is "Genus epithet".

    Raises UserError if the index holds none, with similar names.
    """
    condition = (
        "(" + " OR ".join(f"lower(`{name}`) = {quoted(taxon.strip().lower())}" for name in _NAMES) + ")"
    )
    if index.check_filter(condition):
        return condition
    table = index.values(_NAMES)
    names = [name for column in table.columns for name in column.unique().to_pylist() if name]
    hint = did_you_mean(taxon, names, "give a name from the columns of the index", n=3)
    raise UserError(f"the index {index.directory} holds no image of {taxon!r}{hint}")


def _encode_queries(
    model: Model, images: Sequence[Any], texts: Sequence[str], failures: FailureLog, to_stdout: bool
) -> Iterator[tuple[list[str], Float32[np.ndarray, "rows embed_dim"], bool]]:
    """Yield names and vectors of the queries, images first, with True for texts."""
    if images:
        tracked = track(images, "searching", len(images), results_on_stdout=to_stdout)
        for indices, features in model.embedder.stream(tracked, failures):
            yield [images[index].name for index in indices], features, False
    for chunk in blocks(texts):
        yield chunk, model.encode_text(chunk), True
