"""Cross-validated LDA accuracy of a within-species factor, species means removed."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Float64, Int, UInt16

from bioclip_jax.intervals import wilson_interval

from .factors import Factor, Group, chunks, level_sums, species_sums
from .lda import Discriminant

FOLDS = 5
_FEWEST_OF_A_FOLD = 4


@dataclass(frozen=True)
class HeldOut:
    """Held-out predictions of a group's images.

    predicted: levels. margin: log-odds of the second level against the first. positions: along the leading
    discriminant axes (one, or two for more than two levels), in standard deviations within levels.
    differences: for each pair of levels, projections on the unit direction from the first's mean to the
    second's. hits: by labeling (the true one, then the shuffled) and level. shrinkage: mean over folds.
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
    """Compute the 5-fold accuracy of LDA after subtracting species means, and its chance level.

    In each fold, the species means and the shrunken covariance (OAS: Chen et al., IEEE Trans. Signal Process.
    2010, 58:5016) are those of the training images, so that nothing leaks from a held-out image. Folds are
    stratified by level and, as far as possible, by species. In a nested factor, each species has its own
    discriminant.

    Returns shares from 0 to 1 and the held-out predictions by group. The shares: "separability" with its 95 %
      "interval" (Wilson), "balanced_accuracy" (mean over levels), "majority" (predicting each group's most
      frequent level), "auc" (for two levels), "separability_null" ({"mean", "quantile_95", "balanced_mean",
      "permutations"}: labels shuffled within species), "separability_p" (one-sided, at least
      1 / (permutations + 1)), "balanced_p" (the same for balanced accuracy, which is more sensitive if one
      level is rare), "shrinkage" (mean over folds), "fisher_ratio" ((difference of means)² / (sum of
      variances) of held-out images along the difference of the training means, mean over pairs of levels);
      for a nested factor "by_species".
    """
    random = np.random.default_rng(seed)
    held_out = [_cross_validate(group, vectors, permutations, random) for group in factor.groups]
    level_counts = [np.bincount(group.group.labels) for group in held_out]
    n = len(factor)
    right = np.sum([group.hits.sum(axis=1) for group in held_out], axis=0)
    by_level = np.concatenate([group.hits / counts for group, counts in zip(held_out, level_counts)], axis=1)
    balanced = by_level.mean(axis=1)
    result: dict[str, Any] = {
        "separability": float(right[0] / n),
        "interval": wilson_interval(int(right[0]), n),
        "balanced_accuracy": float(balanced[0]),
        "majority": float(sum(counts.max() for counts in level_counts) / n),
        "auc": _auc(held_out[0]) if not factor.nested and len(level_counts[0]) == 2 else None,
        "separability_null": None,
        "separability_p": None,
        "balanced_p": None,
        "shrinkage": float(np.mean([group.shrinkage for group in held_out])),
        "fisher_ratio": _mean([ratio for group in held_out for ratio in _fisher_ratios(group)]),
    }
    if permutations:
        result["separability_null"] = {
            "mean": float(right[1:].mean() / n),
            "quantile_95": float(np.quantile(right[1:], 0.95) / n),
            "balanced_mean": float(balanced[1:].mean()),
            "permutations": permutations,
        }
        result["separability_p"] = float((1 + (right[1:] >= right[0]).sum()) / (1 + permutations))
        # Equal sums of shares may differ in the last digits.
        result["balanced_p"] = float((1 + (balanced[1:] >= balanced[0] - 1e-9).sum()) / (1 + permutations))
    if factor.nested:
        result["by_species"] = {
            group.group.name: _species_result(group, counts, permutations)
            for group, counts in zip(held_out, level_counts)
        }
    return result, held_out


def _species_result(held_out: HeldOut, counts: np.ndarray, permutations: int) -> dict[str, Any]:
    group, n = held_out.group, len(held_out.group)
    right = held_out.hits.sum(axis=1)
    return {
        "separability": float(right[0] / n),
        "interval": wilson_interval(int(right[0]), n),
        "majority": float(counts.max() / n),
        "null_mean": float(right[1:].mean() / n) if permutations else None,
        "fisher_ratio": _mean(_fisher_ratios(held_out)),
        "levels": {level: int(count) for level, count in zip(group.levels, counts)},
    }


def deal_folds(group: Group, random: np.random.Generator) -> Int[np.ndarray, " n"]:
    """Assign images to folds, stratified by level and by species within a level."""
    fold = np.empty(len(group), np.int64)
    for level in range(len(group.levels)):
        rows = np.flatnonzero(group.labels == level)
        rows = rows[np.argsort(group.species[rows] + random.random(len(rows)))]
        # Levels start in different folds, which separates the images of a species with one image per level.
        fold[rows] = (np.arange(len(rows)) + 2 * level) % FOLDS
    return fold


def _strata(group: Group, fold: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """Return codes of the groups to shuffle labels in: species and fold, or species if these are too small.

    Folds are stratified by the true labels. Labels shuffled across folds that are frequent in training are
    rare among the held-out images, which lowers their accuracy: negligible over many species, but percents in
    one.
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
        # All rows are in their span, outside of which the covariance is spherical and has no effect.
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
            batch = slice(part.start + chunk.start, part.start + chunk.stop)
            held_out = rows[batch] - offsets[species[batch]]
            odds = model.log_odds(held_out)
            best = _best(odds)
            for level in range(levels):
                hits[:, level] += ((best == level) & (labels[:, batch] == level)).sum(axis=1)
            predicted[batch], margin[batch] = best[0], odds[0, :, 0]
            positions[batch] = held_out @ leading
            projected[:, batch] = (held_out @ directions).T
    inverse = np.argsort(order)
    positions = positions[inverse]
    means = np.stack([positions[group.labels == level].mean(axis=0) for level in range(levels)])
    positions = positions / (positions - means[group.labels]).std(axis=0).clip(1e-30)
    differences = {pair: along[inverse] for pair, along in zip(pairs, projected)}
    shrinkage = float(np.mean(shrinkages))
    return HeldOut(group, predicted[inverse], margin[inverse], positions, differences, hits, shrinkage)


def _best(odds: Float32[np.ndarray, "times n others"]) -> Int[np.ndarray, "times n"]:
    if odds.shape[2] == 1:
        return (odds[:, :, 0] > 0).astype(np.int64)
    best = odds.argmax(axis=2)
    return np.where(np.take_along_axis(odds, best[:, :, None], 2)[:, :, 0] > 0, best + 1, 0)


def _gram(rows: Float32[np.ndarray, "n d"]) -> Float64[np.ndarray, "d d"]:
    gram = np.zeros((rows.shape[1],) * 2)
    for chunk in chunks(len(rows)):
        gram += rows[chunk].T @ rows[chunk]
    return gram


def _training_offsets(
    held_out: np.ndarray, species: np.ndarray, group: Group
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean residual of each species' training images, and their number.

    Residuals sum to zero over a species, so this follows from the held-out ones. A species without training
    images keeps its own mean.
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
    """Return the levels' means and shares in training, from sums of residuals; labels, species: held out."""
    times, levels = sums.shape[:2]
    cells = len(offsets) * levels
    totals = np.bincount(group.species * levels + group.labels, minlength=cells)
    counts = np.stack(
        [totals - np.bincount(species * levels + row, minlength=cells) for row in labels.astype(np.int64)]
    )
    counts = counts.reshape(times, len(offsets), levels).transpose(0, 2, 1)
    sums = sums - (counts.reshape(-1, len(offsets)) @ offsets).reshape(sums.shape)
    sizes = counts.sum(axis=2)
    return sums / sizes.clip(1)[:, :, None], sizes / sizes.sum(axis=1, keepdims=True)


def _auc(held_out: HeldOut) -> float:
    """Return the area under the ROC curve of the second level."""
    from scipy.stats import rankdata

    second = held_out.group.labels == 1
    ranks = rankdata(held_out.margin)[second]
    return float((ranks.mean() - (second.sum() + 1) / 2) / (~second).sum())


def _fisher_ratios(held_out: HeldOut) -> list[float]:
    ratios = []
    for levels, along in held_out.differences.items():
        first, second = (along[held_out.group.labels == level] for level in levels)
        spread = first.var(ddof=1) + second.var(ddof=1)
        if spread > 0:
            ratios.append(float((second.mean() - first.mean()) ** 2 / spread))
    return ratios


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
