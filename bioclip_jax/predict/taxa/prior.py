"""Priors over taxa: weights of taxa of any rank, as logarithms for the scores of species."""

from __future__ import annotations

import math
import os
from collections import Counter
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64

from bioclip_jax.errors import UserError
from bioclip_jax.predict.rank import Rank
from bioclip_jax.text import parse_name

from .checklist import OTHERS, WEIGHT_COLUMNS, Checklist, Listed, read_checklist
from .names import TaxaNames
from .resolve import Resolution, TaxonRows, resolve_checklist
from .synonyms import Synonyms


@dataclass(frozen=True)
class Prior:
    """Weights of a head's species: p'(species) is proportional to p(species) * weight.

    weights: one for each row of the head. resolution: of the table's names.
    """

    weights: Float64[np.ndarray, " taxa"]
    resolution: Resolution

    @property
    def settings(self) -> dict[str, str]:
        """The table's path and digest."""
        return {"path": self.resolution.checklist.path, "digest": self.resolution.checklist.digest}

    @property
    def allowed(self) -> Bool[np.ndarray, " taxa"]:
        """True for the rows with a weight above 0."""
        return self.weights > 0

    def log_weights(self, rows: np.ndarray | None) -> Float32[np.ndarray, " rows"] | None:
        """Return log(weight / the largest) of some rows, all above 0; None if all are equal."""
        weights = self.weights if rows is None else self.weights[rows]
        bias = np.log(weights / weights.max())
        return bias.astype(np.float32) if bias.any() else None


def read_prior(path: str | os.PathLike[str]) -> Checklist:
    """Read a table of weights: a column of taxa, as read_checklist, and one of WEIGHT_COLUMNS.

    Rows `*` or `others` have the weight of taxa without one, 1 if there is none. Raises UserError for a
    table without weights, and for a weight that is not a number, is negative or infinite.
    """
    checklist = read_checklist(path)
    if not any(taxon.weight for taxon in checklist.taxa):
        raise UserError(
            f"the prior {path} has no column {' or '.join(WEIGHT_COLUMNS[:3])}; give a table taxon,weight"
        )
    for taxon in checklist.taxa:
        _weight(checklist, taxon)
    return checklist


def resolve_prior(
    names: TaxaNames, checklist: Checklist, *, synonyms: Synonyms | None = None, skip_unknown: bool = False
) -> Prior:
    """Return the weights of a head's species: that of the most specific taxon listed, else that of others.

    Occurrences of one species under several names (synonyms, subspecies) are added, and those that are
    identified no further than a genus or above do not count; other weights of one taxon must agree.
    Unknown names as resolve_checklist. Raises UserError if weights of one taxon differ, or all are 0.
    """
    resolution = resolve_checklist(names, checklist, synonyms=synonyms, skip_unknown=skip_unknown)
    others = {_weight(checklist, taxon): taxon.line for taxon in checklist.taxa if taxon.text in OTHERS}
    if len(others) > 1:
        lines = " and ".join(map(str, others.values()))
        raise UserError(f"the prior {checklist.path} has several weights of others (rows {lines}); keep one")
    weights = np.full(len(names), next(iter(others), 1.0))
    by_taxon: dict[TaxonRows, float] = {}
    lines: dict[TaxonRows, int] = {}
    # A subspecies without rows of its own has its species' weight only if that is not listed.
    for listed, taxa in sorted(zip(checklist.taxa, resolution.taxa), key=lambda pair: _is_within(pair[0])):
        weight = _weight(checklist, listed)
        for rows in taxa:
            if checklist.has_counts:
                if rows.rank is Rank.SPECIES:
                    by_taxon[rows] = by_taxon.get(rows, 0.0) + weight
            elif by_taxon.setdefault(rows, weight) != weight and not _is_within(listed):
                raise UserError(
                    f"the prior {checklist.path} has two weights of {listed.text} (rows {lines[rows]} and "
                    f"{listed.line}); keep one"
                )
            lines.setdefault(rows, listed.line)
    # Higher ranks first, so that the most specific taxon decides.
    for rows, weight in sorted(by_taxon.items(), key=lambda item: item[0].rank.value):
        weights[rows.start : rows.stop] = weight
    if not (weights > 0).any():
        raise UserError(f"the prior {checklist.path} has no weight above 0, so nothing can be predicted")
    return Prior(weights, resolution)


def describe_prior(prior: Prior, names: TaxaNames) -> str:
    """Return a line for people about a prior: names, weights, excluded species."""
    starts = names.starts(Rank.SPECIES)
    weights = prior.weights[starts]
    counts = Counter({"excluded": int((weights == 0).sum()), "weight 1": int((weights == 1).sum())})
    least, most = weights[weights > 0].min(), weights.max()
    parts = [prior.resolution.describe(names, "prior"), f"weights from {least:g} to {most:g}"]
    if counts["excluded"]:
        parts.append(f"{counts['excluded']:,} species excluded by a weight of 0")
    return "; ".join(parts)


def _is_within(listed: Listed) -> bool:
    """True for a taxon within a species."""
    return bool(parse_name(listed.text).infraspecific)


def _weight(checklist: Checklist, listed: Listed) -> float:
    try:
        weight = float(listed.weight)
    except ValueError:
        weight = math.nan
    if not (math.isfinite(weight) and weight >= 0):
        raise UserError(
            f"the prior {checklist.path}, row {listed.line} ({listed.text}): the weight is "
            f"{listed.weight or 'empty'!r}; give a number from 0"
        )
    return weight
