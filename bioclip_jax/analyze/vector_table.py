"""The Parquet file that `bioclip-jax embed` writes: its vectors, its other columns, and the images that it names."""

from __future__ import annotations

import itertools
import os
import re
import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float32

from bioclip_jax.errors import UserError
from bioclip_jax.tables import find_file

if TYPE_CHECKING:
    import pyarrow as pa

    from bioclip_jax.predict import ImageFile

_VECTORS = "emb"
_ADVICE = "give the Parquet of `bioclip-jax embed IMAGES --output FILE.parquet`"
# Rows that are in memory more than once while they are read.
_CHUNK = 4096
# Without a buffer of its own a column of vectors is read whole, however large its group is.
_BUFFER_BYTES = 1 << 20


def read_vector_table(path: Path) -> tuple[Float32[np.ndarray, "n dim"], pa.Table]:
    """The vectors at length 1, and the other columns, a row a vector.

    Rows without a vector that has a direction (null, not finite, or all zero) are left out and counted on
    standard error. UserError if the file cannot be read or has no vectors.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.suffix.lower() in (".npy", ".json", ".csv"):
        raise UserError(
            f"{path} is no Parquet file, which is what keeps vectors beside their columns; {_ADVICE}"
        )
    try:
        with pq.ParquetFile(path, buffer_size=_BUFFER_BYTES) as file:
            names = file.schema_arrow.names
            if _VECTORS not in names:
                raise UserError(
                    f"{path} has no column {_VECTORS}, only {', '.join(names) or 'nothing'}; {_ADVICE}"
                )
            vectors, good = _read_vectors(file, path)
            columns = file.read(columns=[name for name in names if name != _VECTORS])
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; {_ADVICE}") from None
    except (pa.ArrowException, OSError) as error:
        raise UserError(
            f"{path} is not a readable Parquet file ({str(error).splitlines()[0]}); {_ADVICE}"
        ) from None
    if not len(vectors):
        raise UserError(f"{path} has no row with a vector; {_ADVICE}")
    if len(vectors) < len(good):
        print(
            f"left out: {len(good) - len(vectors):,} rows of {path} without a usable vector", file=sys.stderr
        )
        columns = columns.filter(pa.array(good))
    return vectors, columns


def _read_vectors(file: Any, path: Path) -> tuple[Float32[np.ndarray, "n dim"], Bool[np.ndarray, " rows"]]:
    """The usable vectors of all rows in one array, and which rows they are of; group by group, so that they
    are in memory once.
    """
    import pyarrow as pa

    kind = file.schema_arrow.field(_VECTORS).type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not is_list or not (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)):
        raise UserError(f"the column {_VECTORS} of {path} holds {kind}, not lists of numbers; {_ADVICE}")
    rows = file.metadata.num_rows
    found, good = np.empty((0, 0), np.float32), np.zeros(rows, bool)
    kept = start = 0
    # An iterator keeps all batches that it gave until its end, so each row group has one of its own.
    groups = (file.iter_batches(_CHUNK, [group], [_VECTORS]) for group in range(file.num_row_groups))
    for batch in itertools.chain.from_iterable(groups):
        column = batch.column(0)
        known = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
        column = column.drop_null()
        flat = column.flatten().to_numpy(zero_copy_only=False)
        lengths = column.value_lengths().to_numpy(zero_copy_only=False)
        width = found.shape[1] or (int(lengths[0]) if len(lengths) else 0)
        if (lengths != width).any():
            raise UserError(
                f"the column {_VECTORS} of {path} holds vectors of {width} and of "
                f"{lengths[lengths != width][0]} "
                "numbers; write vectors of one model into a file"
            )
        if width and not found.shape[1]:
            found = np.empty((rows, width), np.float32)
        # In float64 no length runs over.
        vectors = flat.astype(np.float64).reshape(len(known), width)
        usable, vectors = normalized(vectors)
        found[kept : kept + len(vectors)] = vectors
        good[start + known[usable]] = True
        kept, start = kept + len(vectors), start + len(batch)
    return found[:kept], good


def normalized(
    vectors: Float32[np.ndarray, "n dim"],
) -> tuple[Bool[np.ndarray, " n"], Float32[np.ndarray, "good dim"]]:
    """Which vectors are finite and not all zero, and those at length 1."""
    lengths = np.linalg.norm(vectors, axis=1)
    usable = np.isfinite(lengths) & (lengths > 0)
    return usable, (vectors[usable] / lengths[usable, None]).astype(np.float32)


def read_picture(paths: Sequence[str | None], row: int, folder: Path) -> bytes | None:
    """The encoded image at a row's path, a file's or TAR/MEMBER; None if there is none.

    A path starts from the current folder, or else from `folder`.
    """
    name = paths[row] if row < len(paths) else None
    for start in (Path(), folder) if name else ():
        path = find_file(start, name)
        try:
            if os.path.isfile(path):
                return Path(path).read_bytes()
            # Whatever a folder is called: what lies before the last ".tar/" must be a file.
            for end in reversed([match.start() + 4 for match in re.finditer(r"\.tar/", path, re.IGNORECASE)]):
                if os.path.isfile(path[:end]):
                    return _members(os.path.abspath(path[:end]))[path[end + 1 :]].read()
        except (OSError, KeyError, ValueError, UserError):
            continue
    return None


@lru_cache(maxsize=64)
def _members(tar: str) -> dict[str, ImageFile]:
    from bioclip_jax.predict import find_images

    return {image.name[len(tar) + 1 :]: image for image in find_images([tar])}
