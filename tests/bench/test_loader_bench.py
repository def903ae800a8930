"""Benchmark of the loader, with and without the peer."""

import os

import pytest

from bioclip_jax.bench import measure_loader
from bioclip_jax.errors import UserError


@pytest.mark.shared_data
def test_measures_both_loaders_on_one_core_and_restores_the_affinity(shared_data, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cores = os.sched_getaffinity(0)
    result = measure_loader(
        shared_data / "produce/tol_shards/val", peer=True, image_size=64, batch_size=16, seconds=0.5
    )
    assert os.sched_getaffinity(0) == cores
    assert result["images_per_second"] > 0 and result["peer_images_per_second"] > 0
    assert result["ratio"] == pytest.approx(
        result["images_per_second"] / result["peer_images_per_second"], rel=0.01
    )


@pytest.mark.shared_data
def test_without_the_peer_its_figures_are_none_and_its_packages_not_needed(
    shared_data, monkeypatch, tmp_path
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name in ("webdataset", "open_clip"):
        (tmp_path / f"{name}.py").write_text(f"raise ImportError('not installed', name='{name}')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    shards = shared_data / "produce/tol_shards/val"
    result = measure_loader(shards, image_size=64, batch_size=16, seconds=0.2)
    assert result["peer_images_per_second"] is None and result["ratio"] is None
    with pytest.raises(
        UserError, match=r"--peer needs webdataset; install the peers: .*bioclip-jax\[peers\]"
    ):
        measure_loader(shards, peer=True, seconds=0.2)


def test_peer_reads_only_tars(tmp_path):
    (tmp_path / "metadata.csv").write_text("filepath,genus\na.jpg,Malus\n")
    with pytest.raises(UserError, match="the peer reads only tars"):
        measure_loader(tmp_path, peer=True)
