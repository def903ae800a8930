"""Tokens and templates, compared with open_clip's."""

import csv
import unicodedata

import numpy as np
import open_clip
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bioclip_jax.text.captions import CAPTION_FILES, captions_from_taxon
from bioclip_jax.text.taxon import Taxon
from bioclip_jax.text.templates import EVALUATION_TEMPLATES, OPENAI_TEMPLATES
from bioclip_jax.text.tokenizer import END, START, Tokenizer, clean

HARD = [
    "",
    "   ",
    "a photo of Malus domestica.",
    "Mentha × piperita, the hybrid ×Cupressocyparis",
    "Müller’s “curly” gibbon — l'oiseau d'Amérique",
    "e\u0301le\u0301phant et \u00e9l\u00e9phant",
    "we'll it's I've they're don't 's 'S",
    "&amp;amp;lt;b&amp;amp;gt; &lt;i&gt; &amp; &nbsp;",
    "non\u00a0breaking\u2003wide\u3000spaces\ttab\nline\r\nend",
    "🦋🌿 👩‍🔬 🏳️‍🌈",
    "漢字 カタカナ 한국어 ภาษาไทย العربية עברית",
    "\x00\x07control\x1b[31m red \x7f",
    "ï»¿mojibake: schÃ¶n â€™",
    "1234567890 3.14 ½ ² Ⅳ ٣",
    "İstanbul ẞ ΣΊΣΥΦΟΣ ﬁ ŉ",
    "<start_of_text> in the middle <end_of_text>",
    "<|startoftext|> </w>",
    "!!! ??? ... --- ___ ***",
    "x" * 3000,
    "word " * 200,
    "Ａ ｆｕｌｌ ｗｉｄｔｈ",
    "\u200bzero\u200dwidth\ufeff",
]

PEER = open_clip.get_tokenizer("ViT-B-16")

# Unicode grows; two libraries agree on the characters that this Python knows too.
known = st.characters(exclude_categories=["Cs", "Cn", "Co"], max_codepoint=0xFFFF).filter(
    lambda character: unicodedata.ucd_3_2_0.category(character) != "Cn"
)


@pytest.mark.parametrize("text", HARD)
def test_difficult_strings_have_open_clips_tokens(text):
    np.testing.assert_array_equal(Tokenizer()(text), PEER([text]).numpy(), err_msg=repr(text))


@pytest.mark.shared_data
def test_rare_species_captions_have_open_clips_tokens(shared_data):
    with (shared_data / "rare_species_taxa.csv").open(newline="", encoding="utf-8") as file:
        taxa = [Taxon.from_row(row) for row in csv.DictReader(file)]
    assert len(taxa) == 400
    captions = [captions_from_taxon(taxon) for taxon in taxa]
    for kind in CAPTION_FILES:
        texts = [caption[kind] for caption in captions]
        np.testing.assert_array_equal(Tokenizer()(texts), PEER(texts).numpy(), err_msg=kind)


@given(st.text(known, max_size=40))
@example("\u0130\u0307")
def test_any_text_has_open_clips_tokens(text):
    np.testing.assert_array_equal(Tokenizer()(text), PEER([text]).numpy(), err_msg=repr(text))


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60))
def test_the_fast_path_for_plain_text_cleans_the_same(text):
    assert clean(text) == open_clip.tokenizer.get_clean_fn("lower")(text)


def test_a_shorter_context_keeps_the_end_token():
    texts = ["a photo of kingdom Plantae phylum Tracheophyta class Magnoliopsida", "apple"]
    tokens = Tokenizer(8)(texts)
    np.testing.assert_array_equal(tokens, PEER(texts, context_length=8).numpy())
    assert tokens[0, 0] == START and tokens[0, -1] == END
    assert Tokenizer(8).encode("apple") == tokens[1, 1:2].tolist()


def test_templates_equal_open_clips():
    assert OPENAI_TEMPLATES == tuple(template("{}") for template in open_clip.OPENAI_IMAGENET_TEMPLATES)
    assert len(OPENAI_TEMPLATES) == 80


def test_the_evaluation_has_one_more_template():
    eighty = [template("{}") for template in open_clip.OPENAI_IMAGENET_TEMPLATES]
    assert list(EVALUATION_TEMPLATES) == ["a photo of {}.", *eighty], "the reference's list of 81"
