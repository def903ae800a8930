"""Training in pure bfloat16 against PyTorch's AdamW on bfloat16 tensors and float32 parameters."""

from __future__ import annotations

import shutil

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from training_process import Training

from bioclip_jax.checkpoint import TrainingDirectory
from bioclip_jax.cli import main
from bioclip_jax.convert import resolve
from bioclip_jax.errors import UserError
from bioclip_jax.train.config import train_config
from bioclip_jax.train.experiment import Experiment
from bioclip_jax.train.optimizer import OptimizerConfig, cosine_schedule, make_optimizer, stochastic_bf16

# Of the published recipe.
RATE, DECAY = 1e-4, 0.2


def _bf16(rng: np.random.Generator, shape: tuple[int, ...], scale: float = 1.0) -> jax.Array:
    return jnp.asarray(rng.normal(size=shape) * scale, jnp.bfloat16)


def test_updates_match_pytorch_on_bfloat16_tensors():
    import torch

    rng = np.random.default_rng(0)
    params = {"text": {"kernel": _bf16(rng, (64, 64)), "bias": _bf16(rng, (64,))}}
    gradients = [jax.tree.map(lambda x: _bf16(rng, x.shape, 1e-3), params) for _ in range(20)]
    theirs = {
        name: torch.nn.Parameter(torch.tensor(np.asarray(x, np.float32)).bfloat16())
        for name, x in params["text"].items()
    }
    schedule = cosine_schedule(1e-2, 5, 20)
    optimizer = make_optimizer(OptimizerConfig(), schedule, DECAY, pure_bf16=True)
    state, update = optimizer.init(params), jax.jit(optimizer.update)
    groups = [
        {"params": [theirs["kernel"]], "weight_decay": DECAY},
        {"params": [theirs["bias"]], "weight_decay": 0.0},
    ]
    adamw = torch.optim.AdamW(groups, betas=(0.9, 0.98), eps=1e-6)
    for step, gradient in enumerate(gradients):
        updates, state = update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        for group in adamw.param_groups:
            group["lr"] = float(schedule(step))
        for name, parameter in theirs.items():
            parameter.grad = torch.tensor(np.asarray(gradient["text"][name], np.float32)).bfloat16()
        adamw.step()
    for name, parameter in theirs.items():
        ours, expected = np.asarray(params["text"][name]), parameter.detach().float().numpy()
        assert ours.dtype == ml_dtypes.bfloat16
        ours = ours.astype(np.float32)
        # PyTorch's CPU kernel multiplies by the rate before dividing; its CUDA kernel and ours, after.
        assert (ours == expected).mean() > 0.999, (
            f"{name}: only {(ours == expected).mean():.2%} of the values are equal"
        )
        # A value near zero carries the rounding error of its earlier, larger value.
        np.testing.assert_allclose(
            ours, expected, rtol=2**-7, atol=2**-10, err_msg=f"{name} differs by more than rounding"
        )


def _after_decay(steps: int, **options: object) -> tuple[np.ndarray, np.ndarray]:
    """Return a matrix before and after n updates with zero gradients."""
    params = {"kernel": _bf16(np.random.default_rng(0), (64, 64))}
    if not options.pop("pure_bf16"):
        params = jax.tree.map(lambda x: x.astype(jnp.float32), params)
        optimizer = make_optimizer(OptimizerConfig(), lambda step: RATE, DECAY)
    else:
        optimizer = make_optimizer(OptimizerConfig(**options), lambda step: RATE, DECAY, pure_bf16=True)
    before, state = np.asarray(params["kernel"], np.float64), optimizer.init(params)

    @jax.jit
    def step(params, state):
        updates, state = optimizer.update(jax.tree.map(jnp.zeros_like, params), state, params)
        return optax.apply_updates(params, updates), state

    for _ in range(steps):
        params, state = step(params, state)
    return before, np.asarray(params["kernel"], np.float64)


def test_the_published_weight_decay_does_not_change_bfloat16_values():
    before, after = _after_decay(100, pure_bf16=True)
    np.testing.assert_array_equal(after, before)


def test_weight_decay_acts_with_float32_parameters_and_with_stochastic_rounding():
    expected = (1 - RATE * DECAY) ** 100
    before, after = _after_decay(100, pure_bf16=False)
    np.testing.assert_allclose(after, before * expected, rtol=1e-5)
    before, after = _after_decay(100, pure_bf16=True, rounding="stochastic")
    # The projection onto the initial matrix averages 4,096 entries: its standard error is some 0.0003.
    assert (before * after).sum() / (before * before).sum() == pytest.approx(expected, abs=0.0015)


@given(arrays.arrays(np.float32, 8, elements=st.floats(width=32)), st.integers(0, 2**32 - 1))
def test_stochastic_rounding_returns_a_neighbor(x, seed):
    rounded = np.asarray(stochastic_bf16(jnp.asarray(x), jax.random.key(seed)))
    down = (x.view(np.uint32) & 0xFFFF0000).view(np.float32)
    with np.errstate(over="ignore"):
        up = ((x.view(np.uint32) & 0xFFFF0000) + np.uint32(0x10000)).view(np.float32)
    allowed = (rounded == down) | (rounded == up) | (np.isnan(x) & np.isnan(rounded)) | ~np.isfinite(up)
    # XLA's CPU flushes subnormal numbers.
    assert (allowed | (np.abs(x) < 2e-38)).all(), (x, rounded)
    exact = np.isfinite(x) & (x == down) & (np.abs(x) > 2e-38)
    np.testing.assert_array_equal(rounded[exact], x[exact], err_msg="bfloat16 values must not change")


def test_stochastic_rounding_is_unbiased():
    # A quarter of the way from 1 to the next value, 1 + 2^-7.
    x = jnp.full(40_000, 1 + 2**-9, jnp.float32)
    up = float((stochastic_bf16(x, jax.random.key(3)) > 1).mean())
    assert up == pytest.approx(0.25, abs=0.01)


def _values(**keys: object) -> dict[str, object]:
    minimal = {"data": {"train": "none"}, "model": "ViT-Test-16", "global_batch_size": 16, "total_steps": 6}
    return minimal | {"learning_rate": 1e-2, "precision": "pure_bf16"} | keys


def test_a_step_keeps_parameters_and_moments_in_bfloat16_and_clamps_the_logit_scale():
    experiment = Experiment(train_config(_values(mesh={"data": 2, "fsdp": 4})))
    state = experiment.init()
    trees = {"params": state.params, "opt_state": state.opt_state}
    types = {str(x.dtype) for x in jax.tree.leaves(trees)}
    assert types == {"bfloat16", "int32"}, types
    state.params["logit_scale"] = jax.device_put(jnp.bfloat16(4.6), state.params["logit_scale"].sharding)
    rng = np.random.default_rng(0)
    batch = {
        "image": rng.integers(0, 256, (16, 32, 32, 3), np.uint8),
        "tokens": rng.integers(1, 400, (16, experiment.context_length)).astype(np.int32),
    }
    losses = []
    for step in range(1, 5):
        state, metrics = experiment.train_step(state, jax.device_put(batch, experiment.batch_sharding), step)
        losses.append(float(metrics["loss"]))
        # ln 100 in bfloat16 is 4.59375.
        assert float(metrics["logit_scale"]) <= np.exp(4.59375) * (1 + 1e-6)
    assert {str(x.dtype) for x in jax.tree.leaves(state.params)} == {"bfloat16"}
    assert np.isfinite(losses).all() and losses[-1] < losses[0], (
        f"the loss of a repeated batch does not decrease: {losses}"
    )


def test_a_run_is_resumed_loaded_and_refused_in_another_precision(tiny_config, tmp_path, capsys):
    run = tmp_path / "run"
    # On one device and with the same number of steps, so that one small program is compiled once.
    options = ("--config.precision=pure_bf16", "--config.total_steps=4", "--config.checkpoint_every=2")
    for start in (0, 2):
        training = Training(tiny_config, run, *options)
        errors = training.wait()
        assert training.status == 0 and TrainingDirectory(run).steps() == [2, 4], errors
        assert ("resuming from step 2" in errors) == (start == 2), errors
        if start == 0:
            shutil.rmtree(TrainingDirectory(run).checkpoints / "4")
    kernels = jax.tree.leaves(resolve(run).params)
    assert {x.dtype for x in kernels} == {np.dtype(np.float32)}
    for kernel in kernels:
        np.testing.assert_array_equal(kernel, kernel.astype(ml_dtypes.bfloat16).astype(np.float32))
    capsys.readouterr()
    command = ["train", "--config", str(tiny_config), "--workdir", str(run)]
    assert main([*command, "--config.precision=bf16", "--config.total_steps=6"]) == 2
    errors = capsys.readouterr().err
    assert "was trained with precision pure_bf16, and config.precision is now bf16" in errors, errors
    assert TrainingDirectory(run).steps()[-1] == 4


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"optimizer": {"name": "muon"}},
            'which muon does not support; set config.optimizer.name to "adamw"',
        ),
        (
            {"optimizer": {"rounding": "stochastic"}, "precision": "bf16"},
            'set config.precision to "pure_bf16" too',
        ),
    ],
)
def test_incompatible_options_are_refused(keys, message):
    with pytest.raises(UserError, match=message):
        train_config(_values(**keys))
