"""Wording that messages share."""

from __future__ import annotations

from bioclip_jax.errors import count_of, listing


def test_a_number_stands_with_its_noun():
    assert [count_of(count, "image") for count in (0, 1, 1200)] == ["0 images", "1 image", "1,200 images"]
    assert [count_of(count, "near copy", "near copies") for count in (1, 2)] == [
        "1 near copy",
        "2 near copies",
    ]


def test_a_listing_says_how_many_names_it_leaves_out():
    assert listing(["a", "b"], 2) == "a, b"
    assert listing([str(number) for number in range(1003)], 2) == "0, 1 and 1,001 more"
