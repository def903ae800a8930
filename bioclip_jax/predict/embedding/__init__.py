"""Parts of the verb embed: streaming and caching of vectors, metadata of images, and file formats."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "formats": ["Batch", "check_format", "rows_path", "sample_uuid", "write_batches"],
        "labeled_embeddings": [
            "LabeledEmbeddings",
            "StoredImage",
            "embed_labeled",
            "embed_stored",
            "read_samples",
            "stored_images",
            "unit",
        ],
        "metadata": ["ImageMetadata"],
        "stream": ["block_size", "blocks", "digests", "stream_vectors"],
    },
)
