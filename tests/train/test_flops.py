"""FLOP counts against published sizes and XLA's own analysis."""

import dataclasses
import functools
import typing

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from bioclip_jax.models import Remat, get_config, graphdef, init_params
from bioclip_jax.train.flops import Stopwatch, image_flops, loss_flops, text_flops, tower_work

# Wide and long enough that matrix products are nearly all of the work.
BROAD = dataclasses.replace(
    get_config("ViT-Test-16"),
    vision=dataclasses.replace(get_config("ViT-Test-16").vision, image_size=128, width=128, layers=2),
    text=dataclasses.replace(get_config("ViT-Test-16").text, width=128, layers=2),
)


def test_flops_of_vit_l_14():
    config = get_config("ViT-L-14")
    assert image_flops(config) == pytest.approx(162.0e9, rel=1e-3)
    assert text_flops(config, 77) == pytest.approx(13.3e9, rel=5e-3)
    assert tower_work(config, images=1, texts=1, text_length=77).model == pytest.approx(526e9, rel=1e-3)


@functools.cache
def gradient_flops(remat: str) -> float:
    """XLA's count for the gradient of both towers over four pairs; it counts a scan's body once."""
    model = graphdef(BROAD, remat=remat)

    def total(params, images, tokens):
        clip = nnx.merge(model, params)
        return jnp.sum(clip.encode_image(images) * clip.encode_text(tokens))

    arguments = (
        jax.eval_shape(lambda: init_params(BROAD)),
        jax.ShapeDtypeStruct((4, 128, 128, 3), jnp.float32),
        jax.ShapeDtypeStruct((4, 77), jnp.int32),
    )
    return jax.jit(jax.grad(total)).lower(*arguments).compile().cost_analysis()["flops"]


def counted(remat: str):
    one_layer = dataclasses.replace(
        BROAD,
        vision=dataclasses.replace(BROAD.vision, layers=1),
        text=dataclasses.replace(BROAD.text, layers=1),
    )
    return tower_work(one_layer, images=4, texts=4, text_length=77, remat=remat)


def test_forward_and_backward_pass_match_xla():
    work = counted("none")
    assert work.repeated == 0
    # XLA adds element-wise work, and skips the unused gradient of the pixels.
    assert gradient_flops("none") == pytest.approx(work.model, rel=0.07)


@pytest.mark.parametrize("remat", [name for name in typing.get_args(Remat) if name != "none"])
def test_recomputation_of_each_remat_policy_matches_xla(remat):
    work, repeated = counted(remat), gradient_flops(remat) - gradient_flops("none")
    # Recomputed element-wise work adds a few percent.
    assert work.repeated <= repeated <= 1.05 * work.repeated + 0.01 * work.model, (
        f"remat {remat}: {work.repeated:.3g} FLOPs counted as repeated, XLA repeats {repeated:.3g}"
    )


def test_micro_batches_and_remat_repeat_forward_work():
    sizes = dict(images=8, texts=8, text_length=32)
    plain = tower_work(BROAD, **sizes)
    full = tower_work(BROAD, **sizes, remat="full")
    both = tower_work(BROAD, **sizes, remat="full", micro_batches=2)
    assert tower_work(BROAD, **sizes, micro_batches=2).repeated == pytest.approx(plain.model / 3)
    assert both.repeated == pytest.approx(full.repeated + plain.model / 3)
    kept = tower_work(BROAD, **sizes, remat="full", micro_batches=2, gradient_cache="residuals")
    assert kept == full, "cached residuals need no other forward pass than remat's"
    assert plain.model == full.model == both.model, "recomputation must not count as the model's work"


def test_loss_flops_match_xla():
    config = get_config("ViT-Test-16")
    features = jax.ShapeDtypeStruct((512, config.embed_dim), jnp.float32)
    logits = jax.ShapeDtypeStruct((512, 512), jnp.float32)
    pull = jax.jit(lambda u, v, g: (u @ v.T, *jax.vjp(lambda u, v: u @ v.T, u, v)[1](g)))
    flops = pull.lower(features, features, logits).compile().cost_analysis()["flops"]
    assert loss_flops(config, 512) == pytest.approx(flops, rel=0.01)


def test_stopwatch_counts_streams_of_two_lengths(monkeypatch):
    config, now = get_config("ViT-Test-16"), iter((0.0, 2.0, 2.0))
    monkeypatch.setattr("time.perf_counter", lambda: next(now))
    stopwatch = Stopwatch(config)
    stopwatch.count(images=40, texts=32, text_length=16, data_wait=0.5, patch_dropout=0.0)
    stopwatch.count(images=0, texts=8, text_length=77, data_wait=0.0, patch_dropout=0.0)
    figures = stopwatch.read()
    forward = 40 * image_flops(config) + 32 * text_flops(config, 16) + 8 * text_flops(config, 77)
    assert figures["images_per_second"] == 20 and figures["data_wait"] == 0.25
    assert figures["tflops"] == pytest.approx(3 * forward / 2.0 / jax.device_count() / 1e12)
