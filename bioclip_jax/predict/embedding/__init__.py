"""What the verb embed is made of: what is known of images, vectors from a cache, and the formats."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "columns": ["Columns"],
        "formats": ["Batch", "check_format", "rows_path", "sample_uuid", "write_batches"],
        "labelled": ["LabelledVectors", "embed_labelled", "read_labels", "unit"],
        "stream": ["blocks", "digests", "stream_places", "stream_vectors"],
        "texts": ["read_texts"],
    },
)
