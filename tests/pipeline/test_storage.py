"""Shards in object storage: fsspec's memory, and the S3 protocol on the loopback interface."""

import json
import socket
import subprocess
import sys
import time

import fsspec
import numpy as np
import pytest

from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.batches import train_batches
from bioclip_jax.pipeline.sampling import Sampling
from bioclip_jax.pipeline.sources import RecordWriter, open_source, storage
from bioclip_jax.pipeline.sources.storage import Files, ForwardReader

ARGUMENTS = {"image_size": 32, "seed": 3, "global_batch_size": 12}


@pytest.fixture
def in_memory(shards):
    """memory://shards with the two tars of 23 and 14 samples and their sizes.json."""
    files = fsspec.filesystem("memory")
    for path in shards.glob("*.tar"):
        files.pipe(f"/shards/{path.name}", path.read_bytes())
    files.pipe("/shards/sizes.json", json.dumps({"shard-00000.tar": 23, "shard-00001.tar": 14}).encode())
    yield files
    files.rm("/shards", recursive=True)


def batches_of(source, count: int = 4, **options) -> list[dict[str, np.ndarray]]:
    batches = train_batches(source, **ARGUMENTS | options)
    try:
        return [next(batches) for _ in range(count)]
    finally:
        batches.close()


def assert_same_images(actual, expected, case: str) -> None:
    for step, (a, b) in enumerate(zip(actual, expected, strict=True)):
        np.testing.assert_array_equal(a["image"], b["image"], err_msg=f"{case}, step {step}")


def test_tars_in_object_storage_give_the_batches_of_local_tars(shards, in_memory, own_cache):
    expected = batches_of(open_source(shards))
    assert_same_images(batches_of(open_source("memory://shards")), expected, "shuffled")
    assert list(own_cache.rglob("*.index")), "the index of a tar in storage was not cached"
    assert_same_images(batches_of(open_source("memory://shards/shard-*.tar")), expected, "by a pattern")
    sampling = Sampling(window=3)
    assert_same_images(
        batches_of(open_source("memory://shards", forward=True), sampling=sampling),
        batches_of(open_source(shards), sampling=sampling),
        "windowed",
    )


def test_a_changed_tar_is_reindexed(shards, in_memory):
    assert len(open_source("memory://shards")) == 37
    in_memory.pipe("/shards/shard-00000.tar", (shards / "shard-00001.tar").read_bytes())
    assert len(open_source("memory://shards")) == 28


def test_records_in_storage_are_copied_once(tmp_path, in_memory, own_cache, shards):
    source = open_source(shards)
    with RecordWriter(tmp_path / "a.array_record") as writer:
        for number in range(5):
            writer.write(source[number])
    in_memory.put(str(tmp_path / "a.array_record"), "/records/a.array_record")
    for _ in range(2):
        actual = open_source("memory://records")
        assert [actual[number] for number in range(5)] == [source[number] for number in range(5)]
    copies = list((own_cache / "bioclip_jax" / "copies").iterdir())
    assert len(copies) == 1, f"copies: {copies}"


def test_missing_data_is_an_error(in_memory):
    with pytest.raises(UserError, match="holds no tars and no ArrayRecord files"):
        open_source("memory://elsewhere")
    with pytest.raises(UserError, match="fsspec knows"):
        open_source("nothing://bucket/folder")


def test_a_prefetching_reader_returns_the_files_bytes(in_memory, monkeypatch):
    monkeypatch.setattr(storage, "_REMOTE_BLOCK", 1000)
    content = bytes(np.random.default_rng(0).integers(0, 256, 10_500, np.uint8))
    in_memory.pipe("/shards/file", content)
    reader = ForwardReader(Files(), "memory://shards/file", len(content))
    offset = 0
    for size in (10, 500, 490, 1, 3000, 7, 1000, 4000, 900, 900):
        assert reader.read(offset, size) == content[offset : offset + size], f"{size} bytes at {offset}"
        offset += size + size // 7
    assert reader.read(len(content), 10) == b""


def free_port() -> int:
    with socket.socket() as actual:
        actual.bind(("127.0.0.1", 0))
        return actual.getsockname()[1]


@pytest.fixture(scope="module")
def s3(tmp_path_factory, shards):
    """A bucket named trees with the shards on an own server, set in the environment."""
    for package in ("s3fs", "moto"):
        pytest.importorskip(
            package, reason="pip install 's3fs' 'moto[server]' to read from a real S3 protocol"
        )
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in address.items():
            patch.setenv(name, value)
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert server.poll() is None and time.monotonic() < deadline, "the S3 server did not come up"
        files = fsspec.filesystem("s3")
        files.mkdir("trees")
        for path in shards.glob("*.tar"):
            files.put(str(path), f"trees/train/{path.name}")
        files.pipe(
            "trees/train/sizes.json", json.dumps({"shard-00000.tar": 23, "shard-00001.tar": 14}).encode()
        )
        yield "s3://trees/train"
    server.kill()
    server.wait()


def test_workers_read_from_s3(s3, shards):
    sampling = Sampling(window=3)
    expected = batches_of(open_source(shards), sampling=sampling)
    assert_same_images(
        batches_of(open_source(s3, forward=True), sampling=sampling, workers=1), expected, "worker"
    )
    assert_same_images(batches_of(open_source(s3)), batches_of(open_source(shards)), "shuffled")


def test_a_missing_s3_bucket_is_an_error(s3):
    with pytest.raises(UserError, match="s3://nowhere/train (cannot be listed|holds no tars)"):
        open_source("s3://nowhere/train")
