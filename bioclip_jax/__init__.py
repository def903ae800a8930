"""BioCLIP 2 in JAX: hierarchical contrastive learning over the tree of life."""

from typing import Any

__version__ = "0.1.0"
__all__ = ["CustomLabelsClassifier", "load_model"]

# Loaded when they are first asked for, because they import JAX.
_HOMES = {"load_model": "bioclip_jax.predict.model", "CustomLabelsClassifier": "bioclip_jax.predict.classifiers"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
