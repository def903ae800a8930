"""Explanations of an answer: heat maps of the patches that decided, and reference pictures of candidates."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "explain": ["MOST_PHOTOGRAPHS", "explain_files"],
        "heat_maps": [
            "HeatMap",
            "METHODS",
            "Method",
            "choose_method",
            "explain_pixels",
            "heat_map",
            "windows",
        ],
        "masked": ["MaskedEncoder", "masked_encoder"],
        "overlay": ["overlay_url", "seen_part"],
        "reference_pictures": ["Reference", "references"],
        "targets": ["Target", "candidate_targets"],
    },
)
