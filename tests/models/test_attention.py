"""Choice of the attention implementation, and cuDNN's as far as it can be traced without a GPU."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from bioclip_jax.errors import UserError
from bioclip_jax.models import (
    CLIPConfig,
    TextConfig,
    VisionConfig,
    attention,
    get_config,
    graphdef,
    init_params,
    on_nvidia,
    options,
)

CONFIG = get_config("ViT-Test-16")
HALF = jnp.bfloat16
ODD_HEADS = CLIPConfig(
    embed_dim=16,
    vision=VisionConfig(image_size=32, patch_size=16, width=40, layers=1, head_width=20),
    text=TextConfig(width=40, heads=2, layers=1, context_length=8, vocab_size=50),
)


@pytest.fixture
def nvidia(monkeypatch):
    """Pretend to have an NVIDIA GPU with cuDNN: enough to trace, not to run."""
    # JAX asks the installed cuDNN for its version while tracing, and has no public way to give one.
    from jax._src.cudnn import fused_attention_stablehlo as fused

    monkeypatch.setattr(options, "on_nvidia", lambda: True)
    monkeypatch.setattr(fused, "check_cudnn_version", lambda: 91501)
    monkeypatch.setattr(fused, "check_compute_capability", lambda capability: True)


def _trace(config=CONFIG, *, differentiate=False, **options) -> str:
    """Return the jaxpr of both towers; the image tower has an odd number of tokens."""
    model, size = graphdef(config, **options), config.vision.image_size
    images = jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)
    tokens = jax.ShapeDtypeStruct((2, config.text.context_length), jnp.int32)

    def loss(params, images, tokens):
        image, text, _ = nnx.merge(model, params)(images, tokens)
        return (image * text).sum()

    loss = jax.grad(loss) if differentiate else loss
    return str(jax.make_jaxpr(loss)(jax.eval_shape(lambda: init_params(config)), images, tokens))


def test_a_cpu_is_not_an_nvidia_gpu():
    assert not on_nvidia()


def test_auto_is_xla_on_a_cpu():
    assert "dot_product_attention" not in _trace(dtype=HALF, attention="auto")


def test_auto_is_cudnn_where_it_applies(nvidia):
    assert _trace(dtype=HALF).count("dot_product_attention_fwd_wrapper[") == 2, (
        "one for the scan of each tower"
    )
    assert "dot_product_attention" not in _trace(dtype=HALF, attention="xla")
    assert "dot_product_attention" not in _trace(dtype=jnp.float32)
    assert "dot_product_attention" not in _trace(ODD_HEADS, dtype=HALF)


def test_the_error_of_cudnn_names_the_reason(nvidia, monkeypatch):
    with pytest.raises(UserError, match='attention "cudnn".*bfloat16 or float16, not float32'):
        graphdef(CONFIG, attention="cudnn")
    with pytest.raises(UserError, match='attention "cudnn".*not 20'):
        graphdef(ODD_HEADS, dtype=HALF, attention="cudnn")
    graphdef(CONFIG, dtype=HALF, attention="cudnn")
    monkeypatch.setattr(options, "on_nvidia", lambda: False)
    with pytest.raises(UserError, match='attention "cudnn".*NVIDIA GPU, not cpu; use "auto" or "xla"'):
        graphdef(CONFIG, dtype=HALF, attention="cudnn")


@pytest.mark.parametrize(
    ("remat", "forward"), [("none", 2), ("full", 4), ("attention", 2), ("dots", 4), ("dots_attention", 2)]
)
def test_policies_that_save_attention_do_not_recompute_it(nvidia, remat, forward):
    """Its softmax statistics are saved with its output: it runs once forward in each tower."""
    trace = _trace(differentiate=True, dtype=HALF, remat=remat)
    runs = [trace.count(f"dot_product_attention_{way}_wrapper[") for way in ("fwd", "bwd")]
    assert runs == [forward, 2], f"cuDNN's attention runs {runs} times forward and backward"


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("tokens", [6, 7])
def test_padding_of_an_odd_number_of_tokens_is_not_attended_to(monkeypatch, causal, tokens):
    """Give the arguments for cuDNN to JAX's own attention."""
    query, key, value = jax.random.normal(jax.random.key(0), (3, 2, tokens, 4, 8))
    real, calls = jax.nn.dot_product_attention, []

    def attend_xla(query, key, value, *, implementation, **options):
        calls.append((query.shape[1], implementation))
        return real(query, key, value, implementation="xla", **options)

    monkeypatch.setattr(jax.nn, "dot_product_attention", attend_xla)
    ours = attention._attend_cudnn(query, key, value, causal=causal, length=tokens, shard=lambda x, axes: x)
    assert calls == [(tokens + tokens % 2, "cudnn")], (
        "JAX differentiates it over an even number of tokens only"
    )
    mask = jnp.tri(tokens, dtype=bool)[None] if causal else None
    np.testing.assert_allclose(ours, attention._attend_xla(query, key, value, mask), rtol=1e-5, atol=1e-6)
