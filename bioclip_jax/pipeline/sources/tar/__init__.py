"""Tars as webdataset writes them, read at random through an index or sequentially without one."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "format": ["BLOCK", "BadTar", "members", "split_name"],
        "random_access": ["CAPTION_KINDS", "IMAGE_KINDS", "TarSource", "dot_note", "make_sample"],
        "streaming": ["StreamingTarSource", "read_sizes"],
    },
)
