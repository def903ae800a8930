"""What a sample's class is, and how it is named, by text type."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.sources import Sample
from bioclip_jax.text.captions import TEXT_TYPES, class_name
from bioclip_jax.text.taxon import Taxon
from bioclip_jax.text.templates import OPENAI_TEMPLATES

AS_IS = "asis"
TEMPLATES = {"openai": OPENAI_TEMPLATES, "one": ("a photo of {}.",)}


@dataclass(frozen=True)
class Candidate:
    """A class that may be the answer: its `name` goes into the templates; `taxon` is None for a label that is none."""

    name: str
    taxon: Taxon | None


def check_text_type(text_type: str) -> None:
    """UserError for a text type that does not exist."""
    if text_type not in (AS_IS, *TEXT_TYPES):
        raise UserError(f"text type {text_type!r} does not exist; choose from {', '.join((AS_IS, *TEXT_TYPES))}")


def label_of(sample: Sample, text_type: str) -> Candidate | None:
    """The class of a sample, None where the source does not say."""
    taxon = sample.taxon
    if text_type == AS_IS:
        # A table has its label under class. Where it has ranks too, theirs is cls, and the label is metadata.
        if label := str(sample.metadata.get("class", "")).strip():
            return Candidate(label, taxon if taxon and taxon.scientific_name else None)
        alone = taxon is not None and taxon == Taxon(class_=taxon.class_)
        return Candidate(taxon.class_, None) if alone and taxon.class_ else None
    if taxon is None or not class_name(taxon, text_type):
        return None
    return Candidate(class_name(taxon, text_type), taxon)


def identity(candidate: Candidate, text_type: str) -> Hashable:
    """What makes two samples one class: the label, or the lineage whatever the common name."""
    taxon = candidate.taxon
    return candidate.name if text_type == AS_IS or not any(taxon.lineage()) else taxon.lineage()


def distinct(named: Iterable[Candidate | None], text_type: str) -> list[Candidate]:
    """The distinct classes, sorted by name; one with several names has the one used most."""
    used = Counter(label for label in named if label is not None)
    first: dict[Hashable, Candidate] = {}
    for candidate, _ in sorted(used.items(), key=lambda item: (-item[1], item[0].name)):
        first.setdefault(identity(candidate, text_type), candidate)
    return sorted(first.values(), key=lambda candidate: (candidate.name, str(candidate.taxon)))


def candidates(samples: Iterable[Sample], text_type: str) -> list[Candidate]:
    """The classes of `samples`, sorted by name. UserError if no sample has one."""
    found = distinct((label_of(sample, text_type) for sample in samples), text_type)
    if not found:
        wanted = "class column" if text_type == AS_IS else "taxon"
        raise UserError(f"no sample has a {wanted}, which --text-type {text_type} needs; give labelled data")
    return found


def labels(samples: Iterable[Sample], candidates: Sequence[Candidate], text_type: str) -> Int[np.ndarray, " n"]:
    """The row in `candidates` of each sample's class; -1 where it is not among them, or not known."""
    number = {identity(candidate, text_type): row for row, candidate in enumerate(candidates)}
    named = (label_of(sample, text_type) for sample in samples)
    return np.array([-1 if it is None else number.get(identity(it, text_type), -1) for it in named], np.int64)
