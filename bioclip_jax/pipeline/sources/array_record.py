"""Read and write samples as ArrayRecord files.

A record is one msgpack map: "key" str, "image" bytes, "captions" map of str to str, "taxon" list of the seven
ranks and the common name or nil, "metadata" map of str to str or number.
"""

from collections.abc import Sequence
from pathlib import Path

import msgpack
from array_record.python.array_record_data_source import ArrayRecordDataSource
from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter

from bioclip_jax.errors import UserError, first_line
from bioclip_jax.text import Taxon

from .sample import Sample


class RecordSource:
    """Samples of ArrayRecord files written by RecordWriter, in the order of the files."""

    def __init__(self, files: Sequence[Path]):
        self.skipped_shards: list[str] = []
        self._files = [str(file) for file in files]
        try:
            self._records = ArrayRecordDataSource(self._files)
            count = len(self._records)
        except Exception as error:
            raise UserError(
                f"{self._files[0]} is not a readable ArrayRecord file ({first_line(error)}); write it again"
            ) from None
        if not count:
            raise UserError(f"{self._files[0]} holds no records; write it again")
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Sample:
        """The sample. Raises ValueError if the record is not one of RecordWriter's."""
        try:
            return unpack_sample(self._records[index])
        # The reader raises RuntimeError for a damaged file.
        except (ValueError, RuntimeError) as error:
            raise ValueError(f"record {index} of {self._files[0]}: {error}") from None

    @property
    def shard_sizes(self) -> list[int]:
        """Number of samples in each file."""
        return [_records_in(file) for file in self._files]


def _records_in(file: str) -> int:
    reader = ArrayRecordReader(file)
    try:
        return reader.num_records()
    finally:
        reader.close()


class RecordWriter:
    """Context manager that writes samples to one ArrayRecord file."""

    def __init__(self, path: str | Path):
        # With one record per group, a random read decompresses only its own sample.
        self._writer = ArrayRecordWriter(str(path), "group_size:1")

    def write(self, sample: Sample) -> None:
        """Append a sample."""
        self._writer.write(pack_sample(sample))

    def __enter__(self) -> "RecordWriter":
        return self

    def __exit__(self, *error) -> None:
        self._writer.close()


def pack_sample(sample: Sample) -> bytes:
    """Serialize a sample to a record."""
    return msgpack.packb(
        {
            "key": sample.key,
            "image": sample.image,
            "captions": dict(sample.captions),
            "taxon": sample.taxon and [*sample.taxon.lineage(), sample.taxon.common_name],
            "metadata": dict(sample.metadata),
        }
    )


def unpack_sample(record: bytes) -> Sample:
    """Deserialize a record. Raises ValueError if it is not a sample."""
    fields = msgpack.unpackb(record)
    try:
        taxon = fields["taxon"]
        taxon = Taxon(*taxon) if taxon else None
        return Sample(fields["key"], fields["image"], fields["captions"], taxon, fields["metadata"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"it is not a sample: {error!r}") from None
