"""Parser of scientific names: genus, epithets, authorship, hybrid signs, ranks and qualifiers."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple


class ScientificName(NamedTuple):
    """Parts of a scientific name; "" or False if absent.

    genus: any name of one word, such as a family. rank: marker before an infraspecific epithet ("var.").
    qualifier: mark of an uncertain identification, "sp.", "cf." or "?"; epithets after it are dropped.
    formula: a hybrid written as its two parents, of which only a shared genus is kept.
    """

    genus: str = ""
    species: str = ""
    infraspecific: str = ""
    rank: str = ""
    authorship: str = ""
    qualifier: str = ""
    hybrid: bool = False
    formula: bool = False

    @property
    def canonical(self) -> str:
        """The name without authors and markers, in ASCII: "Malus domestica"; "" if there is no name."""
        return " ".join(part for part in (self.genus, self.species, self.infraspecific) if part)

    @property
    def year(self) -> str:
        """The last year in the authorship, or ""."""
        years = YEAR.findall(self.authorship)
        return years[-1] if years else ""


NO_NAME = ScientificName()

# Markers before an infraspecific epithet, and their usual spelling.
_RANKS = {
    **dict.fromkeys(("subsp", "ssp", "subspecies", "nothosubsp", "nothossp"), "subsp."),
    **dict.fromkeys(("var", "variety", "varietas", "nothovar"), "var."),
    **dict.fromkeys(("f", "fo", "form", "forma", "nothof", "nothofo"), "f."),
    **dict.fromkeys(
        ("subvar", "subf", "convar", "ab", "natio", "mut", "morph", "pv", "bv", "race", "stirps"), ""
    ),
}
_RANKS |= {word: f"{word}." for word, marker in _RANKS.items() if not marker}
# Marks of a species aggregate, which is named as its species.
_SKIPPED = frozenset(("agg", "aggr", "group", "complex"))
_UNDETERMINED = frozenset(
    ("sp", "spp", "spec", "species", "cf", "aff", "nr", "near", "prox", "indet", "gen", "nov")
)
# Marks of ranks between genus and species, which are not part of a species' name.
_INFRAGENERIC = frozenset(("sect", "section", "subg", "subgen", "subgenus", "subsect", "ser", "series"))
_ENDS = _INFRAGENERIC | {"cv", "cultivar"}
_AUTHORS = frozenset(
    "ab ad al and apud auct auctt bis da das de del dem den der des di do dos du e emend et ex fide hort i "
    "ii iii in ined la las le les los nec nom nomen non of pro sensu str ten ter the to und van vom von y zu "
    "zum zur".split()
)
# Words that are never epithets.
_NO_EPITHET = frozenset(_RANKS) | _SKIPPED | _UNDETERMINED | _ENDS | _AUTHORS

YEAR = re.compile(r"(?<!\d)(?:1[5-9]|20)\d\d(?!\d)")
_WORD = re.compile(r"(?:\d{1,2}-)?[a-z]{2,}(?:-[a-z]+)*")
_PLAIN = re.compile(r"([A-Z][a-z]+)(?: ([a-z]{2,}))?(?: ([a-z]{2,}))?(?: ((?:\(|[A-Z]).*))?")
# In an authorship: anything that may belong to the name rather than to authors.
_NOT_PLAIN = re.compile(r"[?×✕⨯_†\"'“”‘’`´«»‹›]|(?<![^ ])[xX](?= )|(?<![^ ])[a-z]")
_LINKS = re.compile(r" (?:ex|in|et|de|von|van|der) (?=[A-Z])")
_HYBRID_SIGN = re.compile(r"[×✕⨯]|(?:(?<=\s)|^)[xX](?=\s)|^[xX](?=[A-Z][a-z])")
# A quote within a word is an apostrophe.
_QUOTED = re.compile(r"""(?<!\w)(?:'[^']*'|‘[^’]*’|"[^"]*"|“[^”]*”)(?!\w)""")
_QUOTES = re.compile(r"""(?<!\w)["'“”‘’`´«»‹›]+|["'“”‘’`´«»‹›]+(?!\w)""")
_APOSTROPHE = re.compile("['’`´]")
_SUBGENUS = re.compile(r"\([^\W\d_]+\)")
_SUPERSPECIES = re.compile(r"\[[^\W\d_]+\]")
# The nomenclatural codes transcribe these; all other diacritics are dropped.
_LETTERS = str.maketrans(
    {"æ": "ae", "œ": "oe", "ä": "ae", "ö": "oe", "ü": "ue", "ø": "oe", "ß": "ss", "ł": "l", "ð": "d"}
)


def parse_name(text: str) -> ScientificName:
    """Parse a scientific name; NO_NAME if `text` has none. Never fails.

    Supports authorships, hybrid signs (×, x, X) and formulas, infraspecific ranks, open nomenclature,
    cultivars, ALL CAPS, lower-case genera, diacritics and ligatures. `parse_name(name.canonical).canonical`
    is `name.canonical`.
    """
    plain = _PLAIN.fullmatch(text)
    if plain is not None and text.isprintable() and unicodedata.is_normalized("NFC", text):
        genus, species, infraspecific, authorship = plain.groups("")
        simple = species not in _NO_EPITHET and infraspecific not in _NO_EPITHET
        # In "Aus (Bus) cus", the parentheses are a subgenus, not an author.
        if simple and not authorship:
            return ScientificName(genus, species, infraspecific)
        if (
            simple
            and (species or authorship[0] != "(")
            and not _NOT_PLAIN.search(_LINKS.sub(" ", authorship))
        ):
            return ScientificName(genus, species, infraspecific, "", " ".join(authorship.split()))
    return parse_any_name(text)


@lru_cache(maxsize=1 << 14)
def split_name(text: str) -> tuple[str, str]:
    """Return genus and epithets of a name of two words or more, as spelled: ("Isoëtes", "lacustris").

    ("", "") for a name of one word, whose rank is unknown, and for a hybrid formula.
    """
    name = parse_name(text)
    if not name.species:
        return name.genus if name.qualifier else "", ""
    words = iter(text.split())
    parts = [
        next((word for word in words if _bare_fold(word) == part.lower()), "")
        for part in name.canonical.split()
    ]
    if not all(parts):
        return "", ""
    genus, *epithets = (part.strip("×,;") for part in parts)
    sign = "× " if name.hybrid else ""
    return (
        (sign + genus, " ".join(epithets)) if _HYBRID_SIGN.match(text) else (genus, sign + " ".join(epithets))
    )


def _bare_fold(word: str) -> str:
    return _APOSTROPHE.sub("", fold(word.strip("×,;")))


def parse_any_name(text: str) -> ScientificName:
    """Parse word by word, for names that the regular expression of `parse_name` does not match."""
    tokens = _tokens(text)
    qualifier, hybrid = "", False
    while tokens and (
        tokens[0] in ("×", "X") or tokens[0].startswith("?") or _bare(tokens[0]) in ("cf", "aff")
    ):
        sign = tokens.pop(0)
        hybrid |= sign in ("×", "X")
        if sign not in ("×", "X"):
            qualifier = "?" if sign.startswith("?") else f"{_bare(sign)}."
            if sign.startswith("?") and sign.strip("?"):
                tokens.insert(0, sign.strip("?"))
    if not tokens:
        return NO_NAME
    first = tokens.pop(0)
    genus = fold(first.rstrip(",;:?")).capitalize()
    if not _WORD.fullmatch(genus.lower()) or genus[0].isdigit():
        return NO_NAME
    if qualifier or first.endswith("?"):
        return ScientificName(genus, qualifier=qualifier or "?", hybrid=hybrid)
    return _epithets(genus, _without_infrageneric(tokens), hybrid)


def _without_infrageneric(tokens: list[str]) -> list[str]:
    """Remove a subgenus or superspecies from the words after a genus.

    "(Megodontus) violaceus", "subgen. Megodontus violaceus", "[violaceus] violaceus".
    """
    while len(tokens) > 1:
        if _epithet(tokens[1]) and (_SUBGENUS.fullmatch(tokens[0]) or _SUPERSPECIES.fullmatch(tokens[0])):
            tokens = tokens[1:]
        elif (
            len(tokens) > 2
            and _bare(tokens[0]) in _INFRAGENERIC
            and tokens[0].islower()
            and _begins(tokens[2:])
        ):
            tokens = tokens[2:]
        elif len(tokens) > 2 and _SUBGENUS.fullmatch(tokens[0]) and _SUPERSPECIES.fullmatch(tokens[1]):
            tokens = tokens[1:]
        else:
            break
    if tokens and _SUPERSPECIES.fullmatch(tokens[0]) and _epithet(tokens[0][1:-1]) and tokens[0] != "[sic]":
        # An aggregate is named as its species.
        tokens = [tokens[0][1:-1], *tokens[1:]]
    return tokens


def _begins(tokens: list[str]) -> bool:
    """Return True if a species name can start with these words."""
    return bool(_epithet(tokens[0])) or tokens[0] == "×" or _SUPERSPECIES.fullmatch(tokens[0]) is not None


def _epithets(genus: str, tokens: list[str], hybrid: bool) -> ScientificName:
    """Parse the words after the genus."""
    epithets, authorship, rank, qualifier = [], [], "", ""
    for index, token in enumerate(tokens):
        following = tokens[index + 1] if index + 1 < len(tokens) else ""
        word = _bare(token)
        if token == "X" and (epithets or authorship) and not _is_hybrid_sign(tokens[index + 1 :]):
            authorship.append(token)
        elif token in ("×", "X"):
            hybrid = True
            if epithets or not _epithet(following):
                parent = _bare(following)
                same = bool(_epithet(following)) or genus.lower().startswith(parent) and bool(parent)
                return ScientificName(genus if same else "", hybrid=True, formula=True)
        elif "?" in token and not authorship:
            # Of a doubtful species only the genus is kept, of a doubtful variety the species.
            qualifier = "?"
            doubtful = token.startswith("?") or not epithets
            epithets = epithets[:1] if len(epithets) > 1 or (doubtful and epithets) else []
            break
        elif word in _RANKS and _epithet(following) and epithets:
            rank, authorship = _RANKS[word], []
        elif (
            (word in _UNDETERMINED or re.fullmatch(r"spp?\.?\d+", word))
            and token[:1].islower()
            and not authorship
        ):
            qualifier = f"{re.match('[a-z]+', word)[0]}."
            break
        elif word in _ENDS and token[:1].islower():
            break
        elif word in _SKIPPED and not authorship:
            continue
        elif (epithet := _epithet(token)) and (not authorship or _bare(tokens[index - 1]) in _RANKS):
            # Of several infraspecific epithets of old authors, the last counts.
            epithets = [*epithets[:1], epithet]
        else:
            authorship.append(token)
    species, infraspecific = [*epithets, "", ""][:2]
    return ScientificName(
        genus, species, infraspecific, rank if infraspecific else "", " ".join(authorship), qualifier, hybrid
    )


def _is_hybrid_sign(following: list[str]) -> bool:
    """Return True if a capital X, followed by these words, is a hybrid sign and not an author's initial."""
    first, second = [*following, "", ""][:2]
    return bool(_epithet(first) or first[:1].isupper() and _epithet(second))


def fold(text: str) -> str:
    """Return lower-case ASCII as the nomenclatural codes transcribe it: "muelleri" of "Mülleri"."""
    text = text.lower()
    if text.isascii():
        return text
    text = unicodedata.normalize("NFC", text).translate(_LETTERS)
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c)).lower()


def _tokens(text: str) -> list[str]:
    """Split a name into words, without cultivars and quotes, and with separate hybrid signs."""
    text = unicodedata.normalize("NFC", text).replace("_", " ").replace("†", " ")
    text = _QUOTES.sub("", _QUOTED.sub(_unquoted, text))
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    # A capital X may be an author's initial.
    tokens = _HYBRID_SIGN.sub(lambda sign: " X " if sign[0] == "X" else " × ", text).split()
    if len(text) > 3 and text.isupper():
        return _lower_epithets(tokens)
    return tokens


def _unquoted(match: re.Match) -> str:
    """Remove a cultivar in quotes, and the quotes around other names."""
    inner = match[0][1:-1].strip()
    around = match.string[: match.start()].strip()
    return " " if around and inner[:1].isupper() else f" {inner} "


def _lower_epithets(tokens: list[str]) -> list[str]:
    """Lower-case up to two words after the genus of an ALL-CAPS name, unless they look like authors."""
    words, epithets = [], -1
    for token in tokens:
        marker = _bare(token) in _NO_EPITHET
        if token == "X":
            pass
        elif marker or (token.isalpha() or "-" in token) and epithets < 2:
            epithets += not marker
            token = token.lower()
        elif token != "×":
            epithets = 2
        words.append(token)
    return words


def _bare(token: str) -> str:
    return token.lower().strip(".,;:")


def _epithet(token: str) -> str:
    """Return the token as an epithet; "" if it is not one."""
    if token != token.lower():
        return ""
    word = _APOSTROPHE.sub("", fold(token.rstrip(",;:")))
    return word if _WORD.fullmatch(word) and word not in _NO_EPITHET else ""
