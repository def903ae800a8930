"""The user's cache and a folder of good tars, for every test of the pipeline."""

from pathlib import Path

import pytest
from made_shards import good_sample, write_tar


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache directory, a fresh one for each test."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two tars with 23 and 14 good samples."""
    folder = tmp_path_factory.mktemp("shards")
    write_tar(folder / "shard-00000.tar", [good_sample(number) for number in range(23)])
    write_tar(folder / "shard-00001.tar", [good_sample(number) for number in range(23, 37)])
    return folder
