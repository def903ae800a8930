"""Classifier errors: the confusion matrix, corrected counts, and false-positive rates, with uncertainty."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from bioclip_jax.errors import UserError

from .site_likelihood import FalsePositives

# Verified events that the prior is worth, per class.
_PRIOR_EVENTS = 1.0
# Log standard deviation of false-positive rates beyond that of the matrix.
_SITE_LOG_SD = 0.3
# Sources of false positives of a class that have factors of their own.
_SOURCES = 8
# Shape of the gamma prior of a class's rate at a site.
_PRIOR_COUNT = 0.5
# Updates of the iteration to corrected counts, which converges linearly.
_UPDATES = 300
_NO_EVENT = 1e-9
_RATIO_LIMIT = 1e3


@dataclass(frozen=True)
class ClassErrors:
    """Verified events of one class; precision and recall are None where there are none."""

    name: str
    verified: int
    predicted: int
    precision: float | None
    recall: float | None


@dataclass(frozen=True)
class Confusion:
    """Counts of verified events by true class (rows) and predicted class (columns).

    Classes include "blank", for events without an animal, where the survey has it. `same_survey`: the counts
    are of a random sample of the very events that are to be corrected. Then the share of each true class
    among the events of a predicted class is estimated directly (double sampling: Tenenbein 1970, JASA
    65:1350), which is unbiased and has about half the variance of inverting P(predicted | true). Counts from
    elsewhere, of images of a test set for instance, inform P(predicted | true) alone, which unlike the
    shares does not depend on how common the classes are. Events that were verified because of their
    predicted class or score are no random sample.

    The Dirichlet prior is worth one event per class. Its mean has the overall accuracy on the diagonal, and
    sends errors to the classes that have received errors: the independence model of a table of few counts.
    """

    classes: tuple[str, ...]
    counts: Int[np.ndarray, "classes classes"]
    same_survey: bool = True

    @classmethod
    def from_pairs(
        cls,
        true: Iterable[str],
        predicted: Iterable[str],
        classes: Sequence[str] | None = None,
        *,
        same_survey: bool = True,
    ) -> Confusion:
        """Count pairs of true and predicted class; `classes`: their order (default: sorted).

        Errors: UserError for a class that is not among `classes`.
        """
        true, predicted = list(true), list(predicted)
        names = tuple(classes) if classes is not None else tuple(sorted({*true, *predicted}))
        index = {name: number for number, name in enumerate(names)}
        unknown = sorted({*true, *predicted} - index.keys())
        if unknown:
            raise UserError(f"verified events have the class {unknown[0]!r}, which is not among the classes")
        counts = np.zeros((len(names), len(names)), np.int64)
        pairs = ([index[name] for name in side] for side in (true, predicted))
        np.add.at(counts, tuple(pairs), 1)
        return cls(names, counts, same_survey)

    def errors(self) -> list[ClassErrors]:
        """Return precision and recall of each class."""
        right, verified, predicted = np.diag(self.counts), self.counts.sum(axis=1), self.counts.sum(axis=0)
        return [
            ClassErrors(
                name=name,
                verified=int(verified[k]),
                predicted=int(predicted[k]),
                precision=float(right[k] / predicted[k]) if predicted[k] else None,
                recall=float(right[k] / verified[k]) if verified[k] else None,
            )
            for k, name in enumerate(self.classes)
        ]

    def unverified(self, events: Float[np.ndarray, "sites classes"]) -> list[str]:
        """Return classes with predicted events of which none was verified: the prior alone corrects them."""
        missing = (events.sum(axis=0) > 0) & (self.counts.sum(axis=0) == 0)
        return [name for name, absent in zip(self.classes, missing, strict=True) if absent]

    def matrix(self, events: Float[np.ndarray, " classes"]) -> Float[np.ndarray, "true predicted"]:
        """Return the posterior mean of P(predicted | true), given the survey's events by predicted class."""
        prior = self._prior(events)
        if not self.same_survey:
            return _normalized(self.counts + prior, axis=1)
        return _rows_of_shares(_normalized(self.counts + prior, axis=0), events, _normalized(prior, axis=1))

    def draws(
        self, events: Float[np.ndarray, " classes"], count: int, rng: np.random.Generator
    ) -> Float[np.ndarray, "count true predicted"]:
        """Draw P(predicted | true) from its posterior, given the survey's events by predicted class."""
        prior = self._prior(events)
        gamma = rng.standard_gamma(self.counts + prior, (count, *prior.shape))
        # A class of one event and little prior may be drawn as 0 throughout.
        gamma += 1e-12 * prior
        if not self.same_survey:
            return _normalized(gamma, axis=-1)
        return _rows_of_shares(_normalized(gamma, axis=-2), events, _normalized(prior, axis=1))

    def totals(self, events: Float[np.ndarray, " classes"]) -> Float[np.ndarray, " classes"]:
        """Return the expected true events by class, given the survey's events by predicted class."""
        return invert(events.astype(float), self.matrix(events))

    def correct(self, events: Float[np.ndarray, "sites classes"]) -> Float[np.ndarray, "sites classes"]:
        """Return the expected true events by site and class, given events by predicted class.

        Sites are corrected with one matrix, by invert. Since no count is negative, false events that happen
        to exceed their expectation would add up over sites that lack the class: each class is scaled to its
        corrected total, which has no such bias.
        """
        by_site = invert(events.astype(float), self.matrix(events.sum(axis=0)))
        total = by_site.sum(axis=0)
        return by_site * np.divide(self.totals(events.sum(axis=0)), total, out=total * 0, where=total > 0)

    def false_positives(
        self, events: Float[np.ndarray, "sites classes"], effort: Float[np.ndarray, " sites"]
    ) -> list[FalsePositives]:
        """Return, for each class, the rates at which other classes are taken for it (for fit_occupancy).

        rate_ij = P(k | j) (x_ij + a) / (effort_i + a / mean_j), effort in days, for visits of one day. x are
        the true events of j expected from those predicted as any class but k, so that a false event of k is
        not taken from the counts that predict it. A few events say little of a rate: a = 1/2 event is that of
        a gamma prior about the survey's mean_j. The shape is that of the Dirichlet posterior, V_jk + prior:
        as if V_jk ~ Poisson had been observed beside the histories. The weaker sources are taken together.
        """
        events = np.asarray(events, float)
        matrix = self.matrix(events.sum(axis=0))
        corrected = self.correct(events)
        # The share of each predicted class's events that its expectation explains, as in an update of invert.
        explained = events / np.maximum(corrected @ matrix, 1e-300)
        days = effort[:, None] + _PRIOR_COUNT / np.maximum(corrected.sum(axis=0) / effort.sum(), 1e-9)
        known = self.counts + self._prior(events.sum(axis=0))
        # One matrix holds for all sites and times only roughly.
        shape = 1 / (1 / known + _SITE_LOG_SD**2)
        result = []
        for k in range(len(self.classes)):
            kept = (1 - matrix[:, k] * explained[:, k : k + 1]) / np.maximum(1 - matrix[:, k], 1e-9)
            rate = (matrix[:, k] * (corrected * np.maximum(kept, 0) + _PRIOR_COUNT) / days).T
            total = rate.sum(axis=1)
            total[k] = -1.0
            others = np.argsort(-total)[:-1]
            strong, weak = others[: _SOURCES - 1], others[_SOURCES - 1 :]
            rates, shapes = rate[strong], shape[strong, k]
            if len(weak):
                spread = (total[weak] ** 2 / shape[weak, k]).sum()
                together = total[weak].sum() ** 2 / spread if spread > 0 else 1.0
                rates, shapes = np.vstack([rates, rate[weak].sum(axis=0)]), np.append(shapes, together)
            result.append(FalsePositives(rates, shapes))
        return result

    def _prior(self, events: Float[np.ndarray, " classes"]) -> Float[np.ndarray, "true predicted"]:
        """Return the prior in verified events: rows, or for same_survey columns, add up to _PRIOR_EVENTS."""
        counts = self.counts
        right, total, classes = np.trace(counts), counts.sum(), len(counts)
        if classes == 1:
            return np.full((1, 1), _PRIOR_EVENTS)
        accuracy = (right + 1) / (total + 2)
        received = np.tile(counts.sum(axis=0) - np.diag(counts) + 1.0, (classes, 1))
        np.fill_diagonal(received, 0)
        rows = (1 - accuracy) * _normalized(received, axis=1) + accuracy * np.eye(classes)
        if not self.same_survey:
            return _PRIOR_EVENTS * rows
        # Nobody looked at the predictions of some classes, often the blanks: such a class is as frequent as
        # the machine says, not as rare as among the verified events.
        unseen = np.where(counts.sum(axis=0) == 0, events * total / max(events.sum(), 1.0), 0.0)
        return _PRIOR_EVENTS * _normalized(rows * (counts.sum(axis=1) + 1.0 + unseen)[:, None], axis=0)


def invert(
    events: Float[np.ndarray, "*batch predicted"], matrix: Float[np.ndarray, "*batch true predicted"]
) -> Float[np.ndarray, "*batch true"]:
    """Return the nonnegative true counts x whose expectation x @ matrix is likeliest to give `events`.

    Poisson maximum likelihood by the iteration of Richardson (1972) and Lucy (1974), which is expectation
    maximization (Shepp and Vardi 1982): it keeps totals and needs no inverse. Equal to events @ inv(matrix)
    where that has no negative entry.
    """
    rows = events if matrix.ndim == 2 else events[..., None, :]
    kinds = rows.shape[-1]
    x = np.broadcast_to(0.9 * rows + 0.1 * rows.sum(axis=-1, keepdims=True) / kinds, rows.shape)
    back = np.swapaxes(matrix, -1, -2)
    for _ in range(_UPDATES):
        x = x * ((rows / np.maximum(x @ matrix, 1e-300)) @ back)
    # The iteration only approaches 0.
    x = np.where(x < _NO_EVENT, 0.0, x)
    return x if matrix.ndim == 2 else x[..., 0, :]


def score_ratio(
    probability: Float[np.ndarray, " n"], precision: Float[np.ndarray, " n"] | float
) -> Float[np.ndarray, " n"]:
    """Return f1/f0, how much likelier the scores are among true than among false detections of a class.

    probability: calibrated, that the prediction is right; precision: of the class, over the events to which
    the probability was calibrated. By Bayes, f1/f0 = q / (1 - q) * (1 - precision) / precision; limited to
    1/1000 to 1000. For SiteLikelihood.
    """
    odds = probability / np.maximum(1 - probability, 1e-12)
    ratio = odds * (1 - precision) / np.maximum(precision, 1e-12)
    return np.clip(ratio, 1 / _RATIO_LIMIT, _RATIO_LIMIT)


def _normalized(values: Float[np.ndarray, "*shape"], axis: int) -> Float[np.ndarray, "*shape"]:
    return values / values.sum(axis=axis, keepdims=True)


def _rows_of_shares(
    shares: Float[np.ndarray, "*batch true predicted"],
    events: Float[np.ndarray, " predicted"],
    fallback: Float[np.ndarray, "true predicted"],
) -> Float[np.ndarray, "*batch true predicted"]:
    """Return P(predicted | true) from P(true | predicted) and the events predicted.

    Inverting it gives back the true events shares @ events exactly. True classes with no events keep
    `fallback`.
    """
    joint = shares * events
    # Far below one event, so that it matters only to classes without any.
    joint = joint + 1e-6 * fallback
    return _normalized(joint, axis=-1)
