"""Benchmark of a GPU that is available only briefly: many measurements over several short calls."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "measure": ["measure_gpu"],
        "plan": ["Sizes", "plan_measurements"],
        "report": ["gpu_report"],
    },
)
