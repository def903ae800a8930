"""Evaluation protocols of BioCLIP 2, one per file, and their registry."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "base": ["ModelOutputs", "Protocol", "Score"],
        "few_shot": ["FewShot"],
        "registry": ["ANY_DATA", "PROTOCOLS", "make_protocol", "protocol_options"],
        "zero_shot": ["ZeroShot"],
    },
)
