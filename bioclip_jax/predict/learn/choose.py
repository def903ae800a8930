"""Choose a head by cross-validation: names, centroids, discriminants, logistic regression, or a mixture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from bioclip_jax.predict.progress import track

from .folds import NEVER
from .linear import (
    INVERSE_STRENGTHS,
    MOST_LOGISTIC,
    SHRINKAGES,
    Discriminants,
    Linear,
    centroid_head,
    logistic_heads,
    name_head,
    weighted_sum,
)
from .mixture import fit_weights, log_likelihoods

NAMES, CENTROID, DISCRIMINANT, LOGISTIC, MIXTURE = (
    "names",
    "centroid",
    "discriminant",
    "logistic",
    "mixture",
)
# Held-out photographs that weights are fitted to, at most.
_MOST_FITTED = 5_000


@dataclass(frozen=True)
class Candidate:
    """Held-out figures of one candidate, each fold predicted with what the other folds chose and weighted.

    name: of a head, or "mixture". logits: of the held-out photographs. log_likelihood: of their labels.
    correct: the best class is the label. settings: strength of its penalty, or the parts of a mixture.
    """

    name: str
    logits: Float[np.ndarray, "held classes"]
    log_likelihood: Float[np.ndarray, " held"]
    correct: Bool[np.ndarray, " held"]
    settings: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Choice:
    """The chosen head, and how it was chosen.

    head: fitted to all photographs, its logits those of calibrated probabilities. name: of the chosen
    candidate. candidates: all, in the order of simplicity. held: the photographs that were held out.
    without: why a kind of head was not tried.
    """

    head: Linear
    name: str
    candidates: Sequence[Candidate]
    held: Int[np.ndarray, " held"]
    without: Mapping[str, str]

    @property
    def chosen(self) -> Candidate:
        """The chosen candidate."""
        return next(candidate for candidate in self.candidates if candidate.name == self.name)


class _Kind:
    """One kind of head at several strengths: its fits without each fold, and to all photographs."""

    def __init__(self, name: str, strengths: Sequence[float], fit: Callable[[Bool[np.ndarray, " n"]], list]):
        self.name, self.strengths, self.fit = name, strengths, fit


def choose_head(
    features: Float32[np.ndarray, "n dim"],
    labels: Int[np.ndarray, " n"],
    classes: int,
    folds: Int[np.ndarray, " n"],
    texts: Float32[np.ndarray, "classes dim"] | None,
    logit_scale: float,
) -> Choice:
    """Choose and fit a head.

    features: unit vectors. labels: from 0 to `classes` - 1, each with a photograph. folds: of assign_folds.
    texts: unit vectors of the classes' names, None without them.

    The candidate with the best mean held-out log-likelihood is chosen, or a simpler one if its loss is
    within one standard error of the difference (Hastie et al., 7.10).
    """
    kinds, without = _kinds(features, labels, classes, texts, logit_scale)
    held = np.flatnonzero(folds != NEVER)
    held_folds, held_labels = folds[held], labels[held]
    numbers = np.unique(held_folds).tolist()
    fits = [
        {kind.name: kind.fit(folds != fold) for kind in kinds}
        for fold in track(numbers, "cross-validating", len(numbers))
    ]
    logits, best_strengths = [], {}
    for kind in kinds:
        per_strength = []
        for strength in range(len(kind.strengths)):
            part = np.empty((len(held), classes), np.float32)
            for fold, fitted in zip(numbers, fits):
                rows = held_folds == fold
                part[rows] = fitted[kind.name][strength](features[held[rows]])
            per_strength.append(part)
        chosen, best = _cross_fitted_strength(per_strength, held_labels, held_folds)
        logits.append(chosen)
        best_strengths[kind.name] = best
    candidates = [
        _candidate(
            kind.name,
            part[None],
            held_labels,
            held_folds,
            {"strength": kind.strengths[best_strengths[kind.name]]} if len(kind.strengths) > 1 else {},
        )
        for kind, part in zip(kinds, logits)
    ]
    stacked = np.stack(logits)
    weights = fit_weights(*_some(stacked, held_labels))
    shares = dict(zip((kind.name for kind in kinds), weights.tolist()))
    if len(kinds) > 1:
        candidates.append(_candidate(MIXTURE, stacked, held_labels, held_folds, shares))
    name = _simplest(candidates)
    everything = np.ones(len(labels), bool)
    if name == MIXTURE:
        used = [kind for kind in kinds if shares[kind.name] > 0]
        used_weights = [shares[kind.name] for kind in used]
    else:
        used = [kind for kind in kinds if kind.name == name]
        index = [kind.name for kind in kinds].index(name)
        used_weights = fit_weights(*_some(stacked[index : index + 1], held_labels)).tolist()
    heads = [kind.fit(everything)[best_strengths[kind.name]] for kind in used]
    return Choice(weighted_sum(heads, used_weights), name, candidates, held, without)


def _kinds(
    features: Float32[np.ndarray, "n dim"],
    labels: Int[np.ndarray, " n"],
    classes: int,
    texts: Float32[np.ndarray, "classes dim"] | None,
    logit_scale: float,
) -> tuple[list[_Kind], dict[str, str]]:
    """Return the kinds of heads to try, simplest first, and why others are not tried."""
    kinds: list[_Kind] = []
    without = {}
    if texts is not None:
        kinds.append(_Kind(NAMES, (0.0,), lambda among: [name_head(texts, logit_scale)]))
    else:
        without[NAMES] = "the classes have no names"
    kinds.append(
        _Kind(
            CENTROID,
            (0.0,),
            lambda among: [centroid_head(features[among], labels[among], classes, logit_scale)],
        )
    )

    def discriminants(among: Bool[np.ndarray, " n"]) -> list[Linear]:
        fitted = Discriminants(features[among], labels[among], classes)
        return [fitted.head(shrinkage) for shrinkage in SHRINKAGES]

    kinds.append(_Kind(DISCRIMINANT, SHRINKAGES, discriminants))
    if len(features) * classes * features.shape[1] <= MOST_LOGISTIC:
        kinds.append(
            _Kind(
                LOGISTIC,
                INVERSE_STRENGTHS,
                lambda among: logistic_heads(features[among], labels[among], classes),
            )
        )
    else:
        without[LOGISTIC] = f"{len(features):,} photographs of {classes:,} classes would take minutes"
    return kinds, without


def _cross_fitted_strength(
    per_strength: Sequence[Float32[np.ndarray, "held classes"]],
    labels: Int[np.ndarray, " held"],
    folds: Int[np.ndarray, " held"],
) -> tuple[Float32[np.ndarray, "held classes"], int]:
    """Return each fold's logits at the strength that is best in the others, and the best strength of all."""
    if len(per_strength) == 1:
        return per_strength[0], 0
    likelihoods = []
    for logits in per_strength:
        weight = float(fit_weights(*_some(logits[None], labels))[0])
        likelihoods.append(log_likelihoods(weight * logits, labels))
    likelihoods = np.array(likelihoods)
    chosen = np.empty_like(per_strength[0])
    for fold in np.unique(folds):
        others = likelihoods[:, folds != fold].mean(axis=1)
        chosen[folds == fold] = per_strength[int(others.argmax())][folds == fold]
    return chosen, int(likelihoods.mean(axis=1).argmax())


def _candidate(
    name: str,
    logits: Float32[np.ndarray, "heads held classes"],
    labels: Int[np.ndarray, " held"],
    folds: Int[np.ndarray, " held"],
    settings: Mapping[str, float],
) -> Candidate:
    """Return a candidate whose weights in each fold were fitted to the others."""
    total = np.empty(logits.shape[1:])
    for fold in np.unique(folds):
        weights = fit_weights(*_some(logits[:, folds != fold], labels[folds != fold]))
        total[folds == fold] = np.tensordot(weights, logits[:, folds == fold], 1)
    correct = total.argmax(axis=1) == labels
    return Candidate(name, total, log_likelihoods(total, labels), correct, settings)


def _some(
    logits: Float32[np.ndarray, "heads held classes"], labels: Int[np.ndarray, " held"]
) -> tuple[Float32[np.ndarray, "heads some classes"], Int[np.ndarray, " some"]]:
    """Return evenly spaced photographs, so that fitting weights takes seconds for any number."""
    step = -(-len(labels) // _MOST_FITTED)
    return logits[:, ::step], labels[::step]


def _simplest(candidates: Sequence[Candidate]) -> str:
    """Return the name of the first candidate that is within one standard error of the best."""
    best = max(candidates, key=lambda candidate: candidate.log_likelihood.mean())
    for candidate in candidates:
        loss = best.log_likelihood - candidate.log_likelihood
        if loss.mean() <= loss.std(ddof=1) / np.sqrt(len(loss)):
            return candidate.name
    return best.name
