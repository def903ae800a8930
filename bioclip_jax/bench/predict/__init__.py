"""Benchmark of predictions, against pybioclip with the same weights."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "inference": ["measure_inference"],
        "measure": ["PARTS", "measure_prediction"],
        "results": ["inference_table", "prediction_table"],
    },
)
