"""Twenty steps of our trainer against the same steps in PyTorch with open_clip's model and loss."""

from __future__ import annotations

import math

import jax
import numpy as np
import pytest

from bioclip_jax.convert.open_clip import from_state_dict
from bioclip_jax.models import get_config
from bioclip_jax.text import Tokenizer
from bioclip_jax.train.config import train_config
from bioclip_jax.train.experiment import Experiment

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
STEPS, BATCH, WARMUP, RATE, DECAY = 20, 16, 5, 1e-3, 0.2
NAMES = ["Malus domestica", "Musa acuminata", "Geospiza fortis", "Amanita muscaria", "Quercus robur"]


def _batches() -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    size = get_config("ViT-Test-16").vision.image_size
    tokenizer = Tokenizer()
    batches = []
    for _ in range(STEPS):
        texts = [f"a photo of {NAMES[i % 5]} number {i} of {rng.integers(1000)}." for i in range(BATCH)]
        image = rng.integers(0, 256, (BATCH, size, size, 3), np.uint8)
        batches.append({"image": image, "tokens": tokenizer(texts)})
    return batches


def _torch_losses(model, batches) -> list[float]:
    """Run the reference's loop: open_clip's ClipLoss, AdamW in two groups, cosine with warmup, the clamp."""
    import torch
    from open_clip.loss import ClipLoss
    from open_clip_train.scheduler import cosine_lr

    decays = {True: [], False: []}
    for parameter in model.parameters():
        decays[parameter.ndim >= 2].append(parameter)
    groups = [{"params": decays[False], "weight_decay": 0.0}, {"params": decays[True], "weight_decay": DECAY}]
    optimizer = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.98), eps=1e-6)
    schedule = cosine_lr(optimizer, RATE, WARMUP, STEPS)
    loss_of = ClipLoss()
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (MEAN, STD))
    losses = []
    for step, batch in enumerate(batches):
        schedule(step)
        optimizer.zero_grad()
        images = (torch.tensor(batch["image"]).permute(0, 3, 1, 2).float() / 255 - mean) / std
        loss = loss_of(*model(images, torch.tensor(batch["tokens"]).long()))
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))
        losses.append(loss.item())
    return losses


@pytest.fixture(scope="module")
def reference():
    """Return the initial state dict of open_clip's ViT-Test-16, and the losses of its twenty steps."""
    import open_clip
    import torch

    torch.manual_seed(0)
    config = get_config("ViT-Test-16").to_open_clip()
    model = open_clip.CLIP(**{key: config[key] for key in ("embed_dim", "vision_cfg", "text_cfg")})
    weights = {name: tensor.detach().numpy().copy() for name, tensor in model.state_dict().items()}
    return weights, _torch_losses(model, _batches())


def _experiment(**keys) -> Experiment:
    values = {
        "data": {"train": "none"},
        "model": "ViT-Test-16",
        "global_batch_size": BATCH,
        "learning_rate": RATE,
        "weight_decay": DECAY,
        "warmup_steps": WARMUP,
        "total_steps": STEPS,
        "image": {"mean": MEAN, "std": STD},
    }
    return Experiment(train_config(values | keys))


def _put(experiment: Experiment, batch):
    return jax.device_put(batch, experiment.batch_sharding)


def _losses(experiment: Experiment, params, batches) -> list[float]:
    state = experiment.init(params)
    losses = []
    for step, batch in enumerate(batches, 1):
        state, metrics = experiment.train_step(state, _put(experiment, batch), step)
        losses.append(float(metrics["loss"]))
    return losses


@pytest.mark.parametrize("mesh", [{"data": -1, "fsdp": 1}, {"data": 2, "fsdp": 4}], ids=["data", "fsdp"])
def test_the_losses_match_pytorch(reference, mesh):
    weights, theirs = reference
    params = from_state_dict(weights, get_config("ViT-Test-16"))
    ours = _losses(_experiment(mesh=mesh), params, _batches())
    assert theirs[-1] != pytest.approx(theirs[0], rel=1e-3), "the reference's loss does not change"
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)


def test_unique_texts_give_the_same_losses(reference):
    """Encoding each distinct caption of a batch once does not change the losses."""
    weights, _ = reference
    params = from_state_dict(weights, get_config("ViT-Test-16"))
    batches, distinct = _batches()[:5], []
    for batch in batches:
        tokens, index = batch["tokens"][:8], np.arange(BATCH, dtype=np.int32) % 8
        batch["tokens"] = tokens[index]
        distinct.append({"image": batch["image"], "tokens": tokens, "text_index": index})
    experiment = _experiment(caption={"unique_texts": True})
    np.testing.assert_allclose(
        _losses(experiment, params, distinct), _losses(experiment, params, batches), rtol=1e-5
    )


def test_gradients_match_pytorch(reference):
    """Every gradient of the first batch, relative to the largest entry of its array."""
    import open_clip
    import torch
    from open_clip.loss import ClipLoss

    weights, _ = reference
    config = get_config("ViT-Test-16")
    model = open_clip.CLIP(
        **{key: config.to_open_clip()[key] for key in ("embed_dim", "vision_cfg", "text_cfg")}
    )
    model.load_state_dict({name: torch.tensor(value) for name, value in weights.items()})
    batch = _batches()[0]
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (MEAN, STD))
    images = (torch.tensor(batch["image"]).permute(0, 3, 1, 2).float() / 255 - mean) / std
    ClipLoss()(*model(images, torch.tensor(batch["tokens"]).long())).backward()
    theirs = from_state_dict({name: p.grad.numpy() for name, p in model.named_parameters()}, config)

    experiment = _experiment()
    params = from_state_dict(weights, config)
    _, ours = jax.jit(experiment.update.loss_and_gradients)(params, _put(experiment, batch))
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(ours), jax.tree.leaves(theirs), strict=True):
        difference = np.abs(a - b).max() / np.abs(b).max()
        assert difference < 1e-4, f"{jax.tree_util.keystr(path)}: {difference:.1e} of the largest entry"
