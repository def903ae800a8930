"""Whether two authorships may be of the same name, abbreviated or not."""

from __future__ import annotations

import re

from bioclip_jax.text import YEAR, fold

_WORDS = re.compile(r"[^\W\d_]+")
_LINKS = frozenset("ex in et al and de la le du da van von der den di fil f nom auct non sensu emend".split())
# Standard forms that are no beginning of the surname.
_STANDARD = {"l": "linnaeus", "linne": "linnaeus", "dc": "candolle", "hbk": "kunth", "m": "miller"}


def same_author(left: str, right: str) -> bool:
    """Whether two authorships agree: a surname of one begins one of the other, and no year contradicts.

    Those who made the combination count, and the authors in parentheses only where there are no others. False
    where either names nobody. Years one apart agree: title pages do not.
    """
    years = [YEAR.findall(text)[-1:] for text in (left, right)]
    if all(years) and abs(int(years[0][0]) - int(years[1][0])) > 1:
        return False
    mine, theirs = _surnames(left), _surnames(right)
    return any(a.startswith(b) or b.startswith(a) for a in mine for b in theirs)


def _surnames(authorship: str) -> list[str]:
    outside = re.sub(r"\([^)]*\)", " ", authorship)
    if not _WORDS.search(outside):
        outside = authorship
    words = [fold(word) for word in _WORDS.findall(outside)]
    words = [_STANDARD.get(word, word) for word in words if word not in _LINKS]
    # Initials are no surnames, but a lone letter may be all there is.
    return [word for word in words if len(word) > 1] or words
