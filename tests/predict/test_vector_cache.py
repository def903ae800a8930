"""The vector cache: round trips, concurrency, and failures without errors."""

import os
import subprocess
import sys

import numpy as np
import pytest

from bioclip_jax.predict.vector_cache import VectorCache


def vectors(number, dim=8, seed=0):
    values = np.random.default_rng(seed).standard_normal((number, dim)).astype(np.float32)
    return {f"key {index}": value for index, value in enumerate(values)}


def test_vectors_are_read_by_a_later_cache(tmp_path):
    put = vectors(2000)
    VectorCache(tmp_path / "new" / "folder").put("model", put)
    got = VectorCache(tmp_path / "new" / "folder").get("model", [*put, "another"])
    assert got.keys() == put.keys()
    assert all(np.array_equal(got[key], put[key]) and got[key].dtype == np.float32 for key in put)


def test_models_have_separate_vectors(tmp_path):
    cache = VectorCache(tmp_path)
    cache.put("one", vectors(3, seed=1))
    cache.put("two", vectors(3, seed=2))
    assert not np.array_equal(cache.get("one", ["key 0"])["key 0"], cache.get("two", ["key 0"])["key 0"])
    assert cache.get("three", ["key 0"]) == {}


def test_the_oldest_vectors_are_deleted_beyond_the_limit(tmp_path):
    cache = VectorCache(tmp_path, max_bytes=100 * 32)
    put = vectors(250)
    for start in range(0, 250, 10):
        cache.put("model", dict(list(put.items())[start : start + 10]))
    kept = cache.get("model", put)
    assert 80 <= len(kept) <= 100, f"{len(kept)} of at most 100 vectors are kept"
    assert list(kept) == list(put)[-len(kept) :], "it is not the first that went"


def test_the_users_cache_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    VectorCache().put("model", vectors(1))
    assert [path.name for path in tmp_path.rglob("*.sqlite")] == ["vectors.sqlite"]


@pytest.mark.parametrize("damage", ["no database", "in the middle", "empty"])
def test_a_damaged_file_is_moved_aside_and_rebuilt(tmp_path, damage):
    cache, put = VectorCache(tmp_path), vectors(300)
    cache.put("model", put)
    content = bytearray(cache.path.read_bytes())
    if damage == "in the middle":
        content[4096:] = os.urandom(len(content) - 4096)
    cache.path.write_bytes({"no database": b"no database" * 500, "empty": b""}.get(damage, bytes(content)))
    cache.get("model", put)
    cache.put("model", put)
    cache.put("model", put)
    assert cache.get("model", put).keys() == put.keys(), "after the damage nothing is kept any more"
    assert damage == "empty" or (tmp_path / "vectors.sqlite.damaged").exists()


def test_an_unwritable_directory_means_no_cache_and_no_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    cache = VectorCache(tmp_path / "file")
    cache.put("model", vectors(2))
    assert cache.get("model", ["key 0"]) == {}


def test_a_full_disk_is_not_an_error_and_keeps_the_cache(tmp_path):
    cache = VectorCache(tmp_path)
    cache.put("model", vectors(10))
    # A limit on file sizes makes SQLite's writes fail as a full disk does.
    code = (
        "import resource, signal, sys, numpy as np; from bioclip_jax.predict.vector_cache import VectorCache;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, "
        "20_000));"
        "cache = VectorCache(sys.argv[1]); "
        "cache.put('model', {f'new {i}': np.zeros(512, np.float32) for i in range(500)});"
        "print(len(cache.get('model', [f'key {i}' for i in range(10)])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], check=True, capture_output=True, text=True
    )
    assert not done.stderr, done.stderr
    assert cache.get("model", vectors(10)).keys() == vectors(10).keys()


def test_processes_write_concurrently(tmp_path):
    code = (
        "import sys, numpy as np; from bioclip_jax.predict.vector_cache import VectorCache\n"
        "for i in range(40): VectorCache(sys.argv[1]).put('model', {f'{sys.argv[2]} {i}': np.full(4, i, "
        "np.float32)})"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), name]) for name in "abc"]
    assert [process.wait() for process in running] == [0, 0, 0]
    got = VectorCache(tmp_path).get("model", [f"{name} {i}" for name in "abc" for i in range(40)])
    assert len(got) == 120, f"{120 - len(got)} vectors were lost"
    assert all(np.array_equal(value, np.full(4, int(key[2:]), np.float32)) for key, value in got.items())
