"""What storing a head in fewer bits changes."""

from __future__ import annotations

import math

import numpy as np

from bioclip_jax.predict.progress import track

from .head import TaxaHead, quantize

_QUERIES = 256
# Of an image and the text of its own taxon, in models of this kind.
_COSINE = 0.3
_BLOCK_ROWS = 8192

PROBE = f"{_QUERIES} taxa, each a vector with cosine {_COSINE} to its text and else a random direction"


def rounding_effect(head: TaxaHead, dtype: str, logit_scale: float) -> dict[str, float]:
    """What a float32 head's answers change by when it is stored in `dtype`.

    There are no images when a head is built, so the queries are made (PROBE): as far from their taxon as
    images are, which leaves the taxa next to it as rivals.
    Returns: top1_agreement, the share of queries whose best taxon stays the same, and max_score_difference,
    the largest change of the probability of the best taxon.
    """
    rng = np.random.default_rng(0)
    texts = head.rows(np.sort(rng.choice(len(head), min(_QUERIES, len(head)), replace=False)))
    noise = rng.standard_normal(texts.shape, np.float32)
    noise -= (noise * texts).sum(axis=1, keepdims=True) * texts
    noise /= np.maximum(np.linalg.norm(noise, axis=1, keepdims=True), 1e-12)
    queries = logit_scale * (_COSINE * texts + math.sqrt(1 - _COSINE**2) * noise)

    exact, rounded = _Best(len(queries)), _Best(len(queries))
    every = np.arange(len(queries))
    rounded_at_exact = np.zeros(len(queries), np.float32)
    for start in track(range(0, len(head), _BLOCK_ROWS), "measuring", -(-len(head) // _BLOCK_ROWS)):
        vectors, _ = head.block(start, start + _BLOCK_ROWS)
        stored, scales = quantize(vectors, dtype)
        logits = queries @ vectors.T
        logits_rounded = queries @ (stored.astype(np.float32) * scales[:, None]).T
        better, best = exact.add(logits, start)
        rounded_at_exact = np.where(better, logits_rounded[every, best], rounded_at_exact)
        rounded.add(logits_rounded, start)
        head.drop_pages()
    change = np.exp(exact.logit - exact.log_sum()) - np.exp(rounded_at_exact - rounded.log_sum())
    return {
        "top1_agreement": float((exact.row == rounded.row).mean()),
        "max_score_difference": float(np.abs(change).max()),
    }


class _Best:
    """The best row of each query, and the logarithm of the sum of exp(logit), over blocks of logits."""

    def __init__(self, queries: int) -> None:
        self.row = np.zeros(queries, np.int64)
        self.logit = np.full(queries, -np.inf, np.float32)
        self._sum = np.zeros(queries)

    def add(self, logits: np.ndarray, start: int) -> tuple[np.ndarray, np.ndarray]:
        """Take in a block that begins at row `start`. Returns where it has a new best, and its best, from its start."""
        best = logits.argmax(axis=1)
        highest = logits[np.arange(len(logits)), best]
        better = highest > self.logit
        top = np.maximum(self.logit, highest)
        self._sum = self._sum * np.exp(self.logit - top) + np.exp(logits - top[:, None]).sum(axis=1)
        self.logit = top
        self.row = np.where(better, start + best, self.row)
        return better, best

    def log_sum(self) -> np.ndarray:
        return self.logit + np.log(self._sum)
