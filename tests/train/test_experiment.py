"""Compiler options, checked by XLA itself."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from bioclip_jax.errors import UserError
from bioclip_jax.train import experiment
from bioclip_jax.train.config import TrainConfig, train_config


def config(**keys) -> TrainConfig:
    least = {
        "data": {},
        "model": "ViT-Test-16",
        "global_batch_size": 8,
        "learning_rate": 1.0,
        "total_steps": 1,
    }
    return train_config(least | keys)


@pytest.fixture
def lowered() -> jax.stages.Lowered:
    return jax.jit(lambda x: x + 1).lower(jnp.ones(3))


def test_compiler_options_reach_xla_and_unknown_ones_are_reported(lowered, monkeypatch, capsys):
    # The CPU compiler also parses a GPU's options.
    monkeypatch.setattr(experiment, "on_nvidia", lambda: True)
    options = (
        "xla_gpu_enable_triton_gemm=false",
        "xla_gpu_no_such=1",
        "xla_gpu_all_reduce_combine_threshold_bytes=64",
    )
    compiled = experiment.compile_step(lowered, config(compiler_options=options, deterministic=True))
    assert compiled(jnp.ones(3)).tolist() == [2, 2, 2]
    assert capsys.readouterr().err.splitlines() == [
        "this version of XLA has no option xla_gpu_no_such; it is ignored"
    ]


def test_an_invalid_option_value_is_an_error(lowered, monkeypatch):
    monkeypatch.setattr(experiment, "on_nvidia", lambda: True)
    with pytest.raises(jax.errors.JaxRuntimeError, match="xla_gpu_enable_triton_gemm"):
        experiment.compile_step(lowered, config(compiler_options=("xla_gpu_enable_triton_gemm=perhaps",)))


def test_compiler_options_are_ignored_without_nvidia(lowered):
    experiment.compile_step(lowered, config(compiler_options=("xla_gpu_enable_triton_gemm=perhaps",)))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"compiler_options": ("xla_gpu_enable_triton_gemm",)}, "options are given as NAME=VALUE"),
        ({"deterministic": True, "attention": "cudnn"}, "config.deterministic is set"),
        ({"deterministic": True, "attention": "cudnn_merged"}, "config.deterministic is set"),
        ({"profile": (5, 2)}, "give the first and the last step to trace"),
    ],
)
def test_invalid_configs_are_refused(keys, message):
    with pytest.raises(UserError, match=message):
        config(**keys)
