"""Where samples come from: tars, ArrayRecord files, a TFDS builder, or a folder with a metadata CSV."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "folder": ["FolderSource"],
        "joined": ["JoinedSource", "SEPARATOR"],
        "open": ["METADATA_FILES", "data_files", "find_metadata", "open_source"],
        "parquet": ["KEY_COLUMNS"],
        "records": ["RecordSource", "RecordWriter", "pack_sample", "unpack_sample"],
        "sample": ["Sample", "Source", "sample_from_row"],
        "tar": ["CAPTION_KINDS", "IMAGE_KINDS", "TarSource", "dot_note", "make_sample"],
        "tar_format": ["BLOCK", "BadTar", "members", "split_name"],
    },
)
