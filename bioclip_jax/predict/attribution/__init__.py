"""Explanations of an answer: heat maps of the patches that decided, and reference pictures of candidates."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "heat_maps": ["HeatMap", "METHODS", "Method", "explain_image", "heat_map", "windows"],
        "masked": ["MaskedEncoder", "masked_encoder"],
        "targets": ["Target", "candidate_targets"],
    },
)
