"""Reading of the Parquet file that `bioclip-jax embed` writes: vectors, other columns, and images."""

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

from bioclip_jax.errors import UserError, first_line
from bioclip_jax.tables import find_file

if TYPE_CHECKING:
    import pyarrow as pa

    from bioclip_jax.predict import ImageFile

_VECTORS = "emb"
_ADVICE = "give the Parquet of `bioclip-jax embed IMAGES --output FILE.parquet`"
# Rows that are copied at a time.
_CHUNK = 4096
# Without a buffer, the column chunk of a whole row group is read at once.
_BUFFER_BYTES = 1 << 20


def read_vector_table(path: Path) -> tuple[Float32[np.ndarray, "n dim"], pa.Table]:
    """Return the normalized vectors, and the other columns.

    Rows whose vector is null, not finite or all zero are skipped and counted on standard error. Raises
    UserError if the file cannot be read or has no vectors.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.suffix.lower() in (".npy", ".json", ".csv"):
        raise UserError(f"{path} is not a Parquet file, which holds vectors with their columns; {_ADVICE}")
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
        raise UserError(f"{path} is not a readable Parquet file ({first_line(error)}); {_ADVICE}") from None
    if not len(vectors):
        raise UserError(f"{path} has no row with a vector; {_ADVICE}")
    if len(vectors) < len(good):
        print(f"skipped {len(good) - len(vectors):,} rows of {path} without a usable vector", file=sys.stderr)
        columns = columns.filter(pa.array(good))
    return vectors, columns


def _read_vectors(file: Any, path: Path) -> tuple[Float32[np.ndarray, "n dim"], Bool[np.ndarray, " rows"]]:
    """Return the usable vectors in one array, and a mask of their rows.

    Row groups are read in turn, so that the vectors are in memory only once.
    """
    import pyarrow as pa

    kind = file.schema_arrow.field(_VECTORS).type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not is_list or not (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)):
        raise UserError(f"the column {_VECTORS} of {path} holds {kind}, not lists of numbers; {_ADVICE}")
    rows = file.metadata.num_rows
    vectors, good = np.empty((0, 0), np.float32), np.zeros(rows, bool)
    kept = start = 0
    # An iterator keeps its batches until its end, so each row group has its own.
    groups = (file.iter_batches(_CHUNK, [group], [_VECTORS]) for group in range(file.num_row_groups))
    for batch in itertools.chain.from_iterable(groups):
        column = batch.column(0)
        known = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
        column = column.drop_null()
        flat = column.flatten().to_numpy(zero_copy_only=False)
        lengths = column.value_lengths().to_numpy(zero_copy_only=False)
        width = vectors.shape[1] or (int(lengths[0]) if len(lengths) else 0)
        if (lengths != width).any():
            raise UserError(
                f"the column {_VECTORS} of {path} holds vectors of {width} and of "
                f"{lengths[lengths != width][0]} "
                "numbers; write vectors of one model into a file"
            )
        if width and not vectors.shape[1]:
            vectors = np.empty((rows, width), np.float32)
        # In float64 no norm overflows.
        usable, units = normalized(flat.astype(np.float64).reshape(len(known), width))
        vectors[kept : kept + len(units)] = units
        good[start + known[usable]] = True
        kept, start = kept + len(units), start + len(batch)
    return vectors[:kept], good


def normalized(
    vectors: Float32[np.ndarray, "n dim"],
) -> tuple[Bool[np.ndarray, " n"], Float32[np.ndarray, "good dim"]]:
    """Return a mask of the vectors that are finite and not all zero, and these, normalized."""
    lengths = np.linalg.norm(vectors, axis=1)
    usable = np.isfinite(lengths) & (lengths > 0)
    return usable, (vectors[usable] / lengths[usable, None]).astype(np.float32)


def read_picture(paths: Sequence[str | None], row: int, folder: Path) -> bytes | None:
    """Return the encoded image at a row's path, a file or TAR/MEMBER; None if there is none.

    A relative path is looked up in the current folder, then in `folder`.
    """
    name = paths[row] if row < len(paths) else None
    for start in (Path(), folder) if name else ():
        path = find_file(start, name)
        try:
            if os.path.isfile(path):
                return Path(path).read_bytes()
            # A folder may be named *.tar too, so the part before ".tar/" must be a file.
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
