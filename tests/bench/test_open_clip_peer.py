"""open_clip's training as a peer: micro-batches, precision, its process, and errors."""

import pytest
import torch

from bioclip_jax.bench import open_clip_peer
from bioclip_jax.errors import UserError
from bioclip_jax.train import train_config


def config(**values):
    tiny = dict(data={}, model="ViT-Test-16", global_batch_size=8, learning_rate=1e-3, total_steps=10)
    return train_config(tiny | {"replay": {"batch_size": 4}} | values)


@pytest.fixture(scope="module")
def plain_losses() -> list[float]:
    return losses(open_clip_peer.peer_settings(config(), devices=1))


def losses(settings) -> list[float]:
    step = open_clip_peer.make_step(settings, torch.device("cpu"), compiled=False)
    return [float(step()) for _ in range(3)]


def test_micro_batches_match_the_full_batch(plain_losses):
    parts = losses(open_clip_peer.peer_settings(config(micro_batches=4), devices=1))
    assert parts == pytest.approx(plain_losses, rel=1e-3)
    assert plain_losses[-1] < plain_losses[0], f"the loss of its only batch does not fall: {plain_losses}"


@pytest.mark.parametrize("precision", ["bf16", "pure_bf16"])
def test_checkpointing_and_bfloat16_stay_close_to_float32(plain_losses, precision):
    settings = open_clip_peer.peer_settings(config(remat="full", precision=precision), devices=1)
    assert settings["checkpointing"] and settings["precision"] == precision
    other = losses(settings)
    assert other == pytest.approx(plain_losses, rel=0.05)
    assert other != plain_losses, "the losses are float32's, not bfloat16's"


def test_batch_is_divided_among_devices():
    assert open_clip_peer.peer_settings(config(), devices=2)["streams"] == [4, 2]
    with pytest.raises(UserError, match=r"\[4, 2\] pairs on a device do not divide into 4 micro-batches"):
        open_clip_peer.peer_settings(config(micro_batches=4), devices=2)


def test_peer_trains_in_its_own_process(monkeypatch):
    settings = open_clip_peer.peer_settings
    monkeypatch.setattr(open_clip_peer, "peer_settings", lambda *args: settings(*args) | {"compile": False})
    peer = open_clip_peer.OpenClipPeer(config())
    try:
        peer.turn(2)
        peer.turn(1)
    finally:
        peer.close()
    assert len(peer.seconds) == 2 and min(peer.seconds) > 0
    assert not peer.on_gpu and peer.pairs == 12 and peer.about["compiled"] is False
    assert peer._process._process.returncode == 0, "the process did not end with its input"


def test_missing_package_is_reported_with_the_install_command(monkeypatch, tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('as if it were not there', name='torch')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(
        UserError, match=r"--peer needs torch; install the peers: pip install 'bioclip-jax\[peers\]'"
    ):
        open_clip_peer.OpenClipPeer(config())


def test_exit_of_the_peer_is_reported(monkeypatch, tmp_path):
    (tmp_path / "torch.py").write_text("raise SystemExit(3)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(UserError, match="the peer failed at device: it ended with status 3"):
        open_clip_peer.OpenClipPeer(config())
