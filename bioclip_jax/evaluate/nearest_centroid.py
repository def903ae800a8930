"""SimpleShot: the class whose centroid lies nearest, after centring and normalising (https://arxiv.org/abs/1911.04623)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32, Int

# Rows of the images-by-classes matrix that are held at a time.
_CHUNK = 4096


def nearest_centroids(
    train: Float32[np.ndarray, "shots dim"],
    train_classes: Int[np.ndarray, " shots"],
    test: Float32[np.ndarray, "n dim"],
    classes: int,
) -> Int[np.ndarray, " n"]:
    """The class from 0 to `classes` - 1 of each test vector; each class has a vector in `train`.

    The mean of the training vectors is subtracted from all, all are normalised, a class's centroid is the
    mean of its own (not normalised again), and the nearest by Euclidean distance is the answer; of several
    the first.
    """
    mean = train.mean(axis=0)
    centred = _normalized(train - mean)
    centroids = np.zeros((classes, train.shape[1]), np.float64)
    np.add.at(centroids, train_classes, centred)
    centroids /= np.bincount(train_classes, minlength=classes)[:, None]
    # |x - c|^2 without |x|^2, which is the same for every class.
    offsets = (centroids**2).sum(axis=1)
    answers = np.empty(len(test), np.int64)
    for start in range(0, len(test), _CHUNK):
        rows = _normalized(test[start : start + _CHUNK] - mean).astype(np.float64)
        answers[start : start + _CHUNK] = (offsets - 2 * rows @ centroids.T).argmin(axis=1)
    return answers


def _normalized(vectors: Float[np.ndarray, "n dim"]) -> Float[np.ndarray, "n dim"]:
    # A single class's single vector is its own mean; it has no direction then, and stays at 0.
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(length > 0, length, 1)
