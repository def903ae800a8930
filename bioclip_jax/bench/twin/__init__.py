"""The twin's benchmarks: surveys, food webs against SciPy, individuals against Mesa and ABMax."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "individuals": ["INDIVIDUAL_PARTS", "individuals_table", "measure_individuals"],
        "network": ["measure_network", "network_table"],
        "survey": ["measure_twin"],
    },
)
