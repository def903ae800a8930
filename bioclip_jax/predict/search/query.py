"""The verb `index search`: the images of an index that are most like others, or fit a text."""

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
from bioclip_jax.files import atomic_write, check_not_read, check_output, files_below
from bioclip_jax.predict.embedding import blocks
from bioclip_jax.predict.inputs import find_images
from bioclip_jax.predict.progress import FailureLog, report_truncated, track
from bioclip_jax.predict.results import check_format, open_text, separator, write_rows

from .table import LINEAGE, ImageIndex, check_same_model, quoted

if TYPE_CHECKING:
    from bioclip_jax.pipeline.images import ReadOptions
    from bioclip_jax.predict.model import Model

# A taxon's name may stand in any of these.
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
    batch_size: int | None = None,
    device: str | None = None,
    pretrained: str | None = None,
    transform: str | None = None,
    reading: ReadOptions | None = None,
    as_result: bool = False,
) -> dict[str, Any]:
    """Write the `k` images of an index that are nearest to each image of `queries` (as find_images) and each text.

    Args: `model`: None for the one that built the index; `within`: images of this taxon, at any rank;
      `where`: only those that this filter selects (as ImageIndex.check_filter); `exact`: compare all vectors,
      as is done for texts; `format` and `output` as check_format; `as_result`, without an output put the rows
      into the result instead of writing them.
    Rows: "query" (path or text), "rank" from 1, "path", "score" (the cosine), and LINEAGE.
    Returns: {"queries", "unreadable", "truncated", and "output" or "neighbours"}.
    Errors: UserError for wrong arguments, before the model is loaded, and for a model that is not the
    index's.
    """
    output = None if output is None else Path(output)
    if not as_result or output is not None:
        format = check_format(format, output)
    check_output(output)
    if k < 1:
        raise UserError(f"--k is {k}; it must be at least 1")
    if not queries and not texts:
        raise UserError("there is nothing to search for; give images, or a text with --text")
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

    # JAX is loaded once there is something to do.
    from bioclip_jax.predict.model import load_model

    how = {"pretrained": pretrained, "device": device, "batch_size": batch_size}
    loaded = load_model(model, transform=transform or index.transform, reading=reading, **how)
    given = {"fingerprint": loaded.fingerprint, "source": loaded.source}
    check_same_model(
        index.directory, index.about, given | ({"transform": loaded.transform} if images else {})
    )
    unreadable = FailureLog(len(images) + len(texts))

    def rows() -> Iterator[dict[str, Any]]:
        how = {"k": k, "where": " AND ".join(conditions) or None, "columns": ["path", *LINEAGE]}
        to_stdout = output is None and not as_result
        for names, vectors, of_texts in _vectors(loaded, images, texts, unreadable, to_stdout):
            # Texts lie far from all images, where the partitions of an approximate index tell little.
            for name, found in zip(names, index.search(vectors, exact=exact or of_texts, **how)):
                for rank, row in enumerate(found, 1):
                    lineage = {column: row[column] or "" for column in LINEAGE}
                    yield {"query": name, "rank": rank, "path": row["path"], "score": row["score"], **lineage}

    result: dict[str, Any] = {"queries": len(images) + len(texts)}
    if as_result and output is None:
        result["neighbours"] = list(rows())
    else:
        if not write_rows(rows(), format, output) and output is not None:
            _write_no_row(format, output)
        result["output"] = None if output is None else str(output)
    return result | {
        "unreadable": unreadable.problems,
        "truncated": report_truncated(loaded.embedder.truncated),
    }


def _write_no_row(format: str, output: Path) -> None:
    """A result without a row, so that nobody takes an older file for it."""
    names = ["query", "rank", "path", "score", *LINEAGE]
    with atomic_write(output) as path:
        if format == "parquet":
            import pyarrow as pa
            import pyarrow.parquet as pq

            types = {"rank": pa.int64(), "score": pa.float64()}
            pq.write_table(
                pa.schema([(name, types.get(name, pa.string())) for name in names]).empty_table(), path
            )
        else:
            text = {"json": "[]", "csv": separator(output).join(names)}.get(format, "  ".join(names))
            with open_text(path) as file:
                file.write(text + "\n")


def within_filter(index: ImageIndex, taxon: str) -> str:
    """The filter for all images of a taxon of any rank and in any case, a species as "Genus epithet".

    UserError where the index holds none, with the nearest names that it holds.
    """
    condition = (
        "(" + " OR ".join(f"lower(`{name}`) = {quoted(taxon.strip().lower())}" for name in _NAMES) + ")"
    )
    if index.check_filter(condition):
        return condition
    table = index.values(_NAMES)
    names = [name for column in table.columns for name in column.unique().to_pylist() if name]
    hint = did_you_mean(taxon, names, "give a name as the index's own columns have it", n=3)
    raise UserError(f"the index {index.directory} holds no image of {taxon!r}{hint}")


def _vectors(
    model: Model, images: Sequence[Any], texts: Sequence[str], unreadable: FailureLog, to_stdout: bool
) -> Iterator[tuple[list[str], Float32[np.ndarray, "rows embed_dim"], bool]]:
    """Names and vectors of the queries, images first, and whether they are texts."""
    if images:
        tracked = track(images, "searching", len(images), results_on_stdout=to_stdout)
        for places, features in model.embedder.stream(tracked, unreadable):
            yield [images[place].name for place in places], features, False
    for chunk in blocks(texts):
        yield chunk, model.encode_text(chunk), True
