"""Embeddings of taxa: build, load, select, score and calibrate."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "build": ["build_taxa"],
        "calibrate": [
            "calibrate_temperature",
            "calibration_error",
            "doubts",
            "read_temperature",
            "reliability",
        ],
        "find": ["open_taxa"],
        "head": ["TaxaHead", "WITHOUT_VECTOR"],
        "listing": ["list_taxa"],
        "names": ["TaxaNames"],
        "published": ["read_names"],
        "score": ["TaxaScorer", "largest"],
        "select": ["read_subset", "rows_of", "within"],
    },
)
