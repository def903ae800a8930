"""Texts packed into rows: every token is there once a run, sees its own text, and the vectors are the plain ones."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bioclip_jax.predict.packed_texts import pack
from bioclip_jax.text import OPENAI_TEMPLATES, Tokenizer

END = 9
# Few ids, so that texts begin alike; 0 is a token, and the padding.
TEXTS = st.lists(st.lists(st.integers(0, 2), max_size=8), min_size=1, max_size=30)


def arrays(texts):
    tokens = np.zeros((len(texts), 10), np.int32)
    for row, text in zip(tokens, texts):
        row[: len(text) + 2] = [8, *text, END]
    return tokens, np.array([len(text) + 2 for text in texts], np.int32)


def seen_by(packed, place):
    """The ids and positions that the token at a flat place attends to, as the tower's mask says it."""
    row, column = divmod(int(place), packed.rows.shape[2])
    ids, positions, segments, before = packed.rows[row]
    seen = (segments == segments[column]) | (segments == before[column])
    seen &= np.arange(len(ids)) <= column
    return ids[seen].tolist(), positions[seen].tolist()


@given(TEXTS, st.integers(10, 40))
@settings(deadline=None)
def test_the_end_of_each_text_sees_that_text_and_no_more(texts, length):
    tokens, lengths = arrays(texts)
    packed = pack(tokens, lengths, length)
    assert packed.rows.shape[1:] == (4, length)
    for text, end in zip(texts, packed.ends):
        assert seen_by(packed, end) == ([8, *text, END], list(range(len(text) + 2)))


@given(TEXTS)
@settings(deadline=None)
def test_packing_never_takes_more_tokens_than_the_texts_have(texts):
    tokens, lengths = arrays(texts)
    packed = pack(tokens, lengths, 400)
    assert (packed.rows[:, 2] > 0).sum() <= lengths.sum()
    assert len(packed.rows) == 1


def test_templates_cost_the_label_and_the_full_stop():
    labels = ["apple", "pear", "zebra", "Ursus arctos", "mushroom", "wild boar"]
    tokens = Tokenizer()([template.format(label) for label in labels for template in OPENAI_TEMPLATES])
    lengths = tokens.argmax(axis=1).astype(np.int32) + 1
    used = (pack(tokens, lengths, 128).rows[:, 2] > 0).sum()
    assert used < 0.7 * lengths.sum(), (
        f"{used} of {lengths.sum()} tokens are computed: beginnings are not shared"
    )
