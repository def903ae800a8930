"""Ranks for corrections of which only a name is known, as a person typed it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bioclip_jax.predict.rank import Rank
from bioclip_jax.predict.taxa import TaxaNames, TaxonRows, find_common_names, find_taxa, taxon_key
from bioclip_jax.text import RANKS, Taxon

from .corrections import REJECTED, Correction


def complete_ranks(corrections: Sequence[Correction], names: TaxaNames) -> tuple[list[Correction], list[str]]:
    """Fill in the ranks of corrections that have none, from the taxa of a model.

    A label is a scientific name of any rank or a common name, in any case. Returns the corrections, and the
    labels that are no taxon's name or several taxa's. Synonyms need `predict --backbone`.
    """
    open_labels = dict.fromkeys(
        correction.label
        for correction in corrections
        if correction.status != REJECTED and not any(correction.taxon.lineage())
    )
    taxa = taxa_of_labels(list(open_labels), names)
    unknown = [label for label in open_labels if label not in taxa]
    completed = [
        replace(correction, taxon=taxa[correction.label])
        if correction.label in taxa and not any(correction.taxon.lineage())
        else correction
        for correction in corrections
    ]
    return completed, unknown


def taxa_of_labels(labels: Sequence[str], names: TaxaNames) -> dict[str, Taxon]:
    """Return the taxa of labels that are the scientific or common name of one taxon, of any rank."""
    scientific = find_taxa(names, {taxon_key(label) for label in labels})
    common = dict(zip(labels, find_common_names(names, labels)))
    taxa: dict[str, Taxon] = {}
    for label in labels:
        rows = _outermost(scientific.get(taxon_key(label), [])) or common[label]
        if len(rows) == 1:
            taxa[label] = _taxon(names, rows[0])
    return taxa


def _outermost(rows: Sequence[TaxonRows]) -> list[TaxonRows]:
    """Drop taxa within another of the same name, as an order of one class."""
    widest = sorted(rows, key=lambda taxon: (taxon.start, -taxon.stop, taxon.rank.value))
    kept: list[TaxonRows] = []
    for taxon in widest:
        if not kept or taxon.start >= kept[-1].stop:
            kept.append(taxon)
    return kept


def _taxon(names: TaxaNames, rows: TaxonRows) -> Taxon:
    taxon = names.taxon(rows.start)
    lineage = taxon.lineage(RANKS[rows.rank.value])
    missing = [""] * (len(RANKS) - len(lineage))
    return Taxon(*lineage, *missing, taxon.common_name if rows.rank is Rank.SPECIES else "")
