"""The names that are spelt most like an unknown one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bioclip_jax.errors import closest
from bioclip_jax.predict.rank import Rank

from .names import COLUMNS, TaxaNames

_COUNT = 3
# Per cent of equal letters, below which a name is another one.
_LEAST_RATIO = 70
# Names that difflib is let compare; it needs some 20 us for each.
_SHORTLIST = 5_000


def nearest(names: TaxaNames, rank: Rank, name: str) -> list[str]:
    """At most three names at `rank`, the nearest first, none if none is near; a species is "Genus epithet".

    A species is looked for in the genera nearest to its first word.
    """
    if rank is not Rank.SPECIES:
        return most_alike(name, names.dictionary(COLUMNS[rank.value]).to_pylist())
    genus = name.partition(" ")[0]
    wanted = np.zeros(len(names.dictionary("genus")), bool)
    for found in most_alike(genus, names.dictionary("genus").to_pylist()):
        wanted[names.dictionary("genus").index(found).as_py()] = True
    rows = np.flatnonzero(wanted[names.codes("genus")])
    return most_alike(name, list(dict.fromkeys(names.row(int(row))["species"] for row in rows)))


def most_alike(name: str, choices: Sequence[str]) -> list[str]:
    """At most three of the choices, those spelt most like `name`, the nearest first; case does not count."""
    try:
        from rapidfuzz import fuzz, process
    except ImportError:
        first, size = name[:1].lower(), len(name)
        alike = [text for text in choices if text[:1].lower() == first and abs(len(text) - size) < 3][
            :_SHORTLIST
        ]
        return closest(name, alike, n=_COUNT, cutoff=_LEAST_RATIO / 100)
    found = process.extract(
        name.lower(), choices, scorer=fuzz.ratio, processor=str.lower, limit=_COUNT, score_cutoff=_LEAST_RATIO
    )
    return [text for text, _, _ in found]
