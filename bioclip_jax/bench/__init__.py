"""Benchmarks of training, loading, prediction, memory and scaling, against a peer or a ceiling."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "compile": ["GEMM_OPTIONS", "TARGETS", "compile_table", "measure_compiled"],
        "field": ["bursts_table", "field_table", "measure_bursts", "measure_field"],
        "gpu": ["Sizes", "gpu_report", "measure_gpu", "plan_measurements"],
        "learn": ["learning_comparison", "measure_learning"],
        "loader": ["measure_loader"],
        "memory": ["measure_memory", "memory_table"],
        "predict": ["measure_prediction", "prediction_table"],
        "scaling": ["GPUS", "model_scaling", "scaling_table"],
        "train": ["measure_training"],
        "twin": [
            "INDIVIDUAL_PARTS",
            "individuals_table",
            "measure_individuals",
            "measure_network",
            "measure_twin",
            "network_table",
        ],
    },
)
