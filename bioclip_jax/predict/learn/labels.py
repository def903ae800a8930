"""Classes of labeled photographs: taxa of a rank, or the texts of a column."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from bioclip_jax.errors import UserError, did_you_mean, listing
from bioclip_jax.pipeline.sources import LABEL_COLUMN, Sample
from bioclip_jax.predict.rank import Rank
from bioclip_jax.predict.review import taxa_of_labels
from bioclip_jax.predict.taxa import TaxaNames
from bioclip_jax.text import RANKS, Taxon, clean_text

_MOST_LISTED = 3
_BINOMIAL = re.compile(r"[A-Z][a-z-]+ [a-z][a-z-]+")


class Labels(NamedTuple):
    """Classes of photographs.

    names: of the classes; a taxon's scientific name. taxa: the classes as taxa, in the order of TaxaNames;
    None for plain labels. rank: of the taxa. kept: the labeled photographs, by their index. labels: the class
    of each. notes: for the user.
    """

    names: list[str]
    taxa: list[Taxon] | None
    rank: Rank | None
    kept: Int[np.ndarray, " n"]
    labels: Int[np.ndarray, " n"]
    notes: list[str]


def label_photographs(
    samples: Sequence[Sample], column: str | None = None, known: TaxaNames | None = None
) -> Labels:
    """Label photographs by a rank, by another column, or by default by species, else by the column "label".

    Taxa of the same name count as one unless their kingdoms differ; labels that differ in case or blanks
    count as one. Plain labels that are all names of species in `known` become taxa. Photographs without a
    label are dropped. Raises UserError for an unknown column, and without a label.
    """
    rank = column.strip().lower() if column is not None else None
    if rank is None and any(sample.taxon is not None and sample.taxon.species for sample in samples):
        rank = "species"
    if rank in RANKS:
        samples, notes = _with_typed_names(samples, known)
        labels = _by_rank(samples, rank)
        return labels._replace(notes=[*labels.notes, *notes])
    column = _column(samples, column)
    texts = [clean_text(sample.metadata.get(column)) for sample in samples]
    if column == "common_name":
        texts = [sample.taxon.common_name if sample.taxon else "" for sample in samples]
    if (
        known is not None
        and column == LABEL_COLUMN
        and (taxa := _species_named(set(filter(None, texts)), known))
    ):
        named = [replace(sample, taxon=taxa.get(text)) for sample, text in zip(samples, texts)]
        return _by_rank(named, "species")
    return _by_text(texts, column)


def _with_typed_names(
    samples: Sequence[Sample], known: TaxaNames | None
) -> tuple[Sequence[Sample], list[str]]:
    """Give ranks to photographs that only have a label, as a reviewer types it; note new names.

    The names are those of `known`. Two words that it lacks are a genus and an epithet: a new species.
    """

    def label_of(sample: Sample) -> str:
        has_ranks = sample.taxon is not None and any(sample.taxon.lineage())
        return "" if has_ranks else clean_text(sample.metadata.get(LABEL_COLUMN))

    typed = list(dict.fromkeys(filter(None, map(label_of, samples))))
    if not typed:
        return samples, []
    taxa = {} if known is None else taxa_of_labels(typed, known)
    new = {label: Taxon(*[""] * 5, *label.split()) for label in typed if _BINOMIAL.fullmatch(label)}
    new = {label: taxon for label, taxon in new.items() if label not in taxa}
    taxa = new | taxa
    named = [
        replace(sample, taxon=taxa[label]) if (label := label_of(sample)) in taxa else sample
        for sample in samples
    ]
    notes = []
    if new:
        notes.append(
            f"names that the model does not have are new species: {listing(sorted(new), _MOST_LISTED)}"
        )
    return named, notes


def _column(samples: Sequence[Sample], column: str | None) -> str:
    columns = {name for sample in samples for name in sample.metadata}
    if any(sample.taxon is not None and sample.taxon.common_name for sample in samples):
        columns.add("common_name")
    if column is None:
        if LABEL_COLUMN in columns:
            return LABEL_COLUMN
        raise UserError(
            "the photographs have neither a species nor a label; name the column of their classes with "
            f"--label ({listing(sorted(columns), 10) or 'there is none'})"
        )
    folded = {name.strip().lower(): name for name in columns}
    if column in columns or column.strip().lower() in folded:
        return column if column in columns else folded[column.strip().lower()]
    known = [*sorted(columns), *RANKS]
    hint = did_you_mean(column, known, f"give one of {listing(known, 12)}")
    raise UserError(f"the photographs have no column {column!r}{hint}")


def _by_rank(samples: Sequence[Sample], rank: str) -> Labels:
    """Label by taxa at a rank."""
    groups: defaultdict[str, list[int]] = defaultdict(list)
    taxa: dict[int, Taxon] = {}
    for index, sample in enumerate(samples):
        taxon = sample.taxon
        if taxon is None or not taxon.rank(rank):
            continue
        lineage = taxon.lineage(rank)
        taxa[index] = Taxon(*lineage, *[""] * (len(RANKS) - len(lineage)))
        if rank == "species":
            taxa[index] = replace(taxa[index], common_name=taxon.common_name)
        groups[taxa[index].scientific_name.casefold()].append(index)
    if not taxa:
        raise UserError(f"no photograph has a {rank}; name the column of the classes with --label")
    class_of: dict[int, Taxon] = {}
    for members in groups.values():
        for merged in _merge([taxa[index] for index in members]):
            for index in members:
                if index not in class_of and _agree(taxa[index], merged):
                    class_of[index] = merged
    distinct = list(dict.fromkeys(class_of.values()))
    sorted_names = TaxaNames.from_rows((*taxon.lineage(), taxon.common_name) for taxon in distinct)
    ordered = [distinct[source] for source in sorted_names.source_index.tolist()]
    numbers = {taxon: number for number, taxon in enumerate(ordered)}
    kept = np.array(sorted(class_of), np.int64)
    notes = []
    if missing := len(samples) - len(kept):
        notes.append(f"{missing:,} of the {len(samples):,} photographs have no {rank}; they are not learned")
    labels = np.array([numbers[class_of[index]] for index in kept.tolist()], np.int64)
    names = _distinct_names(ordered)
    return Labels(names, ordered, Rank[rank.upper()], kept, labels, notes)


def _merge(taxa: Sequence[Taxon]) -> list[Taxon]:
    """Return the distinct taxa of one name, those of one kingdom merged into the most complete lineage."""
    merged: list[Taxon] = []
    # The most complete first, so that the others find all that they may agree with.
    counts = Counter(taxa)
    for taxon in sorted(counts, key=lambda taxon: (-sum(map(bool, taxon.lineage())), -counts[taxon])):
        for index, other in enumerate(merged):
            if _agree(taxon, other):
                values = [one or two for one, two in zip(other.lineage(), taxon.lineage())]
                merged[index] = Taxon(*values, common_name=other.common_name or taxon.common_name)
                break
        else:
            merged.append(taxon)
    return merged


def _agree(one: Taxon, other: Taxon) -> bool:
    """Return True unless the kingdoms differ: within a kingdom, a name belongs to one taxon by the codes."""
    return not one.kingdom or not other.kingdom or one.kingdom.casefold() == other.kingdom.casefold()


def _distinct_names(taxa: Sequence[Taxon]) -> list[str]:
    """Return scientific names, with the lineage of those that several taxa have."""
    counts = Counter(taxon.scientific_name for taxon in taxa)
    return [
        taxon.scientific_name if counts[taxon.scientific_name] == 1 else taxon.taxonomic_name
        for taxon in taxa
    ]


def _by_text(texts: Sequence[str], column: str) -> Labels:
    """Label by texts, those that differ in case merged under the most frequent spelling."""
    spellings: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for text in filter(None, texts):
        spellings[text.casefold()][text] += 1
    if not spellings:
        raise UserError(
            f"the column {column} is empty for all photographs; fill it in, or name another --label"
        )
    notes = []
    several = [counts for counts in spellings.values() if len(counts) > 1]
    if several:
        shown = listing([" = ".join(sorted(counts)) for counts in several], _MOST_LISTED)
        notes.append(f"labels that differ only in capitals count as one: {shown}")
    name_of = {key: counts.most_common(1)[0][0] for key, counts in spellings.items()}
    names = sorted(name_of.values())
    numbers = {name: number for number, name in enumerate(names)}
    kept = [index for index, text in enumerate(texts) if text]
    if missing := len(texts) - len(kept):
        notes.append(f"{missing:,} of the {len(texts):,} photographs have no {column}; they are not learned")
    labels = np.array([numbers[name_of[texts[index].casefold()]] for index in kept], np.int64)
    return Labels(names, None, None, np.array(kept, np.int64), labels, notes)


def _species_named(texts: Collection[str], known: TaxaNames) -> Mapping[str, Taxon] | None:
    """Return the species that texts such as Malus_domestica name, None unless each names a single one."""
    import pyarrow as pa
    import pyarrow.compute as pc

    spelled = {" ".join(text.replace("_", " ").split()).casefold(): text for text in texts}
    spelled = {name: text for name, text in spelled.items() if " " in name}
    if not spelled or len(spelled) < len(set(texts)):
        return None
    # Vectorized, since published taxa are a million.
    column = pc.utf8_lower(known.label_table()["species"])
    found = np.flatnonzero(pc.is_in(column, pa.array(list(spelled))).to_numpy())
    rows = np.argsort(known.source_index, kind="stable")[found]
    taxa: dict[str, Taxon] = {}
    for row in rows.tolist():
        taxon = known.taxon(row)
        text = spelled[taxon.scientific_name.casefold()]
        if taxa.setdefault(text, taxon).lineage() != taxon.lineage():
            return None
    return taxa if len(taxa) == len(spelled) else None


def class_texts(names: Sequence[str], taxa: Sequence[Taxon] | None) -> list[str]:
    """Return the texts that name the classes for a model: of a taxon all known ranks and the common name."""
    if taxa is None:
        return [name.replace("_", " ") for name in names]
    return [" ".join(filter(None, (taxon.taxonomic_name, taxon.common_name))) for taxon in taxa]
