"""Matrix products of fp8 operands: accuracy and types; test_nvidia.py has the compiled program."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from bioclip_jax.models import get_config, graphdef, init_params, matmul
from bioclip_jax.models.matmul import fp8_matmul

CONFIG = get_config("ViT-Test-16")
# Half a unit in the last place: 3 bits of mantissa in e4m3, 2 in e5m2.
E4M3, E5M2 = 2**-4, 2**-3


def _unsharded(kernel):
    return kernel


@jax.jit
def _product(x, kernel, gradient):
    product, pullback = jax.vjp(lambda x, kernel: fp8_matmul(x, kernel, _unsharded), x, kernel)
    return product, *pullback(gradient)


def _exact(x, kernel, gradient):
    flat, incoming = kernel.reshape(len(kernel), -1), gradient.reshape(len(gradient), -1)
    return (x @ flat).reshape(gradient.shape), incoming @ flat.T, (x.T @ incoming).reshape(kernel.shape)


def _relative(a, b) -> float:
    return float(np.linalg.norm(np.asarray(a, np.float64) - b) / np.linalg.norm(b))


@settings(max_examples=15)
@given(seed=st.integers(0, 1000), scales=st.tuples(*[st.floats(-20, 20)] * 3))
def test_product_and_gradients_have_the_accuracy_of_the_formats(seed, scales):
    """At any scale of the operands: each is scaled to the format's range by its own largest entry."""
    rng = np.random.default_rng(seed)
    shapes = (32, 48), (48, 3, 16), (32, 3, 16)
    x, kernel, gradient = (
        (rng.normal(size=shape) * 2.0**scale).astype(np.float32)
        for shape, scale in zip(shapes, scales, strict=True)
    )
    for got, exact, limit in zip(
        _product(x, kernel, gradient),
        _exact(x, kernel, gradient),
        (2 * E4M3, E4M3 + E5M2, E4M3 + E5M2),
        strict=True,
    ):
        error = _relative(got, exact)
        assert 1e-3 < error < limit, f"off by {error:.1e} of the norm, {limit:.1e} is the formats' rounding"


def test_sums_are_accumulated_in_float32():
    """Numbers that fp8 holds exactly give the exact product, however long the sum."""
    rng = np.random.default_rng(0)
    x, kernel = (
        rng.integers(-8, 9, (4, 3000)).astype(np.float32),
        rng.integers(-8, 9, (3000, 5)).astype(np.float32),
    )
    # The largest of the format, so that the scale is one.
    x[0, 0] = kernel[0, 0] = 448
    np.testing.assert_allclose(fp8_matmul(x, kernel, _unsharded), x.astype(np.float64) @ kernel, rtol=1e-6)


def test_zeros_stay_zeros():
    product, *gradients = _product(
        np.zeros((4, 8), np.float32), np.zeros((8, 3, 2), np.float32), np.zeros((4, 3, 2), np.float32)
    )
    assert not any(np.any(array) or np.isnan(array).any() for array in (product, *gradients))


def test_scales_are_powers_of_two():
    """Widening a number to bfloat16 and scaling it back then rounds nothing; even of tiny numbers."""
    for largest in (3e-38, 1e-20, 0.3, 448.0, 449.0, 1e20):
        matrix, scale = matmul._quantize(jnp.array([largest, -largest / 3]), jnp.float8_e4m3fn)
        assert np.frexp(float(scale))[0] == 0.5, f"{scale} is not a power of two"
        assert np.isfinite(matrix.astype(np.float32)).all()
        if largest > 1e-30:
            assert 224 <= float(matrix[0]) <= 448


def test_only_the_blocks_compute_in_fp8():
    params = jax.eval_shape(lambda: init_params(CONFIG))
    images, tokens = jnp.zeros((2, 32, 32, 3)), jnp.zeros((2, 8), jnp.int32)
    model = graphdef(CONFIG, dtype=jnp.bfloat16, matmul="fp8")
    lowered = jax.jit(lambda params: nnx.merge(model, params)(images, tokens)).lower(params).as_text()
    products = [line for line in lowered.splitlines() if "dot_general" in line]
    rounded = lowered.count("xf8E4M3FN>) -> tensor")
    # Each tower's scanned block has four products of two operands; the others are its attention's two, the
    # patches and the projections.
    assert rounded == 16 and len(products) == 15, f"{rounded} operands of {len(products)} products are fp8"


def test_features_stay_close_to_the_default():
    params = init_params(CONFIG, seed=1)
    rng = np.random.default_rng(0)
    images, tokens = (
        rng.normal(size=(4, 32, 32, 3)).astype(np.float32),
        rng.integers(1, 49000, (4, 8)).astype(np.int32),
    )
    features = {}
    for kind in ("default", "fp8"):
        model = graphdef(CONFIG, matmul=kind)
        features[kind] = jax.jit(lambda params, model=model: nnx.merge(model, params)(images, tokens)[:2])(
            params
        )
    for exact, rounded in zip(features["default"], features["fp8"], strict=True):
        cosine = (exact * rounded).sum(axis=1)
        assert 0.98 < cosine.min() < 1 - 1e-6, f"cosines of {cosine} between features with and without fp8"


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_dtypes_of_outputs_and_gradients(dtype):
    x, kernel = jnp.ones((4, 8), dtype), jnp.ones((8, 2))
    product, pullback = jax.vjp(lambda x, kernel: fp8_matmul(x, kernel, _unsharded), x, kernel)
    to_x, to_kernel = pullback(product)
    assert (product.dtype, to_x.dtype, to_kernel.dtype) == (dtype, dtype, jnp.float32)
