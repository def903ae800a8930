"""Stream vectors to NumPy, Parquet, JSON, and pybioclip's JSON."""

from __future__ import annotations

import contextlib
import json
import sys
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO

import numpy as np
from jaxtyping import Float32

from bioclip_jax.errors import UserError
from bioclip_jax.files import atomic_write, is_stream
from bioclip_jax.predict.inputs import ImageFile
from bioclip_jax.predict.results import open_text, plain_text

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIXES = {".npy": "npy", ".parquet": "parquet", ".json": "json"}
FORMATS = (*SUFFIXES.values(), "pybioclip")

# Rows of a Parquet row group: some 25 MB of vectors.
_GROUP = 8192


@dataclass(frozen=True)
class Batch:
    """Images or texts with their vectors and, optionally, metadata columns."""

    items: list[ImageFile] | list[str]
    vectors: Float32[np.ndarray, "rows embed_dim"]
    columns: pa.Table | None = None

    @property
    def names(self) -> list[str]:
        """The images' paths, or the texts themselves."""
        return [item if isinstance(item, str) else item.name for item in self.items]


def check_format(format: str | None, output: Path | None) -> str:
    """Return the format to write: the given one, else by the output's suffix, else pybioclip's.

    Raises UserError for an unknown format or suffix, and for a binary format without a file.
    """
    if format is None and output is not None:
        suffix = "".join(output.suffixes[-2:]).lower()
        format = "json" if suffix.endswith(".json.gz") else SUFFIXES.get(output.suffix.lower())
        if format is None:
            raise UserError(
                f"the format of the output {output} is unknown; end it in {', '.join(SUFFIXES)} or .json.gz"
            )
    format = format or "pybioclip"
    if format not in FORMATS:
        raise UserError(f"the format {format!r} does not exist; choose from {', '.join(FORMATS)}")
    if format in ("npy", "parquet") and output is None:
        raise UserError(f"{format} is not text for the terminal; name a file to write with --output")
    return format


def write_batches(
    batches: Iterable[Batch], format: str, output: Path | None, about: Mapping[str, Any]
) -> Path | None:
    """Write vectors to `output`, or as text to standard output; return the row names' file of a .npy.

    .npy: float32 [n, embed_dim], and NAME.npy.json with `about` and each row's path or text in "rows".
    Parquet: uuid, emb (embed_dim float32), path or text, metadata columns; `about` as the file's metadata.
    JSON: `about`, then "embeddings" by path or text. pybioclip: as JSON with only the model, in its layout.
    """
    if format == "npy":
        if is_stream(output):
            with open(output, "wb") as file:
                _write_npy(batches, file)
            return None
        rows = rows_path(output)
        with atomic_write(output) as path, atomic_write(rows) as rows_file:
            with open(path, "wb") as file, open(rows_file, "w", encoding="utf-8") as names:
                _write_npy(_with_row_names(batches, names, about), file)
        return rows
    if format == "parquet":
        with atomic_write(output) as path:
            _write_parquet(batches, path, about)
        return None
    with _text(output) as file:
        if format == "json":
            _write_json(batches, file, about)
            return None
        _write_json(batches, file, {"model": about["model"]}, indent=4)
        if output is None:
            file.write("\n")
    return None


def rows_path(output: Path) -> Path:
    """Return the path of a .npy's row names."""
    return output.with_name(f"{output.name}.json")


def sample_uuid(image: ImageFile) -> str:
    """Return the UUID in the file's name, as in TreeOfLife shards, or one made from its absolute path.

    Pages and frames have their fragment in that path.
    """
    if image.frame is None:
        with contextlib.suppress(ValueError):
            return str(uuid.UUID(Path(image.name).stem))
    member = image.name.removeprefix(image.path)
    return str(uuid.uuid5(uuid.NAMESPACE_URL, Path(image.path).absolute().as_uri() + member))


def text_uuid(text: str) -> str:
    """Return a UUID made from the text."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, text))


@contextmanager
def _text(output: Path | None) -> Iterator[TextIO]:
    if output is None:
        yield sys.stdout
        return
    with atomic_write(output) as path, open_text(path) as file:
        yield file


def _with_row_names(batches: Iterable[Batch], file: TextIO, about: Mapping[str, Any]) -> Iterator[Batch]:
    """Yield the batches, writing their names to `file`."""
    file.write(json.dumps(dict(about))[:-1] + ', "rows": [')
    first = True
    for batch in batches:
        for name in batch.names:
            file.write(("\n" if first else ",\n") + json.dumps(name))
            first = False
        yield batch
    file.write("\n]}\n")


def _write_npy(batches: Iterable[Batch], file: BinaryIO) -> None:
    rows = width = 0

    def write_header() -> None:
        header = {"descr": "<f4", "fortran_order": False, "shape": (rows, width)}
        np.lib.format.write_array_header_1_0(file, header)

    for batch in batches:
        if not rows:
            width = batch.vectors.shape[1]
            write_header()
        file.write(np.ascontiguousarray(batch.vectors, "<f4").tobytes())
        rows += len(batch.items)
    # NumPy reserves room in the header for a larger first dimension, so the vectors need not move.
    file.seek(0)
    write_header()


def _write_parquet(batches: Iterable[Batch], path: Path, about: Mapping[str, Any]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer, waiting, rows = None, [], 0
    try:
        for batch in batches:
            table = _as_table(batch)
            if writer is None:
                metadata = {
                    name: value if isinstance(value, str) else json.dumps(value)
                    for name, value in about.items()
                }
                writer = pq.ParquetWriter(path, table.schema.with_metadata(metadata))
            waiting.append(table.cast(writer.schema))
            rows += table.num_rows
            if rows >= _GROUP:
                writer.write_table(pa.concat_tables(waiting), row_group_size=rows)
                waiting, rows = [], 0
        if waiting:
            writer.write_table(pa.concat_tables(waiting), row_group_size=rows)
    finally:
        if writer is not None:
            writer.close()


def _as_table(batch: Batch) -> pa.Table:
    import pyarrow as pa

    is_text = isinstance(batch.items[0], str)
    make_uuid, name_column = (text_uuid, "text") if is_text else (sample_uuid, "path")
    vectors = pa.array(np.ascontiguousarray(batch.vectors).ravel())
    table = pa.table(
        {
            "uuid": [make_uuid(item) for item in batch.items],
            "emb": pa.FixedSizeListArray.from_arrays(vectors, batch.vectors.shape[1]),
            name_column: list(map(plain_text, batch.names)),
        }
    )
    for column in [] if batch.columns is None else batch.columns.column_names:
        # Readers of these files rely on our columns' names.
        if column not in table.column_names:
            table = table.append_column(column, batch.columns[column])
    return table


def _write_json(
    batches: Iterable[Batch], file: TextIO, about: Mapping[str, Any], indent: int | None = None
) -> None:
    """Write json.dump of {**about, "embeddings": {name: vector}}, entry by entry."""

    def dump(value: Any, depth: int) -> str:
        return json.dumps(value, indent=indent).replace("\n", "\n" + " " * (indent or 0) * depth)

    def line(depth: int) -> str:
        return "" if indent is None else "\n" + " " * indent * depth

    comma = "," if indent is not None else ", "
    file.write("{" + line(1))
    file.writelines(f"{dump(name, 1)}: {dump(value, 1)}{comma}{line(1)}" for name, value in about.items())
    file.write('"embeddings": {')
    first = True
    for batch in batches:
        for name, vector in zip(batch.names, batch.vectors):
            file.write(f"{'' if first else comma}{line(2)}{dump(name, 2)}: {dump(vector.tolist(), 2)}")
            first = False
    file.write(f"{'' if first else line(1)}}}{line(0)}}}")
    if indent is None:
        file.write("\n")
