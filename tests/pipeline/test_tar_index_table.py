"""The index table of many tars: built once, mapped by all processes, rebuilt when a tar changes."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from made_shards import good_sample, write_tar

from bioclip_jax.pipeline.sources import TarSource
from bioclip_jax.pipeline.sources.tar import index_table
from bioclip_jax.pipeline.sources.tar.format import BadTar
from bioclip_jax.pipeline.sources.tar.index import load_index
from bioclip_jax.pipeline.sources.tar.index_table import IndexTable


@pytest.fixture
def tars(tmp_path) -> list[Path]:
    sizes = [3, 0, 2, 1, 1, 1, 1, 1, 1, 4]
    return [
        write_tar(tmp_path / f"{number}.tar", [good_sample(10 * number + row) for row in range(size)])
        for number, size in enumerate(sizes)
    ]


def test_the_table_holds_every_index(tars):
    table = IndexTable(tars)
    expected = [load_index(tar) for tar in tars]
    assert np.diff(table.firsts).tolist() == [4, 1, 3, 2, 2, 2, 2, 2, 2, 5]
    np.testing.assert_array_equal(table.starts, np.concatenate(expected))


def test_the_table_is_reused_until_a_tar_changes(tars, monkeypatch):
    made = []
    make = IndexTable._write
    monkeypatch.setattr(
        IndexTable,
        "_write",
        lambda table, shards, head: made.append(len(shards)) or make(table, shards, head),
    )
    for _ in range(2):
        assert len(TarSource(tars)) == 15
    assert made == [10], "the table was not reused"
    write_tar(tars[0], [good_sample(number) for number in range(7)])
    assert len(TarSource(tars)) == 19 and len(made) == 2


def test_a_source_pickles_as_the_path_of_a_memory_map(tars):
    source = TarSource(tars)
    pickled = pickle.dumps(source)
    assert len(pickled) < 4000
    assert isinstance(pickle.loads(pickled)._table.starts, np.memmap)
    assert pickle.loads(pickled)[14] == source[14]


def test_without_a_cache_the_table_is_in_memory(tars, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    source = TarSource(tars)
    assert pickle.loads(pickle.dumps(source))[14] == source[14]


def test_bad_tars_are_reported_in_order(tars):
    tars[4].write_bytes(b"no tar")
    tars[6].unlink()
    table = IndexTable(tars)
    assert list(table.errors) == [tars[4], tars[6]]
    assert isinstance(table.errors[tars[4]], BadTar) and isinstance(table.errors[tars[6]], FileNotFoundError)
    assert np.diff(table.firsts)[[4, 6]].tolist() == [1, 1]
    source = TarSource(tars, "skip")
    assert len(source) == 13 and source.skipped_shards == [str(tars[4]), str(tars[6])]
    assert isinstance(pickle.loads(pickle.dumps(source))._table.starts, np.memmap), "the table is not shared"


def test_damage_is_cached_and_unreadable_files_are_retried(tars, monkeypatch):
    tars[4].write_bytes(b"no tar")
    made = []
    write = IndexTable._write
    monkeypatch.setattr(IndexTable, "_write", lambda table, *rest: made.append(1) or write(table, *rest))
    for _ in range(2):
        table = IndexTable(tars)
        assert list(table.errors) == [tars[4]] and "cut off" in str(table.errors[tars[4]])
    assert len(made) == 1
    monkeypatch.setattr(
        index_table, "load_index", lambda *_: (_ for _ in ()).throw(PermissionError("locked"))
    )
    monkeypatch.setattr(index_table, "_MANY", 100)
    for _ in range(2):
        assert list(IndexTable(tars[:3]).errors) == tars[:3]
    assert len(made) == 3, "an unreadable file was not retried"


def test_a_failed_indexing_process_is_replaced(tars, monkeypatch):
    monkeypatch.setattr(index_table.sys, "executable", "/bin/false")
    assert len(TarSource(tars)) == 15


def test_indexing_imports_nothing_heavy():
    code = (
        "import sys, bioclip_jax.pipeline.sources.tar.index_table; "
        "print([name for name in ('jax', 'torch', 'grain') if name in sys.modules])"
    )
    assert os.popen(f'{index_table.sys.executable} -c "{code}"').read().strip() == "[]"
