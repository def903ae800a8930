"""Text packing: attention stays within a text, and shared prefixes are stored once."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bioclip_jax.predict.text_packing import pack
from bioclip_jax.text import OPENAI_TEMPLATES, Tokenizer

END = 9
# Few ids, so that texts share prefixes; 0 is both a token and the padding.
TEXTS = st.lists(st.lists(st.integers(0, 2), max_size=8), min_size=1, max_size=30)


def arrays(texts):
    tokens = np.zeros((len(texts), 10), np.int32)
    for row, text in zip(tokens, texts):
        row[: len(text) + 2] = [8, *text, END]
    return tokens, np.array([len(text) + 2 for text in texts], np.int32)


def attended(packed, index):
    """Ids and positions that the token at a flat index attends to, by the mask of packed_features."""
    row, column = divmod(int(index), packed.rows.shape[2])
    ids, positions, segments, prefixes = packed.rows[row]
    mask = (segments == segments[column]) | (segments == prefixes[column])
    mask &= np.arange(len(ids)) <= column
    return ids[mask].tolist(), positions[mask].tolist()


@given(TEXTS, st.integers(10, 40))
@settings(deadline=None)
def test_the_end_of_each_text_attends_to_exactly_that_text(texts, length):
    tokens, lengths = arrays(texts)
    packed = pack(tokens, lengths, length)
    assert packed.rows.shape[1:] == (4, length)
    for text, end in zip(texts, packed.ends):
        assert attended(packed, end) == ([8, *text, END], list(range(len(text) + 2)))


@given(TEXTS)
@settings(deadline=None)
def test_packing_never_needs_more_tokens_than_the_texts(texts):
    tokens, lengths = arrays(texts)
    packed = pack(tokens, lengths, 400)
    assert (packed.rows[:, 2] > 0).sum() <= lengths.sum()
    assert len(packed.rows) == 1


def test_templates_share_their_prefixes():
    labels = ["apple", "pear", "zebra", "Ursus arctos", "mushroom", "wild boar"]
    tokens = Tokenizer()([template.format(label) for label in labels for template in OPENAI_TEMPLATES])
    lengths = tokens.argmax(axis=1).astype(np.int32) + 1
    used = (pack(tokens, lengths, 128).rows[:, 2] > 0).sum()
    assert used < 0.7 * lengths.sum(), (
        f"{used} of {lengths.sum()} tokens are computed: prefixes are not shared"
    )
