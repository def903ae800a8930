"""What does not belong into a training set: copies, near-duplicates, evaluation images, pictures of nothing, and
what a user's detectors find.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "checks": ["ImageChecks"],
        "detectors": ["Detector", "load_detector"],
        "duplicates": ["EXACT", "NEAR", "OBSERVATION", "decide_duplicates", "decide_leakage"],
        "hashes": ["DECODE_SIDE", "MIN_QUALITY", "content_hash", "pdq", "pdq_variants"],
    },
)
