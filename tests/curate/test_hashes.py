"""Perceptual hashes: distances of copies of real photographs, and of different photographs."""

import hashlib
import sys

import numpy as np
import pytest
import simplejpeg
from make_copies import COPIES

from bioclip_jax.curate.dedup import DECODE_SIDE, MIN_QUALITY, content_hash, pdq, pdq_variants
from bioclip_jax.curate.dedup.hamming_search import DISTANCE, nearest_within, pairs_within
from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.images import decode


@pytest.fixture(scope="module")
def photographs(shared_data) -> list[np.ndarray]:
    """Every thirteenth of the 1,972 photographs."""
    files = sorted((shared_data / "produce").glob("*/images/**/*.jpg"))[::13]
    return [decode(file.read_bytes()) for file in files]


def bits_apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.bitwise_count(a ^ b).sum(axis=-1, dtype=int)


def test_content_hash_is_blake2b():
    assert content_hash(b"") == hashlib.blake2b(b"", digest_size=16).hexdigest()
    assert len(content_hash(b"x")) == 32 and content_hash(b"x") != content_hash(b"y")


# Recall over all 1,972 photographs, with a margin for the 152 tested.
@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("copy", "least", "most"),
    [
        ("JPEG quality 30", 1, 1),
        ("a quarter of the size", 1, 1),
        ("squashed to 224 x 224", 1, 1),
        ("a line of text", 0.98, 1),
        ("a large watermark", 0.93, 1),
        ("cropped by 2 %", 0.25, 0.5),
        ("mirrored", 0, 0),
    ],
)
def test_recall_of_copies_of_photographs(photographs, copy, least, most):
    rng = np.random.default_rng(0)
    pairs = [(pdq(pixels)[0], pdq(COPIES[copy](pixels, rng))[0]) for pixels in photographs]
    distances = np.array([bits_apart(*pair) for pair in pairs])
    recall = (distances <= DISTANCE).mean()
    assert least <= recall <= most, f"{recall:.1%} of copies {copy} match; distances {np.sort(distances)}"


@pytest.mark.shared_data
def test_different_photographs_are_far_apart(photographs):
    hashed = [pdq(pixels) for pixels in photographs]
    assert min(quality for _, quality in hashed) >= MIN_QUALITY
    hashes = np.stack([bits for bits, _ in hashed])
    assert len(pairs_within(hashes, 48)) == 0


@pytest.mark.shared_data
@pytest.mark.parametrize("copy", ["cropped by 2 %", "cropped by 5 %", "mirrored"])
def test_variants_match_cropped_and_mirrored_copies_only(photographs, copy):
    rng = np.random.default_rng(0)
    some = photographs[::12]
    variants = np.stack([pdq_variants(pixels)[0] for pixels in some])
    assert (variants[:, 0] == [pdq(pixels)[0] for pixels in some]).all()
    copies = np.stack([pdq(COPIES[copy](pixels, rng))[0] for pixels in some])
    index, distances = nearest_within(copies, variants.reshape(-1, 32))
    assert (index // variants.shape[1]).tolist() == list(range(len(some))), f"distances {distances}"
    others = np.stack([pdq(pixels)[0] for pixels in photographs[1::3]])
    known = {id(pixels) for pixels in some}
    others = others[[id(pixels) not in known for pixels in photographs[1::3]]]
    index, _ = nearest_within(others, variants.reshape(-1, 32))
    assert (index < 0).all(), f"{(index >= 0).sum()} of {len(others)} other photographs match"


@pytest.mark.shared_data
def test_reduced_decoding_hardly_changes_the_hash(photographs):
    for pixels in photographs[::30]:
        large = np.repeat(np.repeat(pixels, 4, axis=0), 4, axis=1)
        stored = simplejpeg.encode_jpeg(large, 90)
        reduced = decode(stored, DECODE_SIDE)
        assert min(reduced.shape[:2]) < min(large.shape[:2])
        assert bits_apart(pdq(decode(stored))[0], pdq(reduced)[0]) <= 4


def test_uniform_picture_has_quality_zero():
    for shape in ((1, 1, 3), (300, 2, 3), (64, 64, 3), (500, 400, 3)):
        bits, quality = pdq(np.full(shape, 200, np.uint8))
        assert (bits.dtype, bits.shape, quality) == (np.uint8, (32,), 0)


def test_missing_pdqhash_is_reported(monkeypatch):
    monkeypatch.setitem(sys.modules, "pdqhash", None)
    with pytest.raises(UserError, match=r"needs pdqhash; install it: pip install 'bioclip-jax\[curate\]'"):
        pdq(np.zeros((64, 64, 3), np.uint8))
