"""Where samples come from: tars, ArrayRecord files, a TFDS builder, or a folder with a metadata CSV."""

from bioclip_jax.pipeline.sources.folder import FolderSource
from bioclip_jax.pipeline.sources.joined import JoinedSource
from bioclip_jax.pipeline.sources.open import open_source
from bioclip_jax.pipeline.sources.records import RecordSource, RecordWriter
from bioclip_jax.pipeline.sources.sample import Sample, Source
from bioclip_jax.pipeline.sources.tar import TarSource

__all__ = [
    "FolderSource",
    "JoinedSource",
    "RecordSource",
    "RecordWriter",
    "Sample",
    "Source",
    "TarSource",
    "open_source",
]
