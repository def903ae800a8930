"""Tar writer: headers as tarfile's, ten captions, reproducible bytes, atomic files; keys and chunks."""

import json
import re
import tarfile

import numpy as np
import pytest
from build_inputs import encoded, jpeg, photograph, taxon
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bioclip_jax.curate.build.ingest import shard_key
from bioclip_jax.curate.build.layout import chunk_starts
from bioclip_jax.curate.tar_writer import TarShardWriter, _header, image_kind
from bioclip_jax.pipeline.sources import Sample, open_source
from bioclip_jax.text import CAPTION_FILES, MissingCaption, captions_from_taxon

names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=130).map(
    str.strip
)
names = names.filter(lambda name: name and not name.endswith("/"))


@settings(max_examples=60)
@given(names, st.integers(0, 8**12))
@example("a" * 100, 8**11 - 1)
@example("a" * 101, 8**11)
def test_headers_equal_those_of_tarfile(name, size):
    member = tarfile.TarInfo(name)
    member.size = size
    assert _header(name, size) == member.tobuf(tarfile.PAX_FORMAT)


def test_shard_reads_back_with_tarfile_and_open_source(tmp_path):
    long = "k" * 190
    samples = [
        Sample("first", jpeg(photograph(1)), {}, taxon(1)),
        Sample(
            long,
            encoded(photograph(2), "WEBP"),
            captions_from_taxon(taxon(2)),
            metadata={"site": "Teich", "n": 2},
        ),
        Sample("replay", encoded(photograph(3), "PNG"), {"txt": "a dog on a sofa"}),
    ]
    for copy in ("a", "b"):
        with TarShardWriter(tmp_path / f"{copy}.tar") as writer:
            for sample in samples:
                writer.write(sample)
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    with tarfile.open(tmp_path / "a.tar") as tar:
        members = tar.getmembers()
    assert {(each.mtime, each.uid, each.gid, each.mode, each.type) for each in members} == {
        (0, 0, 0, 0o644, b"0")
    }
    texts = [f"{name}.txt" for name in CAPTION_FILES]
    expected = [f"first.{name}" for name in ["jpg", *texts]]
    expected += [f"{long}.{name}" for name in ["webp", *texts, "json"]]
    expected += [f"replay.{name}" for name in ["png", *texts, "txt"]]
    assert [each.name for each in members] == expected
    source = open_source(tmp_path / "a.tar")
    for number, sample in enumerate(samples):
        loaded = source[number]
        assert (loaded.key, loaded.image, loaded.metadata) == (sample.key, sample.image, sample.metadata)
    assert source[0].taxon == taxon(1) and source[2].captions["txt"] == "a dog on a sofa"


def test_metadata_that_is_not_a_number_becomes_null(tmp_path):
    metadata = {"depth": float("nan"), "height": float("inf"), "n": 2}
    with TarShardWriter(tmp_path / "a.tar") as writer:
        writer.write(Sample("first", jpeg(photograph(1)), {}, taxon(1), metadata))
    with tarfile.open(tmp_path / "a.tar") as tar:
        content = tar.extractfile("first.json").read()
    # Only Python's own reader accepts NaN.
    assert json.loads(content, parse_constant=lambda word: pytest.fail(word)) == {
        "depth": None,
        "height": None,
        "n": 2,
    }
    assert open_source(tmp_path / "a.tar")[0].metadata == {"n": 2}


def test_failed_shard_leaves_no_file(tmp_path):
    with pytest.raises(MissingCaption), TarShardWriter(tmp_path / "a.tar") as writer:
        writer.write(Sample("first", jpeg(photograph(1)), {}, taxon(1)))
        assert not (tmp_path / "a.tar").exists()
        writer.write(Sample("second", jpeg(photograph(2)), {}))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF"])
def test_image_extensions_follow_the_bytes(kind):
    extensions = {"JPEG": "jpg", "TIFF": "tif", "JPEG2000": "jp2"}
    assert image_kind(encoded(photograph(1), kind)) == extensions.get(kind, kind.lower())


@given(st.text())
def test_shard_keys_are_safe_and_safe_keys_unchanged(text):
    key = shard_key(text)
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,80}", key) and shard_key(key) == key
    same = re.fullmatch(r"[A-Za-z0-9_-]{1,80}", text) is not None
    assert (key == text) == same


class Sized:
    """A source with a length and optional row groups, without samples."""

    def __init__(self, sizes: list[int], grouped: bool):
        self._count = sum(sizes)
        if grouped:
            self.group_starts = np.concatenate([[0], np.cumsum(sizes)])

    def __len__(self) -> int:
        return self._count


@given(st.lists(st.integers(1, 40_000), min_size=1, max_size=60), st.booleans())
def test_chunks_partition_a_source_and_keep_row_groups_together(sizes, grouped):
    starts = chunk_starts(Sized(sizes, grouped))
    assert starts[0] == 0 and starts[-1] == sum(sizes)
    assert (np.diff(starts) > 0).all() and np.diff(starts).max() <= 10_000
    if grouped:
        bounds = np.cumsum([0, *sizes])
        for start, size in zip(bounds, sizes):
            inside = ((starts > start) & (starts < start + size)).sum()
            assert inside <= size // 10_000, f"a row group of {size} is split into {inside + 1} chunks"
