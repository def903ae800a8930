"""AdamW, its schedule and decay mask against PyTorch and open_clip; Muon."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bioclip_jax.errors import UserError
from bioclip_jax.train.optimizer import OptimizerConfig, cosine_schedule, decay_mask, make_optimizer


def test_the_schedule_matches_open_clip():
    from open_clip_train.scheduler import cosine_lr

    class Optimizer:
        param_groups = [{"lr": 0.0}]

    theirs = cosine_lr(Optimizer(), 1e-3, 7, 50)
    ours = cosine_schedule(1e-3, 7, 50)
    for step in range(50):
        assert float(ours(step)) == pytest.approx(theirs(step), rel=1e-5, abs=1e-10), f"at step {step}"
    assert float(ours(0)) == pytest.approx(1e-3 / 7), "warmup starts above zero"


def test_adamw_updates_match_pytorch():
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


def test_a_frozen_tower_is_constant_and_has_no_moments():
    params = {"visual": {"kernel": jnp.ones((2, 2))}, "text": {"kernel": jnp.ones((2, 2))}}
    optimizer = make_optimizer(OptimizerConfig(frozen=("visual",)), lambda step: 0.1, weight_decay=0.5)
    opt_state = optimizer.init(params)
    updates, _ = optimizer.update(params, opt_state, params)
    assert not updates["visual"]["kernel"].any() and updates["text"]["kernel"].all()
    matrices = [x for x in jax.tree.leaves(opt_state) if x.shape == (2, 2)]
    assert len(matrices) == 2, "Adam's two moments of the text tower alone"


def test_freezing_an_unknown_tower_is_an_error():
    with pytest.raises(UserError, match='"image"; the towers are'):
        OptimizerConfig(frozen=("image",))


def test_gradients_are_clipped_to_the_global_norm():
    params = {"text": {"kernel": jnp.zeros((2, 2))}}
    gradient = {"text": {"kernel": jnp.full((2, 2), 100.0)}}
    clipped = make_optimizer(OptimizerConfig(clip_norm=1.0), lambda step: 1.0, 0.0)
    _, state = clipped.update(gradient, clipped.init(params), params)
    first_moment = next(x for x in jax.tree.leaves(state) if x.shape == (2, 2))
    np.testing.assert_allclose(first_moment, 0.1 * 0.5, rtol=1e-5, err_msg="0.1 x a gradient of norm 1")


def test_the_decay_mask_matches_the_reference():
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


def test_muon_orthogonalizes_block_matrices_and_leaves_the_rest_to_adamw():
    rng = np.random.default_rng(0)
    shapes = {"blocks": {"kernel": (3, 16, 48), "bias": (3, 48)}, "proj": (16, 8)}
    make = lambda: jax.tree.map(  # noqa: E731
        lambda shape: jnp.asarray(rng.normal(size=shape), jnp.float32),
        {"visual": shapes},
        is_leaf=lambda x: isinstance(x, tuple),
    )
    params, gradient = make(), make()

    def update(name: str):
        optimizer = make_optimizer(
            OptimizerConfig(name=name, muon_rms=0.3), lambda step: 0.1, weight_decay=0.0
        )
        return optimizer.update(gradient, optimizer.init(params), params)[0]["visual"]

    muon, adamw = update("muon"), update("adamw")
    np.testing.assert_allclose(muon["proj"], adamw["proj"])
    np.testing.assert_allclose(muon["blocks"]["bias"], adamw["blocks"]["bias"])
    for matrix in np.asarray(muon["blocks"]["kernel"]):
        singular = np.linalg.svd(matrix, compute_uv=False)
        # Five Newton-Schulz steps bring the singular values to between 0.7 and 1.2.
        assert singular.max() / singular.min() < 1.8, singular
        assert np.sqrt(np.mean(matrix**2)) == pytest.approx(0.1 * 0.3, rel=0.25)


def test_muon_treats_query_key_and_value_as_one_matrix():
    """The kernel [layers, in, 3, out] is updated like the reference's [layers, in, 3 · out]."""
    rng = np.random.default_rng(0)
    params, gradient = rng.normal(size=(2, 2, 16, 48)).astype(np.float32)
    optimizer = make_optimizer(OptimizerConfig(name="muon"), lambda step: 0.1, weight_decay=0.2)

    def update(shape: tuple[int, ...]) -> np.ndarray:
        tree, step = (
            {"visual": {"blocks": {"kernel": jnp.asarray(x.reshape(shape))}}} for x in (params, gradient)
        )
        return np.asarray(optimizer.update(step, optimizer.init(tree), tree)[0]["visual"]["blocks"]["kernel"])

    np.testing.assert_allclose(
        update((2, 16, 3, 16)).reshape(2, 16, 48), update((2, 16, 48)), rtol=1e-5, atol=1e-7
    )
