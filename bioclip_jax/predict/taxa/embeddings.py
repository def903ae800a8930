"""Taxon embeddings: text vectors and names of taxa in one memory-mapped file.

The file is in the safetensors format. Tensors:

    embeddings  [taxa, dim]  float32, float16 or int8, aligned to 4096 bytes for XLA's zero-copy transfer
    scales      [taxa]       float32, with int8 only: a row's vector is its scale times its integers
    padding     [0..63]      uint8, to align the names
    names       [bytes]      uint8: an Arrow IPC file of the table of TaxaNames

The metadata describe the vectors, and hold the fingerprint of their model.
"""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Float32, Int, Shaped

from bioclip_jax.errors import UserError, first_line
from bioclip_jax.files import atomic_write

from .names import COLUMNS, TaxaNames

FORMAT = "bioclip_jax taxa"
VERSION = "1"
# Metadata key: number of taxa whose vector is zero, as in some published embeddings.
WITHOUT_VECTOR = "without_vector"
DTYPES = {"float32": "F32", "float16": "F16", "int8": "I8"}

# Row indices, in any order, and their unit vectors.
Block = tuple[Int[np.ndarray, " rows"], Float32[np.ndarray, "rows dim"]]

_ALIGNMENT = 4096
_NAMES_ALIGNMENT = 64
_MAX_HEADER = 1 << 24


class TaxonEmbeddings:
    """Memory-mapped vectors of N taxa, and their names.

    names: TaxaNames. dtype: stored type of the vectors, a key of DTYPES. dim: their length. fingerprint: of
    their model. about: the file's metadata. path: the file.
    """

    def __init__(
        self, path: Path, mapping: mmap.mmap, tensors: Mapping[str, Any], about: dict[str, str]
    ) -> None:
        """Use `open`."""
        self.path = path
        self.about = about
        self.fingerprint = about["fingerprint"]
        self._mapping = mapping
        self._embeddings = tensors["embeddings"]
        self._scales = tensors.get("scales")
        self.names: TaxaNames = tensors["names"]
        self.dtype = str(self._embeddings.dtype)
        self.dim: int = self._embeddings.shape[1]

    def __len__(self) -> int:
        return len(self.names)

    def block(
        self, start: int, stop: int
    ) -> tuple[Shaped[np.ndarray, "rows dim"], Float32[np.ndarray, " rows"] | None]:
        """Return the stored vectors of rows `start` to `stop` - 1, and with int8 their scales, as views."""
        return self._embeddings[start:stop], None if self._scales is None else self._scales[start:stop]

    def rows(self, indices: Int[np.ndarray, " n"]) -> Float32[np.ndarray, "n dim"]:
        """Return a copy of the vectors of these rows, in float32."""
        vectors = self._embeddings[indices].astype(np.float32)
        return vectors if self._scales is None else vectors * self._scales[indices, None]

    def drop_pages(self) -> None:
        """Release the pages read so far, which otherwise count as this process's memory; views stay valid."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self._mapping.madvise(mmap.MADV_DONTNEED)

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], fingerprint: str | None = None, model: str | None = None
    ) -> TaxonEmbeddings:
        """Map the file `path`.

        fingerprint: of the expected model, None for any; model: its name in messages.
        Raises UserError for a file that is absent, not of this format, damaged, of another version or model.
        """
        path = Path(path)
        try:
            with open(path, "rb") as file:
                mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except FileNotFoundError:
            raise UserError(
                f"the taxon embeddings {path} do not exist; build them with `bioclip-jax taxa build`"
            ) from None
        except (ValueError, IsADirectoryError):  # an empty file cannot be mapped
            raise _wrong_format(path) from None
        entries, about, offset = _read_header(path, mapping)
        embeddings = cls(path, mapping, _read_tensors(path, mapping, entries, offset), about)
        if fingerprint is not None:
            embeddings.check_model(fingerprint, model)
        return embeddings

    def check_model(self, fingerprint: str, model: str | None = None) -> None:
        """Raise UserError unless the embeddings are of the model with `fingerprint`, named `model`."""
        if self.fingerprint != fingerprint:
            expected = f"{model} ({fingerprint[:8]})" if model else f"the model {fingerprint[:8]}"
            raise UserError(
                f"{self.path} belongs to the model {self.about.get('model', '')} ({self.fingerprint[:8]}), "
                f"not to {expected}; build them with `bioclip-jax taxa build NAMES --model "
                f"{model or 'MODEL'}`"
            )

    @staticmethod
    def write(
        path: Path,
        names: TaxaNames,
        blocks: Iterable[Block],
        *,
        dim: int,
        fingerprint: str,
        dtype: str = "float32",
        about: Mapping[str, str] | None = None,
    ) -> None:
        """Write the file atomically, block by block.

        blocks: rows of `names` and their unit vectors, every row once, in any order (ascending is fastest).
        dtype: of DTYPES. about: further metadata, such as "model", the origin of the model.
        Errors: ValueError for a missing or repeated row; UserError as atomic_write.
        """
        count = len(names)
        metadata = {
            "format": FORMAT,
            "version": VERSION,
            "taxa": str(count),
            "fingerprint": fingerprint,
            **(about or {}),
        }
        names_bytes = _to_ipc(names)
        sizes = {"embeddings": (DTYPES[dtype], [count, dim])}
        if dtype == "int8":
            sizes["scales"] = ("F32", [count])
        before = sum(_byte_count(*size) for size in sizes.values())
        sizes["padding"] = ("U8", [-before % _NAMES_ALIGNMENT])
        sizes["names"] = ("U8", [len(names_bytes)])
        header = _header(sizes, metadata)
        scales = np.zeros(count, np.float32)
        missing = np.ones(count, bool)
        row_bytes = _byte_count(DTYPES[dtype], [1, dim])
        with atomic_write(path) as partial, open(partial, "wb") as file:
            file.write(header)
            for rows, vectors in blocks:
                if not missing[rows].all() or len(np.unique(rows)) != len(rows):
                    raise ValueError(f"rows {rows.min()} to {rows.max()} contain a repeated row")
                missing[rows] = False
                stored, scales[rows] = quantize(vectors, dtype)
                _write_rows(file, len(header), row_bytes, rows, stored)
            if missing.any():
                raise ValueError(
                    f"{missing.sum()} of {count} rows are missing, the first is {missing.argmax()}"
                )
            file.seek(len(header) + count * row_bytes)
            if dtype == "int8":
                file.write(scales)
            file.write(bytes(-before % _NAMES_ALIGNMENT))
            file.write(names_bytes)


def quantize(
    vectors: Float32[np.ndarray, "rows dim"], dtype: str
) -> tuple[Shaped[np.ndarray, "rows dim"], Float32[np.ndarray, " rows"]]:
    """Return the vectors in `dtype` and each row's scale: max |x| / 127 for int8, otherwise 1."""
    if dtype != "int8":
        return vectors.astype(dtype), np.ones(len(vectors), np.float32)
    scales = np.abs(vectors).max(axis=1).astype(np.float32) / np.float32(127)
    return np.rint(vectors / np.where(scales, scales, 1)[:, None]).astype(np.int8), scales


def _write_rows(file: BinaryIO, offset: int, row_bytes: int, rows: np.ndarray, stored: np.ndarray) -> None:
    order = np.argsort(rows)
    rows, stored = rows[order], stored[order]
    # One write per run of consecutive rows.
    for run in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(rows) != 1) + 1):
        if len(run):
            file.seek(offset + int(rows[run[0]]) * row_bytes)
            file.write(np.ascontiguousarray(stored[run[0] : run[-1] + 1]))


def _byte_count(dtype: str, shape: list[int]) -> int:
    return {"F32": 4, "F16": 2, "I8": 1, "U8": 1}[dtype] * int(np.prod(shape))


def _header(sizes: Mapping[str, tuple[str, list[int]]], metadata: Mapping[str, str]) -> bytes:
    """Return the safetensors header: length and JSON, padded with spaces to align the data."""
    entries: dict[str, Any] = {"__metadata__": dict(metadata)}
    begin = 0
    for name, (dtype, shape) in sizes.items():
        end = begin + _byte_count(dtype, shape)
        entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % _ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


def _wrong_format(path: Path) -> UserError:
    return UserError(f"{path} does not hold taxon embeddings; build them with `bioclip-jax taxa build`")


def _damaged(path: Path, reason: object) -> UserError:
    return UserError(f"the taxon embeddings {path} are damaged ({reason}); copy or build them again")


def _read_header(path: Path, mapping: mmap.mmap) -> tuple[dict[str, Any], dict[str, str], int]:
    """Return the tensors' entries, the metadata, and the offset of the data."""
    length = int.from_bytes(mapping[:8], "little")
    if not 2 <= length <= _MAX_HEADER:
        raise _wrong_format(path)
    try:
        entries = json.loads(mapping[8 : 8 + length])
        about = entries.pop("__metadata__")
        if about["format"] != FORMAT:
            raise _wrong_format(path)
        version = about["version"]
        # Checked first, since another version may define everything else differently.
        if version != VERSION:
            raise UserError(
                f"{path} has version {version} of the format, this program reads {VERSION}; build it again"
            )
        about["fingerprint"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise _wrong_format(path) from None
    return entries, about, 8 + length


def _read_tensors(path: Path, mapping: mmap.mmap, entries: Mapping[str, Any], offset: int) -> dict[str, Any]:
    import pyarrow as pa

    kinds = {text: np.dtype(name) for name, text in DTYPES.items()} | {"U8": np.dtype(np.uint8)}
    tensors: dict[str, Any] = {}
    try:
        for name, entry in entries.items():
            begin, end = entry["data_offsets"]
            if end - begin != _byte_count(entry["dtype"], entry["shape"]) or offset + end > len(mapping):
                raise _damaged(path, f"the file has {len(mapping)} bytes, its {name} end at {offset + end}")
            kind = kinds[entry["dtype"]]
            count = (end - begin) // kind.itemsize
            tensors[name] = np.frombuffer(mapping, kind, count, offset + begin).reshape(entry["shape"])
        table = pa.ipc.open_file(pa.py_buffer(tensors["names"])).read_all()
        # Codes outside their dictionary would crash the process, so validate the values too.
        table.validate(full=True)
        names = tensors["names"] = TaxaNames(table)
        for column in COLUMNS:
            names.codes(column)  # raises for nulls
        if tensors["embeddings"].shape[0] != len(names):
            raise _damaged(path, f"{len(names)} names for {tensors['embeddings'].shape[0]} vectors")
    except (ValueError, KeyError, TypeError, AttributeError, OSError, pa.ArrowException) as error:
        raise _damaged(path, first_line(error)) from None
    return tensors


def _to_ipc(names: TaxaNames) -> memoryview:
    import pyarrow as pa

    stream = pa.BufferOutputStream()
    with pa.ipc.new_file(stream, names.table.schema) as writer:
        writer.write_table(names.table)
    return memoryview(stream.getvalue())
