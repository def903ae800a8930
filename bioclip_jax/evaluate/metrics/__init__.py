"""Accuracy, F1, confusion and confidence intervals of the evaluation protocols."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "accuracy": ["RankedPredictions", "rank_predictions"],
        "confusion": ["confusion_tables", "error_distances"],
        "f1": ["f1_scores", "resampled_macro_f1"],
    },
)
