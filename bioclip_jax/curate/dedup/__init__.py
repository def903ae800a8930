"""Find exact and near duplicates, and evaluation images that leak into a training set."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "duplicates": ["EXACT", "NEAR", "OBSERVATION", "decide_duplicates", "decide_leakage"],
        "hashes": ["DECODE_SIDE", "MIN_QUALITY", "content_hash", "pdq", "pdq_variants"],
    },
)
