"""Texts of the page in its languages, from the tables in strings/, and numbers as a language writes them."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any

from markupsafe import Markup

from bioclip_jax.errors import UserError
from bioclip_jax.text import RANKS

# The first is the language of the API, of logs, and of visitors who speak none of them.
LANGUAGES = ("en", "fr", "de", "es")
# Separator of thousands, decimal sign; Spanish separates from five digits on.
_NUMBERS = {"en": (",", "."), "fr": ("\u202f", ","), "de": (".", ","), "es": ("\u00a0", ",")}
_PERCENT, _PERCENT_SIGN = {"fr": "\u202f%"}, "\u00a0%"


class Language:
    """The texts of a language: `language("bar.add")`; code: as in html lang."""

    def __init__(self, code: str) -> None:
        self.code = code
        self._texts = _texts(code)

    def __call__(self, key: str, **values: Any) -> str:
        """Return a text with its values filled in. count: an int, which chooses the plural."""
        text = self._texts[key]
        if isinstance(text, Mapping):
            count = values["count"]
            text = text["one" if count == 1 or (count == 0 and self.code == "fr") else "other"]
        shown = {name: self.number(value) if type(value) is int else value for name, value in values.items()}
        return text.format(**shown)

    def markup(self, key: str, **values: Any) -> Markup:
        """Return a text that contains markup; its values are escaped."""
        return Markup(self._texts[key]).format(**values)

    def rank(self, rank: str) -> str:
        """Return the name of a rank, or of "predicted RANK", a column of the map; others as they are."""
        if rank.startswith("predicted "):
            return self("map.predicted", rank=self.rank(rank.removeprefix("predicted ")))
        return self(f"ranks.{rank}") if rank in RANKS else rank

    def number(self, value: int) -> str:
        """Format a whole number with separators of thousands."""
        if self.code == "es" and abs(value) < 10_000:
            return str(value)
        return f"{value:,}".replace(",", _NUMBERS[self.code][0])

    def decimal(self, value: float, digits: int) -> str:
        """Format with a fixed number of decimals."""
        return f"{value:.{digits}f}".replace(".", _NUMBERS[self.code][1])

    def percent(self, score: float) -> str:
        """Format a probability with one decimal; only exact values become 0 % and 100 %."""
        value, sign = 100 * score, _PERCENT.get(self.code, _PERCENT_SIGN)
        if 0 < value < 0.1:
            return f"< {self.decimal(0.1, 1)}{sign}"
        if 99.9 < value < 99.9999:
            return f"> {self.decimal(99.9, 1)}{sign}"
        return f"{self.decimal(value, 0 if value == 0 or value >= 99.9999 else 1)}{sign}"

    def whole_percent(self, score: float) -> str:
        """Format a probability without decimals."""
        return f"{round(100 * score)}{_PERCENT.get(self.code, _PERCENT_SIGN)}"

    def with_prefix(self, *prefixes: str) -> dict[str, Any]:
        """Return the texts, plurals as objects, whose keys begin with one of the prefixes; for scripts."""
        return {key: text for key, text in self._texts.items() if key.startswith(prefixes)}


@functools.cache
def language(code: str) -> Language:
    """Return a language of LANGUAGES; the first one for any other code."""
    return Language(code if code in LANGUAGES else LANGUAGES[0])


@functools.cache
def _texts(code: str) -> dict[str, Any]:
    file = resources.files(__package__) / "strings" / f"{code}.toml"
    return dict(_flat(tomllib.loads(file.read_text(encoding="utf-8"))))


def _flat(texts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in texts.items():
        if isinstance(value, dict) and value.keys() != {"one", "other"}:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


class VisitorError(UserError):
    """An error that a visitor of the page reads in their language; as text it is in English.

    key: of the table's errors. values: filled in; `kinds` and `skip` are translated. plain: the text, if a
    program needs other advice than a visitor.
    """

    def __init__(self, key: str, *, plain: str | None = None, **values: Any) -> None:
        self._key, self._values = key, values
        super().__init__(self.text(LANGUAGES[0]) if plain is None else plain)

    def text(self, code: str) -> str:
        """Return the sentence in a language."""
        words = language(code)
        translated = {"kinds": "errors.kinds", "skip": "choices.skip_unknown"}
        values = {
            name: words(translated[name]) if name in translated else value
            for name, value in self._values.items()
        }
        return words(f"errors.{self._key}", **values)


def error_text(error: object, code: str) -> str:
    """Return the text of an error, in the language if it has one."""
    return error.text(code) if isinstance(error, VisitorError) else str(error)
