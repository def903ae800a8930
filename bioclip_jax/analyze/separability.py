"""How well the values of a factor come apart once the species are taken away: discriminant analysis, held out."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Float64, Int, UInt16

from .factors import Factor, Group, chunks, level_sums, species_sums
from .lda import Discriminant

FOLDS = 5
_FEWEST_OF_A_FOLD = 4


@dataclass(frozen=True)
class HeldOut:
    """What folds that did not see them say of a group's images.

    predicted: the level. margin: the log-odds of the second level against the first. positions: along the
    leading discriminant axes (one, or two for more than two levels), in standard deviations within levels.
    differences: for each pair of levels, along the unit direction from the first's mean to the second's.
    hits: by labelling (the true one, then the shuffled) and level. shrinkage: of the covariance, mean over
    folds.
    """

    group: Group
    predicted: Int[np.ndarray, " n"]
    margin: Float[np.ndarray, " n"]
    positions: Float[np.ndarray, "n axes"]
    differences: dict[tuple[int, int], Float[np.ndarray, " n"]]
    hits: Int[np.ndarray, "times levels"]
    shrinkage: float


def separability(
    factor: Factor, vectors: Float32[np.ndarray, "rows dim"], *, permutations: int = 200, seed: int = 0
) -> tuple[dict[str, Any], list[HeldOut]]:
    """5-fold accuracy of linear discriminant analysis after subtracting the species' means, and what chance would give.

    In each fold, the means of species and the shrunken covariance (OAS: Chen et al., IEEE Trans. Signal
    Process. 2010, 58:5016) are those of the training images, so that a held-out image says nothing of the
    others. Folds share out each level, and as far as it goes each species, evenly. Of a nested factor, each
    species has its own discriminant.

    Returns the held-out images by group, and shares from 0 to 1: "separability" and its 95 % "interval"
      (Wilson), "balanced_accuracy" (mean over levels), "majority" (answering each group's commonest level),
      "auc" (of two levels), "separability_null" ({"mean", "quantile_95", "balanced_mean", "permutations"}:
      labels shuffled within species) and "separability_p" (one-sided, at least 1 / (permutations + 1)),
      "balanced_p" (the same of balanced accuracy, which tells more where one level is rare), "shrinkage"
      (mean over folds); "fisher_ratio", (difference of means)² / (sum of variances) of held-out images along
      the difference of the training images' means, mean over pairs of levels; of a nested factor
      "by_species".
    """
    random = np.random.default_rng(seed)
    held_out = [_cross_validate(group, vectors, permutations, random) for group in factor.groups]
    of_level = [np.bincount(found.group.labels) for found in held_out]
    n = len(factor)
    right = np.sum([found.hits.sum(axis=1) for found in held_out], axis=0)
    by_level = np.concatenate([found.hits / counts for found, counts in zip(held_out, of_level)], axis=1)
    balanced = by_level.mean(axis=1)
    figures: dict[str, Any] = {
        "separability": float(right[0] / n),
        "interval": wilson(int(right[0]), n),
        "balanced_accuracy": float(balanced[0]),
        "majority": float(sum(counts.max() for counts in of_level) / n),
        "auc": _auc(held_out[0]) if not factor.nested and len(of_level[0]) == 2 else None,
        "separability_null": None,
        "separability_p": None,
        "balanced_p": None,
        "shrinkage": float(np.mean([found.shrinkage for found in held_out])),
        "fisher_ratio": _mean([ratio for found in held_out for ratio in _fisher_ratios(found)]),
    }
    if permutations:
        figures["separability_null"] = {
            "mean": float(right[1:].mean() / n),
            "quantile_95": float(np.quantile(right[1:], 0.95) / n),
            "balanced_mean": float(balanced[1:].mean()),
            "permutations": permutations,
        }
        figures["separability_p"] = float((1 + (right[1:] >= right[0]).sum()) / (1 + permutations))
        # Sums of shares differ in their last digits where the shares are the same.
        figures["balanced_p"] = float((1 + (balanced[1:] >= balanced[0] - 1e-9).sum()) / (1 + permutations))
    if factor.nested:
        figures["by_species"] = {
            found.group.name: {
                "separability": float(found.hits[0].sum() / len(found.group)),
                "interval": wilson(int(found.hits[0].sum()), len(found.group)),
                "majority": float(counts.max() / len(found.group)),
                "null_mean": float(found.hits[1:].sum(axis=1).mean() / len(found.group))
                if permutations
                else None,
                "fisher_ratio": _mean(_fisher_ratios(found)),
                "levels": {level: int(count) for level, count in zip(found.group.levels, counts)},
            }
            for found, counts in zip(held_out, of_level)
        }
    return figures, held_out


def wilson(hits: int, n: int) -> list[float]:
    """The 95 % interval of a share of n independent images (Wilson, JASA 1927, 22:209)."""
    from scipy.stats import binomtest

    low, high = binomtest(hits, n).proportion_ci(method="wilson")
    return [float(low), float(high)]


def deal_folds(group: Group, random: np.random.Generator) -> Int[np.ndarray, " n"]:
    """The fold of each image: of each level as many in each, and of each species' images of a level, up to one."""
    fold = np.empty(len(group), np.int64)
    for level in range(len(group.levels)):
        rows = np.flatnonzero(group.labels == level)
        rows = rows[np.argsort(group.species[rows] + random.random(len(rows)))]
        # Levels start apart, so that a species of one image of each has them in different folds.
        fold[rows] = (np.arange(len(rows)) + 2 * level) % FOLDS
    return fold


def _strata(group: Group, fold: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """Among which images labels are shuffled: those of a species and fold, or of a species where those are too few.

    Folds share the true labels out evenly. Of labels shuffled over folds, those that are frequent in training
    are rare among the held out, which costs them some accuracy: nothing over many species, but percents
    within one.
    """
    species = int(group.species.max()) + 1
    if species == 1 or len(group) >= _FEWEST_OF_A_FOLD * FOLDS * species:
        return group.species * FOLDS + fold
    return group.species


def _cross_validate(
    group: Group, vectors: np.ndarray, permutations: int, random: np.random.Generator
) -> HeldOut:
    dim = vectors.shape[1]
    fold = deal_folds(group, random)
    order = np.argsort(fold, kind="stable")
    labels = group.shuffled(permutations, random, _strata(group, fold))[:, order]
    rows, species = group.residuals(vectors)[order], group.species[order]
    if len(rows) < dim:
        # Outside the span of the rows, the covariance is the sphere's, which no row meets.
        rows = (rows @ np.linalg.qr(rows.T.astype(np.float64))[0]).astype(np.float32)
    ends = np.searchsorted(fold[order], np.arange(FOLDS + 1))
    parts = [slice(start, end) for start, end in itertools.pairwise(ends)]
    levels = len(group.levels)
    grams = [_gram(rows[part]) for part in parts]
    sums = [level_sums(rows[part], labels[:, part], levels) for part in parts]
    all_grams, all_sums = sum(grams), sum(sums)
    axes = 1 if levels == 2 else 2
    pairs = list(itertools.combinations(range(levels), 2))
    predicted, margin = np.empty(len(rows), np.int64), np.empty(len(rows))
    positions, projected = np.empty((len(rows), axes)), np.empty((len(pairs), len(rows)))
    hits = np.zeros((permutations + 1, levels), np.int64)
    shrinkages, first = [], None
    for number, part in enumerate(parts):
        if part.start == part.stop:
            continue
        offsets, in_training = _training_offsets(rows[part], species[part], group)
        means, priors = _level_means(all_sums - sums[number], labels[:, part], species[part], group, offsets)
        weighted = offsets * np.sqrt(in_training)[:, None]
        total = (all_grams - grams[number] - weighted.T @ weighted) / in_training.sum()
        model = Discriminant.fit(total, means, priors, int((in_training - 1).clip(0).sum()), dim)
        shrinkages.append(model.shrinkage)
        first = model if first is None else first
        leading = model.axes(axes, first)
        directions = np.stack([means[0, b] - means[0, a] for a, b in pairs], axis=1)
        directions /= np.linalg.norm(directions, axis=0).clip(1e-30)
        offsets = offsets.astype(np.float32)
        for chunk in chunks(part.stop - part.start):
            here = slice(part.start + chunk.start, part.start + chunk.stop)
            held_out = rows[here] - offsets[species[here]]
            odds = model.log_odds(held_out)
            best = _best(odds)
            for level in range(levels):
                hits[:, level] += ((best == level) & (labels[:, here] == level)).sum(axis=1)
            predicted[here], margin[here] = best[0], odds[0, :, 0]
            positions[here] = held_out @ leading
            projected[:, here] = (held_out @ directions).T
    back = np.argsort(order)
    positions = positions[back]
    within = (
        positions
        - np.stack([positions[group.labels == at].mean(axis=0) for at in range(levels)])[group.labels]
    )
    positions = positions / within.std(axis=0).clip(1e-30)
    differences = {pair: along[back] for pair, along in zip(pairs, projected)}
    return HeldOut(
        group, predicted[back], margin[back], positions, differences, hits, float(np.mean(shrinkages))
    )


def _best(odds: Float32[np.ndarray, "times n others"]) -> Int[np.ndarray, "times n"]:
    if odds.shape[2] == 1:
        return (odds[:, :, 0] > 0).astype(np.int64)
    best = odds.argmax(axis=2)
    return np.where(np.take_along_axis(odds, best[:, :, None], 2)[:, :, 0] > 0, best + 1, 0)


def _gram(rows: Float32[np.ndarray, "n d"]) -> Float64[np.ndarray, "d d"]:
    found = np.zeros((rows.shape[1],) * 2)
    for chunk in chunks(len(rows)):
        found += rows[chunk].T @ rows[chunk]
    return found


def _training_offsets(
    held_out: np.ndarray, species: np.ndarray, group: Group
) -> tuple[np.ndarray, np.ndarray]:
    """Of each species, the mean residual of its training images, and how many it has.

    Residuals sum to nothing over a species, so this follows from those that are held out. A species without
    training images keeps its own mean.
    """
    sizes = np.bincount(group.species)
    left = sizes - np.bincount(species, minlength=len(sizes))
    return -species_sums(held_out, species, len(sizes)) / left.clip(1)[:, None] * (left > 0)[:, None], left


def _level_means(
    sums: np.ndarray,
    labels: UInt16[np.ndarray, "times n"],
    species: np.ndarray,
    group: Group,
    offsets: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Means and shares of the levels in training, from the sums of their residuals; labels, species: held out."""
    times, levels = sums.shape[:2]
    cells = len(offsets) * levels
    in_all = np.bincount(group.species * levels + group.labels, minlength=cells)
    counts = np.stack(
        [in_all - np.bincount(species * levels + row, minlength=cells) for row in labels.astype(np.int64)]
    )
    counts = counts.reshape(times, len(offsets), levels).transpose(0, 2, 1)
    sums = sums - (counts.reshape(-1, len(offsets)) @ offsets).reshape(sums.shape)
    of_level = counts.sum(axis=2)
    return sums / of_level.clip(1)[:, :, None], of_level / of_level.sum(axis=1, keepdims=True)


def _auc(found: HeldOut) -> float:
    """The chance that an image of the second level has the higher odds of it than one of the first."""
    from scipy.stats import rankdata

    second = found.group.labels == 1
    ranks = rankdata(found.margin)[second]
    return float((ranks.mean() - (second.sum() + 1) / 2) / (~second).sum())


def _fisher_ratios(found: HeldOut) -> list[float]:
    ratios = []
    for (a, b), along in found.differences.items():
        of_a, of_b = along[found.group.labels == a], along[found.group.labels == b]
        spread = of_a.var(ddof=1) + of_b.var(ddof=1)
        if spread > 0:
            ratios.append(float((of_b.mean() - of_a.mean()) ** 2 / spread))
    return ratios


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
