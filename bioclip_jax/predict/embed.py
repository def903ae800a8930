"""The verb `embed`: one unit vector an image, as NumPy, Parquet or JSON."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from bioclip_jax.errors import UserError
from bioclip_jax.predict.inputs import ImageFile, find_images
from bioclip_jax.predict.progress import Unreadable, track
from bioclip_jax.predict.results import check_output, written_beside

Batches = Iterable[tuple[list[ImageFile], Float32[np.ndarray, "rows embed_dim"]]]

SUFFIXES = (".npy", ".parquet", ".json")


def embed(
    inputs: Sequence[str | os.PathLike[str]], model: str, output: Path, *, batch_size: int | None = None
) -> dict[str, Any]:
    """Write the unit vectors of the images that `inputs` name (as find_images), in their order.

    The suffix of `output` says how. .npy: float32 [n, dim]. .parquet: columns uuid (that of a shard's sample, else
    made from the path), emb (dim float32) and path. .json: pybioclip's {"model", "embeddings": {path: [...]}}, with
    "normalized": true, because pybioclip's own are not.

    Returns: {"images", "embed_dim", "output", "unreadable"}. An image that cannot be read is named on standard error
      and left out.
    Errors: UserError for wrong arguments, before the model is loaded, and where no image can be read.
    """
    output = Path(output)
    if output.suffix not in SUFFIXES:
        raise UserError(f"the output {output} does not say its format; end it in {', '.join(SUFFIXES)}")
    check_output(output)
    images = find_images(inputs)

    # JAX is loaded once there is something to do.
    from bioclip_jax.predict.model import load_model

    loaded = load_model(model, batch_size=batch_size)
    unreadable = Unreadable(len(images))

    def batches() -> Iterator[tuple[list[ImageFile], Float32[np.ndarray, "rows embed_dim"]]]:
        for places, features in loaded.embedder.stream(track(images, "embedding", len(images)), unreadable):
            yield [images[place] for place in places], features

    with written_beside(output) as path:
        _WRITERS[output.suffix](batches(), path, loaded.source)
    return {
        "images": len(images),
        "embed_dim": loaded.config.embed_dim,
        "output": str(output),
        "unreadable": unreadable.problems,
    }


def sample_uuid(image: ImageFile) -> str:
    """The UUID that the file is named by, as in TreeOfLife shards, or else one made from its absolute path."""
    try:
        return str(uuid.UUID(Path(image.name).stem))
    except ValueError:
        member = image.name.removeprefix(image.path)
        return str(uuid.uuid5(uuid.NAMESPACE_URL, Path(image.path).absolute().as_uri() + member))


def _write_npy(batches: Batches, path: Path, source: str) -> None:
    np.save(path, np.concatenate([features for _, features in batches]))


def _write_parquet(batches: Batches, path: Path, source: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer = None
    try:
        for images, features in batches:
            table = pa.table(
                {
                    "uuid": [sample_uuid(image) for image in images],
                    "emb": pa.FixedSizeListArray.from_arrays(pa.array(features.ravel()), features.shape[1]),
                    "path": [image.name for image in images],
                }
            )
            about = {"model": source, "normalized": "true"}
            writer = writer or pq.ParquetWriter(path, table.schema.with_metadata(about))
            writer.write_table(table.cast(writer.schema))
    finally:
        if writer is not None:
            writer.close()


def _write_json(batches: Batches, path: Path, source: str) -> None:
    vectors = {image.name: row.tolist() for images, features in batches for image, row in zip(images, features)}
    path.write_text(json.dumps({"model": source, "normalized": True, "embeddings": vectors}) + "\n")


_WRITERS = {".npy": _write_npy, ".parquet": _write_parquet, ".json": _write_json}
