"""Effect of quantized taxon embeddings on predictions."""

from __future__ import annotations

import math

import numpy as np

from bioclip_jax.predict.progress import track

from .embeddings import TaxonEmbeddings, quantize

_QUERIES = 256
# Typical cosine between an image and the text of its taxon, in models of this kind.
_COSINE = 0.3
_BLOCK_ROWS = 8192

PROBE = f"{_QUERIES} taxa, each a vector with cosine {_COSINE} to its text and else a random direction"


def rounding_effect(taxa: TaxonEmbeddings, dtype: str, logit_scale: float) -> dict[str, float]:
    """Measure the change of predictions when float32 embeddings are stored in `dtype`.

    In the absence of images, the queries are synthetic (PROBE): as far from their taxon as images are, so
    that neighboring taxa compete.
    Returns: top1_agreement, the share of queries with the same best taxon, and max_score_difference, the
      largest change of the best taxon's probability.
    """
    rng = np.random.default_rng(0)
    texts = taxa.rows(np.sort(rng.choice(len(taxa), min(_QUERIES, len(taxa)), replace=False)))
    noise = rng.standard_normal(texts.shape, np.float32)
    noise -= (noise * texts).sum(axis=1, keepdims=True) * texts
    noise /= np.maximum(np.linalg.norm(noise, axis=1, keepdims=True), 1e-12)
    queries = logit_scale * (_COSINE * texts + math.sqrt(1 - _COSINE**2) * noise)

    exact, rounded = _RunningBest(len(queries)), _RunningBest(len(queries))
    every = np.arange(len(queries))
    rounded_at_exact = np.zeros(len(queries), np.float32)
    for start in track(range(0, len(taxa), _BLOCK_ROWS), "measuring", -(-len(taxa) // _BLOCK_ROWS)):
        vectors, _ = taxa.block(start, start + _BLOCK_ROWS)
        stored, scales = quantize(vectors, dtype)
        logits = queries @ vectors.T
        logits_rounded = queries @ (stored.astype(np.float32) * scales[:, None]).T
        better, best = exact.add(logits, start)
        rounded_at_exact = np.where(better, logits_rounded[every, best], rounded_at_exact)
        rounded.add(logits_rounded, start)
        taxa.drop_pages()
    change = np.exp(exact.logit - exact.log_sum()) - np.exp(rounded_at_exact - rounded.log_sum())
    return {
        "top1_agreement": float((exact.row == rounded.row).mean()),
        "max_score_difference": float(np.abs(change).max()),
    }


class _RunningBest:
    """Best row and log-sum-exp of each query's logits, over blocks."""

    def __init__(self, queries: int) -> None:
        self.row = np.zeros(queries, np.int64)
        self.logit = np.full(queries, -np.inf, np.float32)
        self._sum = np.zeros(queries)

    def add(self, logits: np.ndarray, start: int) -> tuple[np.ndarray, np.ndarray]:
        """Add a block of rows from `start`; return the mask of new bests, and the block's best columns."""
        best = logits.argmax(axis=1)
        highest = logits[np.arange(len(logits)), best]
        better = highest > self.logit
        top = np.maximum(self.logit, highest)
        self._sum = self._sum * np.exp(self.logit - top) + np.exp(logits - top[:, None]).sum(axis=1)
        self.logit = top
        self.row = np.where(better, start + best, self.row)
        return better, best

    def log_sum(self) -> np.ndarray:
        """Return the log-sum-exp of each query's logits."""
        return self.logit + np.log(self._sum)
