"""The peer is open_clip's own training: the same in micro-batches, and told apart when it cannot run."""

import pytest
import torch

from bioclip_jax.bench import peer_process, train_peer
from bioclip_jax.errors import UserError
from bioclip_jax.train import train_config


def config(**values):
    tiny = dict(data={}, model="ViT-Test-16", global_batch_size=8, learning_rate=1e-3, total_steps=10)
    return train_config(tiny | {"replay": {"batch_size": 4}} | values)


@pytest.fixture(scope="module")
def plain_losses() -> list[float]:
    return losses(peer_process.peer_settings(config(), devices=1))


def losses(settings) -> list[float]:
    step = train_peer.make_step(settings, torch.device("cpu"), compiled=False)
    return [float(step()) for _ in range(3)]


def test_micro_batches_train_as_the_full_batch_does(plain_losses):
    parts = losses(peer_process.peer_settings(config(micro_batches=4), devices=1))
    assert parts == pytest.approx(plain_losses, rel=1e-3)
    assert plain_losses[-1] < plain_losses[0], f"it does not learn its one batch: {plain_losses}"


@pytest.mark.parametrize("precision", ["bf16", "pure_bf16"])
def test_checkpointing_and_bfloat16_change_only_what_they_should(plain_losses, precision):
    settings = peer_process.peer_settings(config(remat="full", precision=precision), devices=1)
    assert settings["checkpointing"] and settings["precision"] == precision
    other = losses(settings)
    assert other == pytest.approx(plain_losses, rel=0.05)
    assert other != plain_losses, "bfloat16 was asked for, and the losses are float32's"


def test_a_device_gets_its_part_of_the_batch():
    assert peer_process.peer_settings(config(), devices=2)["streams"] == [4, 2]
    with pytest.raises(UserError, match=r"\[4, 2\] pairs on a device do not divide into 4 micro-batches"):
        peer_process.peer_settings(config(micro_batches=4), devices=2)


def test_a_process_of_its_own_takes_the_steps(monkeypatch):
    settings = peer_process.peer_settings
    monkeypatch.setattr(peer_process, "peer_settings", lambda *given: settings(*given) | {"compile": False})
    peer = peer_process.Peer(config())
    try:
        peer.turn(2)
        peer.turn(1)
    finally:
        peer.close()
    assert len(peer.seconds) == 2 and min(peer.seconds) > 0
    assert not peer.on_gpu and peer.pairs == 12 and peer.about["compiled"] is False
    assert peer._process.returncode == 0, "the process did not end by itself when its input did"


def test_a_missing_package_is_told_with_the_line_that_installs_it(monkeypatch, tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('as if it were not there', name='torch')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(
        UserError, match=r"--peer needs torch; install the peers: pip install 'bioclip-jax\[peers\]'"
    ):
        peer_process.Peer(config())


def test_a_peer_that_dies_is_told_of(monkeypatch, tmp_path):
    (tmp_path / "torch.py").write_text("raise SystemExit(3)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(UserError, match="the peer failed: it ended with status 3"):
        peer_process.Peer(config())
