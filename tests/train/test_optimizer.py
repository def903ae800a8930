"""AdamW, its schedule and its mask, against PyTorch and open_clip."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bioclip_jax.errors import UserError
from bioclip_jax.train.optimizer import OptimizerConfig, cosine_schedule, decay_mask, make_optimizer


def test_the_schedule_is_open_clips():
    from open_clip_train.scheduler import cosine_lr

    class Optimizer:
        param_groups = [{"lr": 0.0}]

    theirs = cosine_lr(Optimizer(), 1e-3, 7, 50)
    ours = cosine_schedule(1e-3, 7, 50)
    for step in range(50):
        assert float(ours(step)) == pytest.approx(theirs(step), rel=1e-5, abs=1e-10), f"at step {step}"
    assert float(ours(0)) == pytest.approx(1e-3 / 7), "the warm-up starts above zero"


def test_the_update_is_pytorchs_adamw():
    import torch

    rng = np.random.default_rng(0)
    start = {"text": {"kernel": rng.normal(size=(3, 4)), "bias": rng.normal(size=4)}}
    start = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), start)
    gradients = [jax.tree.map(lambda x: rng.normal(size=x.shape).astype(np.float32), start) for _ in range(5)]

    optimizer = make_optimizer(OptimizerConfig(), cosine_schedule(1e-2, 2, 5), weight_decay=0.2)
    params, opt_state = start, optimizer.init(start)
    for gradient in gradients:
        updates, opt_state = optimizer.update(gradient, opt_state, params)
        params = optax.apply_updates(params, updates)

    theirs = {name: torch.nn.Parameter(torch.tensor(np.asarray(x))) for name, x in start["text"].items()}
    adamw = torch.optim.AdamW(
        [
            {"params": [theirs["kernel"]], "weight_decay": 0.2},
            {"params": [theirs["bias"]], "weight_decay": 0.0},
        ],
        betas=(0.9, 0.98),
        eps=1e-6,
    )
    for step, gradient in enumerate(gradients):
        for group in adamw.param_groups:
            group["lr"] = float(cosine_schedule(1e-2, 2, 5)(step))
        for name, parameter in theirs.items():
            parameter.grad = torch.tensor(gradient["text"][name])
        adamw.step()
    for name, parameter in theirs.items():
        np.testing.assert_allclose(
            params["text"][name], parameter.detach().numpy(), rtol=1e-5, atol=1e-7, err_msg=name
        )


def test_a_frozen_tower_stays_and_keeps_no_moments():
    params = {"visual": {"kernel": jnp.ones((2, 2))}, "text": {"kernel": jnp.ones((2, 2))}}
    optimizer = make_optimizer(OptimizerConfig(frozen=("visual",)), lambda step: 0.1, weight_decay=0.5)
    opt_state = optimizer.init(params)
    updates, _ = optimizer.update(params, opt_state, params)
    assert not updates["visual"]["kernel"].any() and updates["text"]["kernel"].all()
    matrices = [x for x in jax.tree.leaves(opt_state) if x.shape == (2, 2)]
    assert len(matrices) == 2, "Adam's two moments of the text tower alone"


def test_an_unknown_tower_is_told():
    with pytest.raises(UserError, match='"image"; the towers are'):
        OptimizerConfig(frozen=("image",))


def test_gradients_are_clipped_to_the_global_norm():
    params = {"text": {"kernel": jnp.zeros((2, 2))}}
    gradient = {"text": {"kernel": jnp.full((2, 2), 100.0)}}
    clipped = make_optimizer(OptimizerConfig(clip_norm=1.0), lambda step: 1.0, 0.0)
    _, state = clipped.update(gradient, clipped.init(params), params)
    first_moment = next(x for x in jax.tree.leaves(state) if x.shape == (2, 2))
    np.testing.assert_allclose(first_moment, 0.1 * 0.5, rtol=1e-5, err_msg="0.1 x a gradient of norm 1")


def test_the_mask_names_what_the_reference_does_not_decay():
    params = {
        "visual": {
            "class_embedding": 0,
            "positional_embedding": 0,
            "proj": 0,
            "ln_pre": {"scale": 0, "bias": 0},
        },
        "text": {"token_embedding": 0, "blocks": {"mlp": {"c_fc": {"kernel": 0, "bias": 0}}}},
        "logit_scale": 0,
    }
    assert decay_mask(params) == {
        "visual": {
            "class_embedding": False,
            "positional_embedding": True,
            "proj": True,
            "ln_pre": {"scale": False, "bias": False},
        },
        "text": {"token_embedding": True, "blocks": {"mlp": {"c_fc": {"kernel": True, "bias": False}}}},
        "logit_scale": False,
    }
