"""CLIP's byte-pair tokens, cleaned and cut as open_clip does it."""

import html
from collections.abc import Sequence
from functools import lru_cache

import ftfy
import numpy as np
from instant_clip_tokenizer import Tokenizer as BytePairTokenizer
from jaxtyping import Int32

VOCAB_SIZE = 49408
START, END = 49406, 49407


def clean(text: str) -> str:
    """Text as CLIP's tokenizer wants it: mended, HTML entities resolved twice, white space collapsed, lower case."""
    # Printable ASCII without an ampersand has nothing to mend, and nearly every caption is that.
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
    """Texts to token ids: START, the byte pairs, END, then zeros up to `context_length`.

    A text that is too long is cut, its last token replaced by END.
    """

    def __init__(self, context_length: int = 77):
        self.context_length = context_length

    def encode(self, text: str) -> list[int]:
        """The ids of one text, without START, END, padding or cutting."""
        return list(_token_ids(text))

    def __call__(self, texts: str | Sequence[str]) -> Int32[np.ndarray, "n context"]:
        """The ids of each text; one text counts as a list of one."""
        texts = [texts] if isinstance(texts, str) else texts
        tokens = np.zeros((len(texts), self.context_length), np.int32)
        for row, text in zip(tokens, texts):
            self.write(text, row)
        return tokens

    def write(self, text: str, row: Int32[np.ndarray, " context"]) -> None:
        """Puts one text's ids into `row`, which holds zeros."""
        ids = _token_ids(text)[: self.context_length - 2]
        row[0] = START
        row[1 : len(ids) + 1] = ids
        row[len(ids) + 1] = END
