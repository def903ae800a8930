"""Corrections that people make to predictions: their table, merging, and names that one can stand behind."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "agreement": ["Agreement", "measure_agreement"],
        "apply": ["apply_corrections"],
        "complete": ["complete_ranks", "taxa_of_labels"],
        "corrections": [
            "COLUMNS",
            "CONFIRMED",
            "CORRECTED",
            "Correction",
            "REJECTED",
            "STATUSES",
            "corrections_csv",
            "latest",
            "read_corrections",
        ],
        "merge": ["describe_review", "merge_corrections"],
        "relink": ["relink_photographs"],
    },
)
