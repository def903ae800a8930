"""BioCLIP 2 in JAX: hierarchical contrastive learning over the tree of life."""

from typing import Any

__version__ = "0.1.0"

# Loaded when they are first asked for, because they import JAX.
_LABELS = "bioclip_jax.predict.classifiers.custom_labels"
_HOMES = {
    "load_model": "bioclip_jax.predict.model",
    "CustomLabelsClassifier": _LABELS,
    "CustomLabelsBinningClassifier": _LABELS,
    "predict_classifications_from_list": _LABELS,
    "TreeOfLifeClassifier": "bioclip_jax.predict.classifiers.tree_of_life",
    "predict_classification": "bioclip_jax.predict.classifiers.tree_of_life",
    "Rank": "bioclip_jax.predict.rank",
    "ReadOptions": "bioclip_jax.pipeline.images",
    "UserError": "bioclip_jax.errors",
    **dict.fromkeys(
        (
            "PredictionRecorder",
            "attach_prediction_recorder",
            "save_recorded_predictions",
            "verify_recorder_path",
        ),
        "bioclip_jax.predict.classifiers.recorder",
    ),
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
