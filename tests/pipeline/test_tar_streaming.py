"""Sequential reading of tars without an index: equal samples in any order, and damage."""

import gzip
import json
import pickle
from collections import OrderedDict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_shards import good_sample, write_tar

from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.batches import train_batches
from bioclip_jax.pipeline.images import CAUSES
from bioclip_jax.pipeline.sampling import Sampling
from bioclip_jax.pipeline.sources import open_source, storage
from bioclip_jax.pipeline.sources.tar import StreamingTarSource, streaming
from bioclip_jax.pipeline.sources.tar.format import split_name
from bioclip_jax.text import CaptionConfig


@pytest.fixture(scope="module")
def sized(tmp_path_factory) -> Path:
    """A folder of tars with 9, 5 and 1 samples and their sizes.json."""
    folder, sizes = tmp_path_factory.mktemp("sized"), {"a.tar": 9, "b.tar": 5, "c.tar": 1}
    for number, (name, size) in enumerate(sizes.items()):
        write_tar(folder / name, [good_sample(20 * number + row) for row in range(size)])
    (folder / "sizes.json").write_text(json.dumps(sizes))
    return folder


def test_tars_of_known_sizes_are_streamed(sized, shards):
    assert isinstance(open_source(sized, forward=True), StreamingTarSource)
    assert not isinstance(open_source(sized), StreamingTarSource)
    assert not isinstance(open_source(shards, forward=True), StreamingTarSource), "without sizes.json"


@settings(max_examples=40)
@given(st.lists(st.integers(0, 14), max_size=30), st.sampled_from([512, 3000, 1 << 18]))
def test_streamed_samples_equal_indexed_ones_in_any_order(sized, numbers, block):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage, "_LOCAL_BLOCK", block)
        streamed, indexed = open_source(sized, forward=True), open_source(sized)
        for number in numbers:
            assert streamed[number] == indexed[number], f"sample {number} after {numbers}"


def test_sequential_reading_reads_nothing_twice(sized, monkeypatch):
    monkeypatch.setattr(storage, "_LOCAL_BLOCK", 4096)
    read = []
    pread = storage.os.pread
    monkeypatch.setattr(
        storage.os, "pread", lambda fd, size, at: read.append((size, at)) or pread(fd, size, at)
    )
    source = open_source(sized, forward=True)
    for number in range(9):
        source[number]
    offsets = [at for _, at in read]
    assert offsets == sorted(offsets) and len(set(offsets)) == len(offsets)
    assert sum(size for size, _ in read) <= (sized / "a.tar").stat().st_size + 3 * 4096


def test_no_index_is_made_and_few_streams_stay_open(sized, tmp_path):
    for name in ("a.tar", "b.tar", "c.tar", "sizes.json"):
        (tmp_path / name).write_bytes((sized / name).read_bytes())
    source = open_source(tmp_path, forward=True)
    batches = train_batches(source, image_size=16, seed=0, global_batch_size=6, sampling=Sampling(window=3))
    for _ in range(5):
        next(batches)
    assert not list(tmp_path.glob("*.index"))
    assert len(source._streams) <= 32 and pickle.loads(pickle.dumps(source))._streams == OrderedDict()


def test_a_damaged_tar_is_read_up_to_the_damage(sized, tmp_path):
    for name in ("a.tar", "b.tar", "c.tar"):
        (tmp_path / name).write_bytes((sized / name).read_bytes())
    content = (tmp_path / "a.tar").read_bytes()
    (tmp_path / "a.tar").write_bytes(content[: len(content) * 2 // 3])
    (tmp_path / "b.tar").unlink()
    (tmp_path / "sizes.json").write_text(json.dumps({"a.tar": 9, "c.tar": 3}))
    source = open_source(tmp_path, forward=True, bad_shards="skip")
    assert source[4].key == "sample-0004" and source[9].key == "sample-0040"
    for number in (7, 8, 7, 10):
        with pytest.raises(ValueError, match="cut off|holds fewer samples than sizes.json says"):
            source[number]
    with pytest.raises(UserError, match="a.tar: it (is cut off|holds fewer).*data.bad_shards=skip"):
        open_source(tmp_path, forward=True)[7]
    batches = train_batches(source, image_size=16, seed=0, global_batch_size=12, sampling=Sampling(window=2))
    bad = sum(next(batches)["bad"] for _ in range(4))
    assert bad[CAUSES.index("unreadable")] > 4 and bad.sum() == bad[CAUSES.index("unreadable")]


@pytest.mark.parametrize("window", [3, 5])
def test_evicted_streams_and_bad_samples_cost_few_headers(tmp_path, monkeypatch, window):
    size = 200
    for name in ("a.tar", "b.tar"):
        samples = [
            {
                "__key__": f"{name[0]}{n:03d}",
                "jpg": b"no" if n % 9 == 4 else good_sample(n % 7)["jpg"],
                "txt": "x",
            }
            for n in range(size)
        ]
        write_tar(tmp_path / name, samples)
    (tmp_path / "sizes.json").write_text(json.dumps({"a.tar": size, "b.tar": size}))
    monkeypatch.setattr(streaming, "_STREAMS", 2)
    seen = []
    monkeypatch.setattr(streaming, "split_name", lambda name: seen.append(name) or split_name(name))
    source, caption = open_source(tmp_path, forward=True), CaptionConfig(types=("txt",))
    options = {
        "image_size": 8,
        "seed": 1,
        "global_batch_size": 4 * window,
        "sampling": Sampling(window=window),
    }
    batches = train_batches(source, caption=caption, **options)
    steps = 2 * size // (4 * window)
    for _ in range(steps):
        next(batches)
    # Every run starts at the nearest remembered offset, at most 32 samples of two files before; from the
    # front it would be 100 on average.
    runs = steps * window
    assert len(seen) < 2 * (2 * size + runs * 1.5 * 32), f"{len(seen)} members were read for {2 * 2 * size}"


def test_a_file_that_is_not_a_tar_is_an_error(sized, tmp_path):
    (tmp_path / "a.tar").write_bytes(gzip.compress((sized / "a.tar").read_bytes()))
    (tmp_path / "sizes.json").write_text('{"a.tar": 9}')
    with pytest.raises(UserError, match="a.tar: it is compressed with gzip"):
        open_source(tmp_path, forward=True)[0]


def test_sizes_beside_each_tar(tmp_path):
    for folder, count in (("a", 1), ("b", 4)):
        write_tar(tmp_path / folder / "s.tar", [good_sample(number) for number in range(count)])
        (tmp_path / folder / "sizes.json").write_text(json.dumps({"s.tar": count}))
    assert open_source(tmp_path, forward=True).shard_sizes.tolist() == [1, 4]
    assert open_source(f"{tmp_path}/*/s.tar", forward=True).shard_sizes.tolist() == [1, 4]


def test_invalid_sizes_are_errors(tmp_path):
    write_tar(tmp_path / "a.tar", [good_sample(0)])
    for sizes in ("no json", "[1]", '{"b.tar": 1}', '{"a.tar": "1"}', '{"a.tar": -1}'):
        (tmp_path / "sizes.json").write_text(sizes)
        with pytest.raises(UserError, match="sizes.json (cannot be read|does not give).*fix it or remove it"):
            open_source(tmp_path, forward=True)
    (tmp_path / "sizes.json").write_text('{"a.tar": 0}')
    with pytest.raises(UserError, match="hold no samples according to sizes.json"):
        open_source(tmp_path, forward=True)
