"""The twin's benchmarks: surveys of many photographs, and ensembles of food webs against SciPy."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "network": ["measure_network", "network_table"],
        "survey": ["measure_twin"],
    },
)
