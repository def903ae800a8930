"""Sources of samples: tars, ArrayRecord and Parquet files, TFDS builders, folders with a metadata table."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "array_record": ["RecordSource", "RecordWriter", "pack_sample", "unpack_sample"],
        "class_folders": ["ClassFolderSource", "LABEL_COLUMN"],
        "registry": ["METADATA_FILES", "SEPARATOR", "data_files", "find_metadata", "open_source"],
        "sample": ["ConcatSource", "Sample", "Source", "sample_from_row"],
        "tabular": ["FolderSource", "KEY_COLUMNS"],
        "tar": [
            "BLOCK",
            "BadTar",
            "CAPTION_KINDS",
            "IMAGE_KINDS",
            "TarSource",
            "dot_note",
            "make_sample",
            "members",
            "split_name",
        ],
    },
)
