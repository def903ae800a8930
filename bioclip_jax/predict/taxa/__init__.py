"""Embeddings of taxa: build, load, filter, score and calibrate."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "build": ["build_taxa"],
        "calibrate": ["calibrate_temperature", "calibration_warnings"],
        "checklist": ["Checklist", "read_checklist"],
        "choice": ["TaxaChoice", "selection_result"],
        "embeddings": ["TaxonEmbeddings", "WITHOUT_VECTOR"],
        "filter": ["read_subset", "rows_named", "rows_within"],
        "load": ["list_taxa", "open_names", "open_taxa"],
        "names": ["TaxaNames"],
        "prior": ["Prior", "describe_prior", "read_prior", "resolve_prior"],
        "published": ["read_names"],
        "reliability": ["calibration_error", "reliability_bins"],
        "resolve": [
            "Resolution",
            "TaxonRows",
            "find_common_names",
            "find_taxa",
            "resolve_checklist",
            "taxon_key",
        ],
        "score": ["TaxaScorer", "top_k_indices"],
        "suggest": ["UnknownTaxa"],
        "synonyms": ["Synonyms"],
        "temperature": ["calibration_values", "prior_warning", "read_temperature"],
    },
)
