"""Zero-shot classes: the distinct class texts of labeled samples, as in the reference's evaluation."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Int

from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.sources import Sample
from bioclip_jax.text import COMMON_SEPARATOR, EVALUATION_TEMPLATES, Taxon, known_text

AS_IS = "asis"
TEXT_TYPES = (AS_IS, "sci", "taxon", "com", "sci_com", "taxon_com")
TEMPLATES = {"openai": EVALUATION_TEMPLATES, "one": EVALUATION_TEMPLATES[:1]}
_SUBSPECIES = "subspecies"


@dataclass(frozen=True)
class Candidate:
    """A class that can be predicted.

    name: class text, which goes into the templates and identifies the class. taxon: its lineage, None for a
    label without one. short_name: for tables, such as "Malus domestica (apple)"; "" for the class text.
    """

    name: str
    taxon: Taxon | None
    short_name: str = ""


def check_text_type(text_type: str) -> None:
    """Raise UserError for an unknown text type."""
    if text_type not in TEXT_TYPES:
        raise UserError(f"text type {text_type!r} does not exist; choose from {', '.join(TEXT_TYPES)}")


def class_text(taxon: Taxon, text_type: str, subspecies: str = "") -> str:
    """Return the class text of a taxon, without the templates' "a photo of"; "" if no name is known.

    As in the reference's evaluation: names from kingdom to genus are capitalized, species and subspecies
    lower-case, a common name is verbatim; without a kingdom, or for `sci`, the text is genus, species and
    subspecies; without a common name there is no suffix. If that yields nothing, it is the lowest known rank
    for `sci`, all known ranks for `taxon`, and the scientific name for `com`.
    """
    check_text_type(text_type)
    taxon = in_reference_case(taxon)
    if text_type == "com" and taxon.common_name:
        return taxon.common_name
    organism = (taxon.genus, taxon.species, subspecies.lower())
    if text_type.startswith("taxon"):
        parts = (*taxon.lineage(), subspecies.lower()) if taxon.kingdom or not any(organism) else organism
    else:
        parts = organism if any(organism) else (taxon.scientific_name,)
    text = " ".join(part for part in parts if part)
    suffix = COMMON_SEPARATOR + taxon.common_name if text_type.endswith("_com") and taxon.common_name else ""
    return text + suffix if text else taxon.common_name


def in_reference_case(taxon: Taxon) -> Taxon:
    """Return the taxon with capitalized names and a lower-case species epithet."""
    *higher, species = taxon.lineage()
    return Taxon(*(name.capitalize() for name in higher), species.lower(), taxon.common_name)


def sample_class(sample: Sample, text_type: str) -> Candidate | None:
    """Return the class of a sample, with that sample's own lineage; None if it is unlabeled."""
    taxon = sample.taxon
    if text_type == AS_IS:
        # A table's label is its class column. If it has ranks too, cls is the rank and class is metadata.
        if label := str(sample.metadata.get("class", "")).strip():
            return Candidate(label, _lineage(taxon) if taxon and taxon.scientific_name else None)
        alone = taxon is not None and taxon == Taxon(class_=taxon.class_)
        return Candidate(taxon.class_, None) if alone and taxon.class_ else None
    return None if taxon is None else _named(taxon, text_type, _subspecies(sample.metadata))


def candidates(samples: Iterable[Sample], text_type: str) -> list[Candidate]:
    """Return the classes of `samples`, sorted by class text. Raises UserError if no sample has one.

    Each class has the lineage with the most known ranks among its samples, and the most common of those.
    """
    taxa: defaultdict[str, Counter[Taxon]] = defaultdict(Counter)
    short_names: dict[str, str] = {}
    for label in (sample_class(sample, text_type) for sample in samples):
        if label is not None:
            taxa[label.name][label.taxon] += 1
            short_names.setdefault(label.name, label.short_name)
    if not taxa:
        raise no_label(text_type)
    short_names = unambiguous_names(short_names)
    return [Candidate(name, _best_known(taxa[name]), short_names[name]) for name in sorted(taxa)]


def no_label(text_type: str) -> UserError:
    """Return the error for samples without a single class of this text type."""
    wanted = "class column" if text_type == AS_IS else "taxon"
    return UserError(f"no sample has a {wanted}, which --text-type {text_type} needs; give labeled data")


def unambiguous_names(short_names: Mapping[str, str]) -> dict[str, str]:
    """Return short names by class text; an empty or shared one is replaced by the class text."""
    used = Counter(short_names.values())
    return {text: short if short and used[short] == 1 else text for text, short in short_names.items()}


def class_indices(
    samples: Iterable[Sample], candidates: Sequence[Candidate], text_type: str
) -> Int[np.ndarray, " n"]:
    """Return the index in `candidates` of each sample's class; -1 for an unknown or other class."""
    rows = {candidate.name: row for row, candidate in enumerate(candidates)}
    classes = (sample_class(sample, text_type) for sample in samples)
    return np.array([-1 if label is None else rows.get(label.name, -1) for label in classes], np.int64)


def true_lineage(own: Taxon | None, class_taxon: Taxon) -> Taxon:
    """Return the lineage that an image's prediction is compared with.

    That is the lineage of its class down to the first rank at which the image's own lineage differs, and
    unknown below; a rank unknown for the image does not differ.
    """
    shared: list[str] = []
    for name, own_name in zip(class_taxon.lineage(), (own or class_taxon).lineage()):
        if own_name and name and own_name != name:
            break
        shared.append(name)
    return Taxon(*shared)


# Cached, since one species has hundreds of images.
@lru_cache(maxsize=1 << 16)
def _named(taxon: Taxon, text_type: str, subspecies: str) -> Candidate | None:
    text = class_text(taxon, text_type, subspecies)
    if not text:
        return None
    short = class_text(taxon, "com" if text_type == "com" else "sci", subspecies)
    if text_type.endswith("_com") and taxon.common_name:
        short = f"{short} ({taxon.common_name})"
    return Candidate(text, _lineage(taxon), short)


@lru_cache(maxsize=1 << 16)
def _lineage(taxon: Taxon) -> Taxon:
    return Taxon(*in_reference_case(taxon).lineage())


def _best_known(taxa: Counter[Taxon | None]) -> Taxon | None:
    def order(taxon: Taxon) -> tuple[int, int, tuple[str, ...]]:
        lineage = taxon.lineage()
        return -sum(map(bool, lineage)), -taxa[taxon], lineage

    return min((taxon for taxon in taxa if taxon is not None), key=order, default=None)


def _subspecies(metadata: Mapping[str, Any]) -> str:
    return known_text(
        next((value for name, value in metadata.items() if name.strip().lower() == _SUBSPECIES), "")
    )
