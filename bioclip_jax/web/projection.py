"""Vectors to places on a flat map."""

from __future__ import annotations

import importlib.util
import threading

import numpy as np
from jaxtyping import Float32, Float64

from bioclip_jax.errors import UserError

# Fewer images have no neighbourhoods that t-SNE or UMAP could keep.
_FEWEST = 5
_compiled = threading.Event()


def methods() -> list[str]:
    """What `project` can do here: UMAP comes with the extra [web]."""
    return ["PCA", "t-SNE", *(["UMAP"] if importlib.util.find_spec("umap") else [])]


def compiles_first(n: int, method: str) -> bool:
    """True where `project` would compile its code first, which takes up to a minute: the first UMAP of a process."""
    return method == "UMAP" and n >= _FEWEST and not _compiled.is_set()


def project(vectors: Float32[np.ndarray, "n dim"], method: str) -> Float64[np.ndarray, "n 2"]:
    """Places between 0 and 1 for unit vectors: those that are alike lie close together.

    PCA: the two directions of most variance. t-SNE (van der Maaten and Hinton 2008) and UMAP (McInnes et al.
    2018) keep neighbourhoods; below 5 images PCA stands in for both. The same vectors give the same map.
    UserError for another method.
    """
    if method not in methods():
        raise UserError(f"the map {method[:20]!r} does not exist; choose from {', '.join(methods())}")
    n = len(vectors)
    if n < 2:
        return np.full((n, 2), 0.5)
    if method == "PCA" or n < _FEWEST:
        places = _pca(vectors)
    elif method == "t-SNE":
        from sklearn.manifold import TSNE
        from threadpoolctl import threadpool_limits

        settings = {"perplexity": min(30.0, (n - 1) / 3), "init": _pca(vectors) * 1e-4, "random_state": 0}
        # Beside a model that works, its threads would wait for each other for most of the time.
        with threadpool_limits(1):
            places = TSNE(**settings).fit_transform(vectors)
    else:
        import warnings

        with warnings.catch_warnings():
            # Numba and UMAP warn of choices that are their own.
            warnings.simplefilter("ignore")
            from umap import UMAP

            neighbours = min(15, n - 1)
            settings = {
                "n_neighbors": neighbours,
                "metric": "cosine",
                "init": _pca(vectors) * 10,
                "random_state": 0,
            }
            places = UMAP(**settings, n_jobs=1).fit_transform(vectors)
        _compiled.set()
    places = np.nan_to_num(np.asarray(places, np.float64))
    spans = places.max(axis=0) - places.min(axis=0)
    return np.where(spans > 0, (places - places.min(axis=0)) / np.where(spans > 0, spans, 1), 0.5)


def _pca(vectors: Float32[np.ndarray, "n dim"]) -> Float32[np.ndarray, "n 2"]:
    """The two first principal components, each of unit spread; signs are fixed by the largest coordinate."""
    centred = vectors - vectors.mean(axis=0)
    left, scales, _ = np.linalg.svd(centred, full_matrices=False)
    places = np.zeros((len(vectors), 2), np.float32)
    count = min(2, left.shape[1])
    places[:, :count] = left[:, :count] * (scales[:count] > 1e-6)
    signs = np.sign(places[np.abs(places).argmax(axis=0), range(2)])
    spread = places.std(axis=0)
    return places * np.where(signs == 0, 1, signs) / np.where(spread > 0, spread, 1)
