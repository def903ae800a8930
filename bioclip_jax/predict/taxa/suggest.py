"""Suggestions for misspelled names of taxa."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bioclip_jax.errors import InvalidValue, closest
from bioclip_jax.predict.rank import Rank

from .names import COLUMNS, COMMON_NAME, TaxaNames

_COUNT = 3
# Minimum similarity in percent.
_MIN_RATIO = 70
# Names that difflib compares at most, at some 20 us each.
_SHORTLIST = 5_000
# Names listed in a message.
MAX_LISTED = 5


def similar_taxa(names: TaxaNames, rank: Rank, name: str) -> list[str]:
    """Return up to three similar names at `rank`, best first; a species is "Genus epithet".

    Species are searched in the genera most similar to the first word.
    """
    if rank is not Rank.SPECIES:
        return similar_names(name, names.dictionary(COLUMNS[rank.value]).to_pylist())
    genera = names.dictionary("genus")
    wanted = np.zeros(len(genera), bool)
    for genus in similar_names(name.partition(" ")[0], genera.to_pylist()):
        wanted[genera.index(genus).as_py()] = True
    rows = np.flatnonzero(wanted[names.codes("genus")])
    return similar_names(name, list(dict.fromkeys(names.row(int(row))["species"] for row in rows)))


def similar_names(name: str, choices: Sequence[str]) -> list[str]:
    """Return up to three of `choices` spelled like `name` in any case, best first."""
    try:
        from rapidfuzz import fuzz, process
    except ImportError:
        first, size = name[:1].lower(), len(name)
        shortlist = [text for text in choices if text[:1].lower() == first and abs(len(text) - size) < 3]
        return closest(name, shortlist[:_SHORTLIST], n=_COUNT, cutoff=_MIN_RATIO / 100)
    matches = process.extract(
        name.lower(), choices, scorer=fuzz.ratio, processor=str.lower, limit=_COUNT, score_cutoff=_MIN_RATIO
    )
    return [text for text, _, _ in matches]


def unknown_names(names: TaxaNames, rank: Rank | str, unknown: Sequence[str]) -> str:
    """Return pybioclip's message about unknown names, with similar ones."""
    shown = ", ".join(unknown[: 4 * MAX_LISTED])
    more = f" and {len(unknown) - 4 * MAX_LISTED} more" if len(unknown) > 4 * MAX_LISTED else ""
    if rank == COMMON_NAME:
        label, common = "common name", names.dictionary(COMMON_NAME).to_pylist()
        similar = [similar_names(value, common) for value in unknown[:MAX_LISTED]]
    else:
        label = rank.get_label()
        similar = [similar_taxa(names, rank, value) for value in unknown[:MAX_LISTED]]
    hints = [f"{value!r} is nearest to {' or '.join(near)}" for value, near in zip(unknown, similar) if near]
    hint = ": " + "; ".join(hints) if hints else ""
    return f"Unknown {label} received: {shown}{more}. Only known {label} may be used{hint}"


def similar_of_any_rank(names: TaxaNames, name: str) -> list[str]:
    """Return up to three similar names, of taxa of any rank or common, best first."""
    near = [similar for rank in Rank for similar in similar_taxa(names, rank, name)[:1]]
    near += similar_names(name, names.dictionary(COMMON_NAME).to_pylist())[:1]
    return similar_names(name, list(dict.fromkeys(near)))


class UnknownTaxa(InvalidValue):
    """Names that are no taxa of a head.

    similar: for each name, similar ones of the head, for the first few only. others_known: other names of the
    same list are taxa, so that these may be skipped.
    """

    def __init__(
        self, message: str, similar: Mapping[str, Sequence[str]], *, others_known: bool = False
    ) -> None:
        super().__init__(message)
        self.similar, self.others_known = similar, others_known
