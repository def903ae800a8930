"""Embeddings of taxa: build, load, filter, score and calibrate."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "build": ["build_taxa"],
        "calibrate": ["calibrate_temperature", "calibration_warnings", "read_temperature"],
        "embeddings": ["TaxonEmbeddings", "WITHOUT_VECTOR"],
        "filter": ["read_subset", "rows_named", "rows_within"],
        "load": ["list_taxa", "open_taxa"],
        "names": ["TaxaNames"],
        "published": ["read_names"],
        "reliability": ["calibration_error", "reliability_bins"],
        "score": ["TaxaScorer", "top_k_indices"],
    },
)
