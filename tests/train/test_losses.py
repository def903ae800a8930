"""Streaming losses against the full matrix of logits and against open_clip's."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jax.sharding import AxisType, Mesh

from bioclip_jax.distributed import MeshConfig, batch_sharding, make_mesh, replicated
from bioclip_jax.train.losses import contrastive_loss

NAMES = ["infonce", "siglip"]
SCALE, BIAS = 10.0, -4.0
RESULTS = ("loss", "images", "texts", "scale", "bias")


def _plain(
    name: str, images, texts, scale: float = SCALE, bias: float = BIAS
) -> tuple[list[np.ndarray], list[float]]:
    """Return loss and gradients (images, texts, scale, bias) in float64, and both top-1 accuracies."""
    u, v = (np.asarray(x, np.float64) for x in (images, texts))
    batch, cosines = len(u), u @ v.T
    eye = np.eye(batch)
    if name == "infonce":
        z = scale * cosines
        of_rows, of_columns = (_logsumexp(z, axis) for axis in (1, 0))
        loss = np.mean(of_rows + of_columns.T - 2 * np.diag(z)[:, None]) / 2
        dz = (np.exp(z - of_rows) + np.exp(z - of_columns) - 2 * eye) / (2 * batch)
    else:
        z = scale * cosines + bias
        sign = 2 * eye - 1
        loss = np.logaddexp(0, -sign * z).sum() / batch
        dz = -sign * np.exp(-np.logaddexp(0, sign * z)) / batch
    accuracy = [np.mean(np.diag(z) >= z.max(axis) - 1e-6) for axis in (1, 0)]
    return [loss, scale * dz @ v, scale * dz.T @ u, np.sum(dz * cosines), dz.sum()], accuracy


def _logsumexp(z: np.ndarray, axis: int) -> np.ndarray:
    largest = z.max(axis, keepdims=True)
    return largest + np.log(np.exp(z - largest).sum(axis, keepdims=True))


def _streamed(
    name: str, mesh: Mesh, images, texts, scale: float = SCALE, bias: float = BIAS, chunk_size=None
):
    """Return the same from the loss under test, in one compiled program."""
    differentiated = jax.value_and_grad(
        contrastive_loss(name, mesh, chunk_size), argnums=(0, 1, 2, 3), has_aux=True
    )
    (loss, metrics), gradients = jax.jit(differentiated)(images, texts, jnp.float32(scale), jnp.float32(bias))
    return [loss, *gradients], [float(metrics[key]) for key in ("image_to_text", "text_to_image")]


def _assert_close(ours, theirs, tolerance: float = 1e-6, zero: float = 0.0) -> None:
    """Compare each result within `tolerance` of its largest entry, or `zero` in absolute terms."""
    for name, a, b in zip(RESULTS, ours, theirs, strict=True):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        difference, largest = np.abs(a - b).max(), np.abs(b).max()
        assert difference <= max(tolerance * largest, zero), (
            f"{name} differs by {difference:.1e}, and its largest entry is {largest:.1e}"
        )


def _features(batch: int, dim: int, seed: int = 0, distinct_texts: int | None = None) -> list[np.ndarray]:
    """Return unit rows, images near their texts, of which only `distinct_texts` are distinct."""
    rng = np.random.default_rng(seed)
    texts = rng.normal(size=(distinct_texts or batch, dim))[np.arange(batch) % (distinct_texts or batch)]
    images = texts + rng.normal(size=(batch, dim))
    return [(x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32) for x in (images, texts)]


def _line(devices: int) -> Mesh:
    return jax.make_mesh((devices,), ("rows",), axis_types=(AxisType.Auto,), devices=jax.devices()[:devices])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(8, 1, 1), (2, 2, 2), (1, 8, 1), (1, 1, 1)], ids=str)
def test_loss_and_gradients_match_the_full_matrix_on_any_mesh(name, shape):
    """The batch is sharded over data and fsdp and replicated over tensor, as in training."""
    mesh = make_mesh(MeshConfig(*shape), jax.devices()[: np.prod(shape)])
    images, texts = _features(64, 24, distinct_texts=40)
    ours, accuracy = _streamed(
        name, mesh, *jax.device_put((images, texts), batch_sharding(mesh)), chunk_size=16
    )
    theirs, expected_accuracy = _plain(name, images, texts)
    _assert_close(ours, theirs, zero=1e-9)
    assert accuracy == pytest.approx(expected_accuracy)
    assert ours[0].sharding.is_fully_replicated, f"the loss has sharding {ours[0].sharding}"


# 35 columns in 2 chunks of 18; the last column is padding.
@example(name="infonce", devices=5, rows=7, dim=8, chunk_size=18, seed=34)
@example(name="siglip", devices=5, rows=7, dim=8, chunk_size=18, seed=34)
@settings(max_examples=10)
@given(
    name=st.sampled_from(NAMES),
    devices=st.sampled_from([1, 2, 3, 5, 8]),
    rows=st.integers(1, 9),
    dim=st.integers(1, 20),
    chunk_size=st.integers(1, 80),
    seed=st.integers(0, 99),
)
def test_loss_and_gradients_for_any_batch_devices_and_chunks(name, devices, rows, dim, chunk_size, seed):
    batch = devices * rows
    images, texts = _features(batch, dim, seed, distinct_texts=1 + seed % batch)
    ours, accuracy = _streamed(name, _line(devices), images, texts, chunk_size=chunk_size)
    theirs, expected_accuracy = _plain(name, images, texts)
    # A few or similar rows may cancel to a gradient of 0.
    _assert_close(ours, theirs, tolerance=2e-6, zero=2e-6)
    assert accuracy == pytest.approx(expected_accuracy)


@pytest.mark.parametrize("name", NAMES)
def test_loss_and_gradients_match_open_clip(name):
    import torch
    from open_clip.loss import ClipLoss, SigLipLoss

    images, texts = _features(48, 32)
    inputs = [
        torch.tensor(np.asarray(x, np.float64), requires_grad=True) for x in (images, texts, SCALE, BIAS)
    ]
    loss = (ClipLoss() if name == "infonce" else SigLipLoss())(*inputs)
    loss.backward()
    ours, _ = _streamed(name, _line(8), images, texts, chunk_size=16)
    _assert_close(ours, [loss.item(), *(x.grad.numpy() for x in inputs)], zero=1e-9)


def _hadamard(size: int) -> np.ndarray:
    """Return orthonormal rows whose products are all exact in binary."""
    return np.array([[(-1.0) ** (i & j).bit_count() for j in range(size)] for i in range(size)]) / np.sqrt(
        size
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("images", "texts", "accuracy"),
    [
        (_hadamard(16), _hadamard(16), 1.0),
        (_hadamard(16), np.roll(_hadamard(16), 1, axis=0), 0.0),
        (_hadamard(16), -_hadamard(16), 0.0),
        (_hadamard(16)[np.arange(16) // 2], _hadamard(16)[np.arange(16) // 2], 1.0),
    ],
    ids=["matched", "mismatched", "opposite", "duplicated"],
)
def test_the_largest_logit_scale_is_exact(name, images, texts, accuracy):
    """Logits of -100, 0 and 100 under- and overflow unless exponentials are relative to the largest."""
    ours, our_accuracy = _streamed(
        name,
        _line(4),
        images.astype(np.float32),
        texts.astype(np.float32),
        scale=100.0,
        bias=-10.0,
        chunk_size=5,
    )
    assert all(np.isfinite(x).all() for x in ours), "a loss or a gradient is not finite"
    theirs, _ = _plain(name, images, texts, scale=100.0, bias=-10.0)
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-6, atol=1e-30)
    # The gradient of the bias adds and subtracts numbers near 1.
    _assert_close(ours, theirs, zero=1e-6)
    assert our_accuracy == [accuracy, accuracy]


@pytest.mark.parametrize("name", NAMES)
def test_the_largest_logit_scale_with_nearly_orthogonal_rows(name):
    images, texts = _features(64, 512)
    ours, _ = _streamed(
        name, _line(8), texts, np.roll(images, 1, axis=0), scale=100.0, bias=-10.0, chunk_size=16
    )
    theirs, _ = _plain(name, texts, np.roll(images, 1, axis=0), scale=100.0, bias=-10.0)
    # float32 represents a logit of 20 to within 1e-6, and thus its exponential.
    _assert_close(ours, theirs, tolerance=1e-5, zero=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_features_are_multiplied_in_float32(name):
    features = [jnp.asarray(x, jnp.bfloat16) for x in _features(32, 16)]
    ours, accuracy = _streamed(name, _line(8), *features)
    theirs, expected_accuracy = _streamed(name, _line(8), *(x.astype(jnp.float32) for x in features))
    assert ours[0].dtype == jnp.float32 and ours[1].dtype == jnp.bfloat16
    for name, a, b in zip(RESULTS, ours, theirs, strict=True):
        np.testing.assert_array_equal(
            a, b.astype(a.dtype), err_msg=f"{name} differs from that of the same float32 values"
        )
    assert accuracy == expected_accuracy


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("devices", "batch", "dim", "chunk_size"), [(1, 100, 33, 7), (8, 64, 48, 24)])
def test_repeated_captions_count_as_correct(name, devices, batch, dim, chunk_size):
    """Equal rows in other chunks and on other devices tie, though their products are inexact."""
    _, texts = _features(batch, dim, distinct_texts=batch // 4)
    _, accuracy = _streamed(name, _line(devices), texts, texts, chunk_size=chunk_size)
    assert accuracy == [1.0, 1.0]


def test_a_bias_changes_siglip_but_not_infonce():
    images, texts = _features(16, 8)
    with_bias, _ = _streamed("infonce", _line(8), images, texts, bias=-3.0)
    without, _ = jax.jit(contrastive_loss("infonce", _line(8)))(images, texts, SCALE)
    assert with_bias[0] == without and with_bias[-1] == 0.0
    (first, *_), _ = _streamed("siglip", _line(8), images, texts, bias=-3.0)
    (second, *_), _ = _streamed("siglip", _line(8), images, texts, bias=-2.0)
    assert first != second, "the bias has no effect"


def test_invalid_arguments_are_errors():
    images, texts = _features(16, 8)
    with pytest.raises(ValueError, match="siglip needs one"):
        contrastive_loss("siglip", _line(8))(images, texts, SCALE, None)
    for first, second in ((images, texts[:8]), (images[:12], texts[:12])):
        with pytest.raises(ValueError, match=f"{len(first)}, 8.*multiple of the 8 devices"):
            contrastive_loss("infonce", _line(8))(first, second, SCALE)
    with pytest.raises(ValueError, match="the names are infonce, siglip"):
        contrastive_loss("clip", _line(8))


@pytest.mark.parametrize("name", NAMES)
def test_the_loss_does_one_product_forward_and_three_backward(name):
    images, texts = _features(64, 8)
    loss = contrastive_loss(name, _line(8), chunk_size=16)
    differentiated = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)
    products = [
        str(jax.make_jaxpr(f)(images, texts, SCALE, BIAS)).count("dot_general")
        for f in (loss, differentiated)
    ]
    assert products == [1, 4], f"{products[0]} products in the loss, {products[1]} with its gradient"


def _full_matrix_loss(images, texts, scale, bias):
    z = jnp.matmul(scale * images, texts.T, precision="highest")
    loss = jnp.mean(jax.nn.logsumexp(z, axis=1) + jax.nn.logsumexp(z, axis=0) - 2 * jnp.diagonal(z)) / 2
    return loss, {"image_to_text": jnp.mean(jnp.diagonal(z) >= z.max(1))}


def _abstract(mesh: Mesh, batch: int, dim: int) -> list[jax.ShapeDtypeStruct]:
    shapes = [((batch, dim), batch_sharding(mesh))] * 2 + [((), replicated(mesh))] * 2
    return [jax.ShapeDtypeStruct(shape, jnp.float32, sharding=sharding) for shape, sharding in shapes]


def _temporary_mib(loss, mesh: Mesh, batch: int) -> float:
    differentiated = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True))
    compiled = differentiated.lower(*_abstract(mesh, batch, 64)).compile()
    return compiled.memory_analysis().temp_size_in_bytes / 2**20


@pytest.mark.parametrize("name", NAMES)
def test_memory_is_linear_in_the_batch_size(name):
    mesh = make_mesh(MeshConfig())
    streamed = {
        batch: _temporary_mib(contrastive_loss(name, mesh), mesh, batch) for batch in (4096, 8192, 16384)
    }
    full = _temporary_mib(_full_matrix_loss, mesh, 8192)
    sizes = f"MiB by global batch size: {streamed}; full matrix of 8192: {full}"
    assert streamed[8192] <= full / 8, sizes
    assert streamed[8192] <= 2 * streamed[4096] and streamed[16384] <= 2 * streamed[8192], sizes


@pytest.mark.parametrize("name", NAMES)
def test_the_loss_is_exported_for_every_platform(name):
    mesh = make_mesh(MeshConfig(2, 2, 2))
    differentiated = jax.jit(
        jax.value_and_grad(contrastive_loss(name, mesh), argnums=(0, 1, 2), has_aux=True)
    )
    exported = jax.export.export(differentiated, platforms=["cpu", "cuda", "tpu"])(*_abstract(mesh, 16, 8))
    assert exported.platforms == ("cpu", "cuda", "tpu")
    images, texts = _features(16, 8)
    rows, scalars = batch_sharding(mesh), replicated(mesh)
    arguments = jax.device_put(
        (images, texts, jnp.float32(SCALE), jnp.float32(BIAS)), (rows, rows, scalars, scalars)
    )
    (loss, _), _ = jax.jit(exported.call)(*arguments)
    np.testing.assert_allclose(loss, _plain(name, images, texts)[0][0], rtol=1e-6)
