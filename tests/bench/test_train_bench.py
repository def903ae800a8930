"""Benchmark of training: with and without data and a peer, and the consistency of its figures."""

import contextlib
import json

import jax
import pytest

from bioclip_jax.bench import matmul, measure_training, train
from bioclip_jax.errors import UserError
from bioclip_jax.models import get_config
from bioclip_jax.train import loss_flops, tower_work, train_config


@pytest.fixture(autouse=True)
def short_products(monkeypatch):
    monkeypatch.setitem(matmul._SECONDS, "cpu", 0.01)
    monkeypatch.setitem(matmul._SQUARE, "cpu", 64)


def config(**values):
    tiny = dict(data={}, model="ViT-Test-16", global_batch_size=16, learning_rate=1e-3, remat="full")
    return train_config(tiny | {"epochs": 30.0, "caption": {"lengths": (16, 48)}} | values)


class FakePeer:
    """Peer whose steps take 0.25 s."""

    on_gpu, pairs = False, 16

    def __init__(self, config):
        self.seconds, self.about, self.turns = [], {"compiled": True}, 0

    def turn(self, steps):
        self.seconds.append(0.25)

    def close(self):
        self.turns = len(self.seconds)


def test_synthetic_batches_beside_a_peer(monkeypatch):
    monkeypatch.setattr(train, "OpenClipPeer", FakePeer)
    cache = jax.config.jax_compilation_cache_dir
    result = measure_training(config(), steps=4, peer=True)
    assert json.loads(json.dumps(result))["steps"] == 4
    assert jax.config.jax_compilation_cache_dir == cache, "the compilation cache was not restored"

    speed = result["pairs_per_second"]
    assert speed > 0 and result["treeoflife_pairs_per_second"] == speed
    assert result["step_seconds"]["min"] <= result["step_seconds"]["median"] <= result["step_seconds"]["max"]
    assert (result["text_length"], result["replay_text_length"]) == (48, None)
    model = get_config("ViT-Test-16")
    work = tower_work(model, images=16, texts=16, text_length=48, remat="full")
    assert result["tflops"] == pytest.approx(work.model * speed / 16 / 1e12, rel=1e-6)
    assert result["loss_tflops"] == pytest.approx(loss_flops(model, 16) * speed / 16 / 1e12, rel=1e-6)
    assert result["hardware_utilization"] / result["mfu_measured_peak"] == pytest.approx(
        1 + work.repeated / work.model
    )
    assert result["mfu_measured_peak"] == pytest.approx(result["tflops"] / result["matmul"]["peak"])
    assert result["mfu"] is None, "no data sheet of a CPU is known"
    assert result["compile_seconds"] > 0 and result["data_wait"] == 0
    assert result["peak_memory_bytes"] > 4 * 4 * 49408 * 64, (
        "parameters, moments and gradients alone are more"
    )
    assert result["peer"]["pairs_per_second"] == 16 / 0.25
    assert result["ratio"] == pytest.approx(speed / 64)


@pytest.mark.shared_data
def test_data_wait_with_real_data(shared_data, monkeypatch):
    monkeypatch.setattr(train, "_compilation_cache", contextlib.nullcontext)
    result = measure_training(
        config(caption={"lengths": (48,)}), steps=2, data=str(shared_data / "produce/tol_shards/val")
    )
    assert 0 < result["data_wait"] < 1
    assert result["text_length"] in (16, 48, 77)
    assert result["peer"] is None and result["ratio"] is None


def test_missing_steps_and_replay_data_are_reported(tmp_path):
    with pytest.raises(UserError, match="--steps is 0"):
        measure_training(config(), steps=0)
    with pytest.raises(UserError, match="config.replay.train is not set; give the replay data"):
        (tmp_path / "metadata.csv").write_text("filepath,genus\na.jpg,Malus\n")
        measure_training(config(replay={"batch_size": 16}), steps=1, data=str(tmp_path))


def test_speed_of_a_chain_of_products():
    device = jax.devices()[0]
    speed = matmul.chain_speed(64, (32, 96, 32), "float32", 0.02, device)
    assert 1e-6 < speed < 100, f"{speed} TFLOP/s is not plausible for a CPU"


def test_fastest_of_several_measurements():
    slow = {"model": 1.0, "square": 3.0, "peak": 3.0, "dtype": "float32"}
    fast = {"model": 2.0, "square": 2.5, "peak": 2.5, "dtype": "float32"}
    assert matmul.fastest([slow, fast]) == {"model": 2.0, "square": 3.0, "peak": 3.0, "dtype": "float32"}
