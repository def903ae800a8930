"""Normalization of names: unknown words, Unicode, white space, capitals, hybrid signs, genus and epithet.

All verbs normalize names before comparing, grouping or writing them. Normalization never adds words.
"""

import re
import unicodedata
from functools import lru_cache
from typing import Any

from .scientific_names import split_name

# Words for an unknown rank in tables, as a regular expression for both Python and Polars.
#
# Excluded, because they are names: "nil" (the morning glory Ipomoea nil), "uncertain", "confused" and
# "suspected" (English names of the moths Hoplodrina octogenaria, Apamea furva and Parastichtis suspecta),
# "sp." and "indet." (open nomenclature, which qualifies a genus), "other", "blank" and "empty" (labels of
# camera traps).
_MISSING_WORDS = (
    "nan none null unknown undefined undetermined unidentified unclassified unassigned unplaced unranked "
    "pleasehelp"
).split()
_MISSING_PHRASES = (
    r"#?n[./]?a",
    r"not[\W_]+(?:applicable|assigned|available|classified|identified|known|ranked)",
    r"incertae(?:[\W_]+sedis)?",
    # The toolbox's caption of a sample without a known rank.
    r"unknown[\W_]+taxonomy",
)
_MISSING_WORD = "|".join([*_MISSING_PHRASES, *_MISSING_WORDS])
# A cell that is empty, has no letter or digit, or only such words and punctuation: "<NA>", "(unidentified)",
# "Unknown unknown". "Agaricales incertae sedis" is an unknown family or genus in that order. Repetitions of
# [\W_] are never adjacent, so that a long row of dashes takes linear time.
_ONLY_MISSING = rf"[\W_]*(?:(?:{_MISSING_WORD})(?:[\W_]+(?:{_MISSING_WORD}))*[\W_]*)?"
MISSING_PATTERN = rf"(?i)^(?:{_ONLY_MISSING}|(?:.*[\W_])?incertae[\W_]+sedis[\W_]*)$"
_MISSING = re.compile(MISSING_PATTERN)
# The same words among others, as in stored captions; _SIGNS is a fast test before this slow one.
_MISSING_AMONG = re.compile(rf"(?i)(?<!\S)[(<\[]?(?:{_MISSING_WORD}|[-–—?]+)[)>\]]?(?!\S)")
_BEGINNINGS = "na n/a #n/a not not_classified not_assigned incertae incertae_sedis - -- – — ?".split()
_SIGNS = frozenset(
    word.join(around) for word in (*_MISSING_WORDS, *_BEGINNINGS) for around in (("", ""), "()", "<>", "[]")
)
# Values of a factor or trait: the disease is "none", the test is "+" or "-".
_VALUE_WORDS = frozenset({"none", "+", "-", "−"})

# Zero-width characters, which would make equal names differ. Joiners are kept: some scripts need them.
INVISIBLE = "\u00ad\u200b\u2060\ufeff"
_INVISIBLE = dict.fromkeys(map(ord, INVISIBLE))
_HYBRID = re.compile(r"(?:^|(?<= ))(?:[×✕⨯] ?|[xX] )(?=[^\W\d_])|^[xX](?=[A-Z][a-z])")
# "M. domestica" or "M.domestica"; or with two letters, as in "Ch. rubrum".
_ABBREVIATED = re.compile(r"([A-Z][a-z]?|[a-z])\. ?(?=[^\W\d_])")
_BINOMIAL = re.compile(r"((?:× )?[A-Z][a-zà-öø-ÿœ-]+) (?:× )?[a-zà-öø-ÿœ][a-zà-öø-ÿœ-]+(?= |$)")
# Signs of further parts in a species cell: an author, a subgenus, a superspecies.
_MORE = re.compile(r"^[(\[]|^subg| [A-Z(]")
# Epithets, with hybrid signs and rank markers between them.
_MARK = r"(?:× |(?:notho)?(?:subsp|ssp|var|f)\. )"
_NO_EPITHET = r"(?!(?:sp|spp|cf|aff|nr|near|nov|indet|agg)(?: |$))"
_EPITHETS = re.compile(
    rf"(?:{_MARK}?{_NO_EPITHET}[a-zà-öø-ÿœ-]{{2,}} )*{_MARK}?{_NO_EPITHET}([a-zà-öø-ÿœ-]{{2,}})"
)
_ONE_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")


def clean_text(value: Any) -> str:
    """Return a table cell as text in NFC with single spaces and no invisible characters; "" for None and NaN.

    For free text such as labels: "unknown" is kept.
    """
    if isinstance(value, str):
        return _clean(value)
    # Only NaN differs from itself; pandas' NA cannot be compared.
    if value is None or type(value).__name__ == "NAType" or value != value:
        return ""
    if isinstance(value, bytes):
        return _clean(value.decode("utf-8", "replace"))
    return _clean(str(value))


def is_missing(text: str) -> bool:
    """Return True if a cell means "unknown": "", "NA", "unknown", "incertae sedis", "-" and similar."""
    return _MISSING.match(text) is not None


def known_text(value: Any) -> str:
    """Return clean_text of a name; "" for words that mean "unknown"."""
    return _known(clean_text(value))


def known_value(value: Any) -> str:
    """Return clean_text of a factor's value; "" if unknown; "none", "+" and "-" are values."""
    text = clean_text(value)
    return text if text.lower() in _VALUE_WORDS else _known(text)


def has_missing_word(text: str) -> bool:
    """Return True if a text may contain a word for "unknown": a fast test with false positives."""
    return not _SIGNS.isdisjoint(text.lower().replace(".", " ").split())


def without_missing_words(text: str) -> str:
    """Remove words for "unknown" from a text: "Animalia Unknown Felis" becomes "Animalia Felis"."""
    return known_text(_MISSING_AMONG.sub(" ", text))


def last_epithet(species: str) -> str:
    """Return the last of several epithets, as in the TreeOfLife toolbox: "familiaris" of "lupus familiaris".

    Other texts are returned unchanged: "sp. 2", "cf. arctos".
    """
    match = _EPITHETS.fullmatch(species) if " " in species else None
    return match[1] if match else species


def rank_name(value: Any) -> str:
    """Return a name from kingdom to genus: known_text, capitalized, with hybrid signs as "× "."""
    return _rank_name(clean_text(value))


def genus_and_epithet(genus: Any, species: Any) -> tuple[str, str]:
    """Return genus and species epithet from their two cells; "" if unknown.

    The species cell may contain the epithet, the epithets of species and subspecies, or the whole name, with
    the genus in any case or abbreviated ("M. domestica"); authors and a subgenus are removed. The genus cell
    takes precedence over another genus in the species cell, as in the TreeOfLife toolbox; an unknown genus is
    taken from the species cell.
    """
    return _genus_and_epithet(clean_text(genus), clean_text(species))


def without_author(value: Any) -> str:
    """Return genus and epithets: "Malus domestica" of "Malus domestica (Suckow) Borkh., 1803"."""
    text = clean_text(value)
    # Names of one word have no epithet to split off.
    return " ".join(filter(None, split_name(text))) or text.partition(" ")[0]


def name_key(value: Any) -> str:
    """Return a key that spellings of one name share: "vulpes vulpes" of "Vulpes vulpes (Linnaeus, 1758)".

    They may differ in case, blanks and the author of a species. Other texts, such as "Red Fox" or "Mustela
    cf. nivalis", only lose their capitals.
    """
    text = clean_text(value)
    bare = without_author(_upper_first(text)) if text else ""
    # What is left of a name that is no binomial may be another's too: "Red" of "Red Deer" and "Red Fox".
    return (bare if " " in bare else text).lower()


@lru_cache(maxsize=1 << 16)
def _clean(text: str) -> str:
    if not text.isascii():
        text = unicodedata.normalize("NFC", text.translate(_INVISIBLE))
    return " ".join(text.split())


@lru_cache(maxsize=1 << 16)
def _known(text: str) -> str:
    return "" if is_missing(text) else text


@lru_cache(maxsize=1 << 16)
def _rank_name(text: str) -> str:
    text = _HYBRID.sub("× ", _known(text))
    sign, name = ("× ", text[2:]) if text.startswith("× ") else ("", text)
    if is_missing(name):
        return ""
    # "dsDNA viruses" and codes such as "BOLD:AAA1234" keep their capitals.
    if name.islower():
        return sign + _upper_first(name)
    if len(name) > 3 and name.isupper() and _ONE_WORD.fullmatch(name):
        return sign + name[0] + _lower(name[1:])
    return sign + name


@lru_cache(maxsize=1 << 16)
def _genus_and_epithet(genus: str, species: str) -> tuple[str, str]:
    genus, species = _rank_name(genus), _HYBRID.sub("× ", _known(species))
    if (
        len(species) > 3
        and species.isupper()
        and all(map(_ONE_WORD.fullmatch, species.replace("× ", "").split()))
    ):
        species = _lower(species)
        if not genus or species.startswith(f"{genus.lower()} "):
            species = _upper_first(species) if " " in species else species
    if not genus and (match := _BINOMIAL.match(species)) and not is_missing(match[1]):
        genus = match[1]
    while (shorter := _without_genus(genus, species)) != species:
        species = _HYBRID.sub("× ", shorter)
    if _ONE_WORD.fullmatch(genus.removeprefix("× ")) and " " in species and _MORE.search(species):
        species = split_name(f"{genus} {species}")[1] or species
    # "Malus unknown" is a genus, as is "Malus" in the genus "Malus"; "bufo" in "Bufo" is a species.
    if is_missing(species.removeprefix("× ")) or species == genus:
        return genus, ""
    if species[0].isupper() and _ONE_WORD.fullmatch(species):
        species = _lower(species)
    return genus, species


def _without_genus(genus: str, species: str) -> str:
    """Remove the genus from the beginning of a species cell."""
    if not genus:
        return species
    if species.startswith(f"{genus} "):
        return species[len(genus) + 1 :]
    if match := _ABBREVIATED.match(species):
        capital = match[1][0].isupper()
        return species[match.end() :] if capital or match[1] == genus[0].lower() else species
    if match := _BINOMIAL.match(species):
        return species[match.end(1) + 1 :]
    small = f"{genus.lower()} "
    # "bufo bufo" in the genus "Bufo" is a subspecies.
    if species.startswith(small) and not species.startswith(small.strip(), len(small)):
        return species[len(small) :]
    return species


def _upper_first(name: str) -> str:
    # "ß" would become two letters.
    return name[0].upper() + name[1:] if len(name[0].upper()) == 1 else name


def _lower(name: str) -> str:
    lower = name.lower()
    return lower if len(lower) == len(name) else name
