"""CLIP's byte-pair tokenizer, with open_clip's cleaning and truncation."""

import html
from collections.abc import Sequence
from functools import lru_cache

import ftfy
import numpy as np
from instant_clip_tokenizer import Tokenizer as BytePairTokenizer
from jaxtyping import Int32

START, END = 49406, 49407


def clean(text: str) -> str:
    """Clean a text as open_clip: ftfy, HTML entities unescaped twice, single spaces, lower case."""
    # Most captions are printable ASCII without an ampersand, which ftfy and unescape do not change.
    if not (text.isascii() and text.isprintable() and "&" not in text):
        text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return " ".join(text.split()).lower()


@lru_cache(maxsize=1)
def _byte_pairs() -> BytePairTokenizer:
    return BytePairTokenizer()


@lru_cache(maxsize=1 << 16)
def _token_ids(text: str) -> tuple[int, ...]:
    return tuple(_byte_pairs().encode(clean(text)))


class Tokenizer:
    """Texts to token ids: START, byte pairs, END, and zeros up to `context_length`.

    A longer text is cut, with END as its last token.
    """

    def __init__(self, context_length: int = 77):
        self.context_length = context_length

    def encode(self, text: str) -> list[int]:
        """Return the ids of one text, without START, END, padding or truncation."""
        return list(_token_ids(text))

    def __call__(self, texts: str | Sequence[str]) -> Int32[np.ndarray, "n context"]:
        """Return the ids of each text, or of a single one."""
        texts = [texts] if isinstance(texts, str) else texts
        tokens = np.zeros((len(texts), self.context_length), np.int32)
        for row, text in zip(tokens, texts):
            self.write(text, row)
        return tokens

    def write(self, text: str, row: Int32[np.ndarray, " context"]) -> None:
        """Write one text's ids to `row`, which must be zeros."""
        ids = _token_ids(text)[: self.context_length - 2]
        row[0] = START
        row[1 : len(ids) + 1] = ids
        row[len(ids) + 1] = END
