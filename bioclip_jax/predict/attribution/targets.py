"""Log-probabilities of a classifier's candidates, as functions of image vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float32, Float64

from bioclip_jax.predict.classifiers import BaseClassifier, LearnedClassifier, TreeOfLifeClassifier
from bioclip_jax.predict.rank import Rank
from bioclip_jax.predict.selection import Selection
from bioclip_jax.predict.taxa import TaxaScorer, top_k_indices
from bioclip_jax.predict.zero_shot import softmax
from bioclip_jax.text import RANKS

from .masked import LogShare

# Of a taxon's rows, at most this number is scored one by one; a larger taxon is summed in a pass over all.
_MOST_ROWS = 4096
# The others that a gradient compares with: the most probable ones.
_RIVALS = 512


class Target(Protocol):
    """A candidate whose log-probability is explained.

    row: its columns, as in predictions, and its score. name: for people.
    """

    row: dict[str, Any]

    @property
    def name(self) -> str:
        """Its name."""

    def log_probability(self, features: Float32[np.ndarray, "n dim"]) -> Float64[np.ndarray, " n"]:
        """Return its log-probability among all candidates of the classifier, for unit vectors."""

    def linear(self, vector: Float32[np.ndarray, " dim"]) -> LogShare:
        """Return the head around an image, for gradients: the candidate and its most probable rivals."""


@dataclass(frozen=True, eq=False)
class TaxonTarget:
    """A taxon of a TaxaScorer: its rows from `start` to before `stop`, at `rank`."""

    row: dict[str, Any]
    scorer: TaxaScorer
    rank: Rank
    start: int
    stop: int

    @property
    def name(self) -> str:
        """The scientific name."""
        return self.row[self.rank.get_label()] or next(
            (value for value in reversed(list(self.row.values())[: self.rank.value]) if value), "no name"
        )

    def log_probability(self, features: Float32[np.ndarray, "n dim"]) -> Float64[np.ndarray, " n"]:
        """Return log p, from passes over all selected taxa."""
        values = []
        for first in range(0, len(features), self.scorer.group_size):
            group = features[first : first + self.scorer.group_size]
            totals = self.scorer.totals(group)
            log_total = totals.largest.astype(np.float64) + np.log(totals.sum)
            if self.stop - self.start <= _MOST_ROWS:
                rows = np.arange(self.start, self.stop)
                logits = np.stack([self.scorer.logits(rows, vector) for vector in group]).astype(np.float64)
                values.append(np.logaddexp.reduce(logits, axis=1) - log_total)
            else:
                sums = self.scorer.rank_sums(group, totals, self.rank, 0.0)
                index = int(self.scorer.names.groups(self.rank, np.array([self.start]))[0])
                values.append(np.log(np.maximum(sums[index], np.finfo(np.float32).tiny), dtype=np.float64))
        return np.minimum(np.concatenate(values), 0)

    def linear(self, vector: Float32[np.ndarray, " dim"]) -> LogShare:
        """Return the weights of the taxon's own rows and of its rivals, the most probable ones of each."""
        best, _ = self.scorer.species(vector[None], _RIVALS)
        own = np.arange(self.start, self.stop)
        if len(own) > _RIVALS:
            own = own[top_k_indices(self.scorer.logits(own, vector), _RIVALS)]
        rows = np.union1d(best[0], own)
        weights, bias = self.scorer.linear(rows)
        return weights, bias, (rows >= self.start) & (rows < self.stop)


@dataclass(frozen=True, eq=False)
class LabelTarget:
    """A candidate of a classifier with few classes; own: True for the classes that belong to it."""

    row: dict[str, Any]
    weights: Float32[np.ndarray, "classes dim"]
    bias: Float32[np.ndarray, " classes"]
    own: np.ndarray

    @property
    def name(self) -> str:
        """The label, or the taxon of a learned head."""
        taxa = (self.row.get(rank) for rank in reversed(RANKS))
        return str(self.row.get("classification") or next(filter(None, taxa), ""))

    def log_probability(self, features: Float32[np.ndarray, "n dim"]) -> Float64[np.ndarray, " n"]:
        """Return log p among all classes."""
        logits = features.astype(np.float64) @ self.weights.T + self.bias
        inside = np.logaddexp.reduce(logits[:, self.own], axis=1)
        return np.minimum(inside - np.logaddexp.reduce(logits, axis=1), 0)

    def linear(self, vector: Float32[np.ndarray, " dim"]) -> LogShare:
        """Return the whole head."""
        return self.weights, self.bias, self.own


def candidate_targets(
    classifier: BaseClassifier, vector: Float32[np.ndarray, " dim"], k: int, rank: Rank = Rank.SPECIES
) -> list[Target]:
    """Return the k most probable candidates of an image, best first; rank: of taxa."""
    if isinstance(classifier, TreeOfLifeClassifier):
        return _taxon_targets(classifier, vector, k, rank)
    return _label_targets(classifier, vector, k, rank)


def _taxon_targets(
    classifier: TreeOfLifeClassifier, vector: Float32[np.ndarray, " dim"], k: int, rank: Rank
) -> list[Target]:
    scorer = classifier.scorer(classifier.temperature)
    names = scorer.names
    totals = scorer.totals(vector[None])
    if rank is Rank.SPECIES:
        rows, scores = (part[0] for part in scorer.best_species(vector[None], totals, k))
        spans = [(int(row), int(row) + 1) for row in rows]
    else:
        sums = scorer.rank_sums(vector[None], totals, rank)[:, 0]
        best = top_k_indices(sums, k)
        ends = np.append(names.starts(rank), len(names))
        spans, scores = [(int(ends[i]), int(ends[i + 1])) for i in best], sums[best]
    return [
        TaxonTarget({**names.row(start, rank), "score": float(score)}, scorer, rank, start, stop)
        for (start, stop), score in zip(spans, scores)
        if score > 0 or rank is Rank.SPECIES
    ]


def _label_targets(
    classifier: BaseClassifier, vector: Float32[np.ndarray, " dim"], k: int, rank: Rank
) -> list[Target]:
    """Return the candidates of a head whose logits are linear in the vector: labels, bins, a learned head."""
    dim = len(vector)
    bias = classifier._logits(np.zeros((1, dim), np.float32))[0]
    weights = np.ascontiguousarray((classifier._logits(np.eye(dim, dtype=np.float32)) - bias).T)
    classes = np.eye(len(bias), dtype=np.float32)
    if isinstance(classifier, LearnedClassifier) and classifier.names is not None:
        # Classes of a genus have no species.
        rank = min(rank, classifier.rank, key=lambda rank: rank.value)
        groups = classifier.names.groups(rank, np.arange(len(bias)))
        members = np.eye(groups[-1] + 1, dtype=np.float32)[groups]
    else:
        # Bins are sums of labels.
        members = getattr(classifier, "_scores", lambda scores: scores)(classes)
    scores = (softmax(classifier._logits(vector[None])) @ members)[0]
    [rows] = classifier._rows(vector[None], Selection(k=k, rank=rank))
    best = top_k_indices(scores, k)
    return [LabelTarget(row, weights, bias, members[:, index] > 0) for row, index in zip(rows, best)]
