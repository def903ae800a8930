"""Equivalence of training on any mesh and in micro-batches, and with an unsharded loss and PyTorch's."""

from __future__ import annotations

import functools
import math
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from bioclip_jax.convert.open_clip import from_state_dict, to_state_dict
from bioclip_jax.errors import UserError
from bioclip_jax.models import get_config, graphdef, init_params, normalize_images
from bioclip_jax.text import Tokenizer
from bioclip_jax.train.config import train_config
from bioclip_jax.train.experiment import Experiment

MODEL, ROWS, REPLAYED, STEPS = "ViT-Test-16", 32, 32, 5
# Longer than every text, so that no token is cut.
LENGTHS = (16, 16)


def batches() -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    size, tokenizer = get_config(MODEL).vision.image_size, Tokenizer()
    result = []
    for _ in range(STEPS):
        result.append(
            {
                "image": rng.integers(0, 256, (ROWS, size, size, 3), np.uint8),
                "tokens": tokenizer([f"a photo of species {rng.integers(1000)}." for _ in range(ROWS)]),
                "replay_image": rng.integers(0, 256, (REPLAYED, size, size, 3), np.uint8),
                "replay_tokens": tokenizer([f"cat {rng.integers(1000)} on a mat" for _ in range(REPLAYED)]),
            }
        )
    return result


def make_experiment(devices: list[jax.Device] | None = None, **keys: Any) -> Experiment:
    values = {
        "data": {"train": "none"},
        "replay": {"train": "none", "batch_size": REPLAYED},
        "model": MODEL,
        "global_batch_size": ROWS,
        "learning_rate": 1e-4,
        "total_steps": STEPS,
    }
    return Experiment(train_config(values | keys), devices)


@pytest.fixture(scope="module")
def params() -> dict[str, Any]:
    return jax.tree.map(np.asarray, init_params(get_config(MODEL), seed=1, replay_projector=True))


def with_crops(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the batch with every third image mirrored, and crops that mirror them back."""
    batch = dict(batch)
    for prefix in ("", "replay_"):
        images = batch[prefix + "image"].copy()
        size = images.shape[1]
        images[::3] = images[::3, :, ::-1]
        crops = np.tile(np.array([0, 0, size, size, 0], np.float32), (len(images), 1))
        crops[::3, 4] = 1
        batch |= {prefix + "image": images, prefix + "crop": crops}
    return batch


def train(experiment: Experiment, params: Any) -> tuple[list[dict[str, float]], Any]:
    state, lines = experiment.init(params), []
    for step, batch in enumerate(batches(), 1):
        if experiment.config.image.crop == "device":
            batch = with_crops(batch)
        sharded = jax.device_put(batch, experiment.batch_sharding)
        state, metrics = experiment.train_step(state, sharded, step, *LENGTHS)
        lines.append({name: float(metrics[name]) for name in ("loss", "tree_of_life_loss", "gradient_norm")})
    return lines, jax.device_get(state.params)


@pytest.fixture(scope="module")
def on_one_device(params) -> tuple[list[dict[str, float]], Any]:
    return train(make_experiment(jax.devices()[:1]), params)


@pytest.mark.parametrize(
    "keys",
    [
        {"mesh": {"data": 8, "fsdp": 1, "tensor": 1}},
        {"mesh": {"data": 2, "fsdp": 4, "tensor": 1}},
        {"mesh": {"data": 1, "fsdp": 8, "tensor": 1}},
        {
            "mesh": {"data": 2, "fsdp": 2, "tensor": 2},
            "micro_batches": 4,
            "remat": "full",
            "image": {"crop": "device"},
        },
        {"mesh": {"data": 2, "fsdp": 2, "tensor": 2}},
    ],
    ids=["8x1x1", "2x4x1", "1x8x1", "2x2x2 in four micro-batches, cropped on the device", "2x2x2"],
)
def test_five_steps_with_replay_match_one_device(params, on_one_device, keys):
    lines, after = train(make_experiment(**keys), params)
    expected_lines, expected = on_one_device
    assert lines[0]["loss"] > lines[0]["tree_of_life_loss"] > 1, (
        "the replayed pairs do not contribute to the loss"
    )
    for step, (line, other) in enumerate(zip(lines, expected_lines), 1):
        for name in line:
            assert line[name] == pytest.approx(other[name], rel=1e-5), f"{name} of step {step}"
    for (path, value), other in zip(jax.tree_util.tree_leaves_with_path(after), jax.tree.leaves(expected)):
        np.testing.assert_allclose(value, other, rtol=0, atol=1e-5, err_msg=jax.tree_util.keystr(path))
    change = max(np.abs(a - b).max() for a, b in zip(jax.tree.leaves(after), jax.tree.leaves(params)))
    assert change > 1e-4, "the parameters did not change"


_MINIMAL = {"data": {}, "model": MODEL, "global_batch_size": 8, "learning_rate": 1.0, "epochs": 1.0}


def _unsharded_loss(params: Any, batch: dict[str, np.ndarray]) -> jax.Array:
    """Return the loss of both streams, encoded separately, each with its full matrix of logits."""
    model = nnx.merge(graphdef(get_config(MODEL), replay_projector=True), params)
    image = train_config(_MINIMAL).image
    total = 0.0
    for prefix, projector in (("", "proj"), ("replay_", "continual_proj")):
        pixels = normalize_images(batch[prefix + "image"], image.mean, image.std)
        images = model.encode_image(pixels, projector=projector)
        texts = model.encode_text(batch[prefix + "tokens"])
        logits = jnp.exp(model.logit_scale[...]) * images @ texts.T
        matched = jnp.diagonal(logits)
        losses = jax.nn.logsumexp(logits, axis=0) + jax.nn.logsumexp(logits, axis=1) - 2 * matched
        total += 0.5 * jnp.mean(losses)
    return total


@pytest.fixture(scope="module")
def unsharded(params):
    return jax.jit(jax.value_and_grad(_unsharded_loss))(params, batches()[0])


def _assert_gradients(gradients: Any, expected: Any, tolerance: float) -> None:
    for (path, a), b in zip(
        jax.tree_util.tree_leaves_with_path(gradients), jax.tree.leaves(expected), strict=True
    ):
        difference = np.abs(np.asarray(a) - np.asarray(b)).max() / np.abs(b).max()
        assert difference <= tolerance, f"{jax.tree_util.keystr(path)}: {difference:.1e} of its largest entry"


def _replayed_batch() -> dict[str, np.ndarray]:
    """Return a batch of two streams, whose texts have different lengths."""
    batch = batches()[0]
    return batch | {"tokens": batch["tokens"][:, :16], "replay_tokens": batch["replay_tokens"][:, :12]}


def _batch_of_unique_texts() -> dict[str, np.ndarray]:
    """Return a batch of one stream, in which two images share each text."""
    batch = batches()[0]
    index = np.arange(ROWS, dtype=np.int32) % (ROWS // 2)
    return {"image": batch["image"], "tokens": batch["tokens"][: ROWS // 2, :16], "text_index": index}


BATCHES = {"replay": _replayed_batch, "unique texts": _batch_of_unique_texts}
# Mesh, micro-batches, gradient cache and remat.
ONE_PASS = ((8, 1, 1), 1, "features", "none")
PATHS = [
    ("replay", (8, 1, 1), 4, "residuals", "full"),
    ("replay", (1, 8, 1), 2, "features", "full"),
    ("replay", (2, 4, 1), 2, "residuals", "none"),
    ("replay", (4, 1, 2), 2, "residuals", "full"),
    ("replay", (2, 2, 2), 4, "features", "full"),
    ("unique texts", (8, 1, 1), 2, "features", "none"),
    ("unique texts", (1, 8, 1), 1, "residuals", "full"),
]


def _name(path: tuple[Any, ...]) -> str:
    kind, mesh, micro_batches, cache, remat = path
    return f"{kind}, {'x'.join(map(str, mesh))}, {micro_batches} micro-batches, {cache}, remat {remat}"


@functools.cache
def _loss_and_gradients(
    kind: str, mesh: tuple[int, ...], micro_batches: int, cache: str, remat: str
) -> tuple[float, Any, str]:
    """Return loss and gradients of a batch, and the compiled program."""
    experiment = make_experiment(
        mesh=dict(zip(("data", "fsdp", "tensor"), mesh, strict=True)),
        micro_batches=micro_batches,
        gradient_cache=cache,
        remat=remat,
        replay={"train": "none", "batch_size": REPLAYED if kind == "replay" else 0},
    )
    shardings = experiment.update.shardings.params
    params = init_params(get_config(MODEL), seed=1, replay_projector=kind == "replay")
    inputs = jax.device_put((params, BATCHES[kind]()), (shardings, experiment.batch_sharding))
    function = jax.jit(experiment.update.loss_and_gradients, out_shardings=(None, shardings))
    program = function.lower(*inputs).compile()
    (loss, _), gradients = program(*inputs)
    return float(loss), gradients, program.as_text()


def test_loss_and_gradients_match_the_unsharded_loss(unsharded):
    loss, gradients, _ = _loss_and_gradients("replay", *ONE_PASS)
    assert loss == pytest.approx(float(unsharded[0]), rel=1e-6)
    # float32 rounding through two towers differs between processors by up to 2.02e-6.
    _assert_gradients(gradients, unsharded[1], 3e-6)


@pytest.mark.parametrize("path", PATHS, ids=_name)
def test_every_path_equals_one_pass(path):
    loss, gradients, _ = _loss_and_gradients(*path)
    expected_loss, expected, _ = _loss_and_gradients(path[0], *ONE_PASS)
    assert loss == pytest.approx(expected_loss, rel=1e-6)
    # Rounding differs between processors, as above.
    _assert_gradients(gradients, expected, 3e-6)


@pytest.mark.parametrize("precision", ["bf16_params", "pure_bf16"])
def test_bfloat16_gradients_are_summed_on_a_tensor_mesh(params, precision):
    mesh = {"data": 2, "fsdp": 2, "tensor": 2}
    experiment = make_experiment(mesh=mesh, precision=precision, optimizer={"name": "adamw"})
    batch = jax.device_put(batches()[0], experiment.batch_sharding)
    _, metrics = experiment.train_step(experiment.init(params), batch, 1, *LENGTHS)
    expected = train(make_experiment(jax.devices()[:1], precision="bf16"), params)[0][0]
    for name in ("loss", "gradient_norm"):
        assert float(metrics[name]) == pytest.approx(expected[name], rel=0.02), name


@pytest.mark.parametrize("path", [path for path in PATHS if path[1][2] == 1], ids=_name)
def test_gradients_are_reduced_once_a_step(path):
    _, gradients, text = _loss_and_gradients(*path)
    in_loops, reduced = _reduced_bytes(text)
    assert not in_loops, f"{in_loops} bytes are reduced in the iterations of loops"
    # Scattered over fsdp, then all-reduced over data.
    shards = [x.addressable_shards[0].data for x in jax.tree.leaves(gradients)]
    once = sum(x.nbytes for x in shards)
    scattered = sum(
        shard.nbytes
        for x, shard in zip(jax.tree.leaves(gradients), shards, strict=True)
        if shard.size < x.size
    )
    # The rest is the loss's.
    assert 0 <= reduced - once - scattered < 0.01 * once, (
        f"{reduced} bytes are reduced for {once} bytes of gradients a device, {scattered} of them scattered"
    )


def _reduced_bytes(text: str) -> tuple[int, int]:
    """Return the bytes that a compiled program's reductions result in, inside and outside of loops."""
    computations = dict(re.findall(r"^(?:ENTRY )?%([\w.\-]+) \(.*?\{$(.*?)^\}", text, re.M | re.S))
    pending, loops = re.findall(r"(?:body|condition)=%([\w.\-]+)", text), set()
    while pending:
        loops.add(name := pending.pop())
        called = re.findall(r"(?:calls|to_apply|body|condition)=%([\w.\-]+)", computations[name])
        pending += set(called) - loops
    bytes_of = {True: 0, False: 0}
    for name, body in computations.items():
        for result in re.findall(r"= (.*?) (?:all-reduce|reduce-scatter|all-to-all)(?:-start)?\(", body):
            shapes = re.findall(r"f32\[([\d,]*)\]", result)
            bytes_of[name in loops] += sum(
                4 * math.prod(map(int, filter(None, x.split(",")))) for x in shapes
            )
    return bytes_of[True], bytes_of[False]


@pytest.mark.parametrize("cache", ["features", "residuals"])
@pytest.mark.parametrize("precision", ["bf16_params", "pure_bf16"])
def test_bfloat16_gradients_of_micro_batches_are_added_in_float32(precision, cache):
    update = make_experiment(precision=precision, micro_batches=4, gradient_cache=cache).update
    params = jax.eval_shape(lambda: update.init().params)
    jaxpr = jax.make_jaxpr(lambda params, batch: update.loss_and_gradients(update._cast(params), batch))(
        params, _replayed_batch()
    )
    loops = [x for x in _equations(jaxpr.jaxpr) if x.primitive.name == "scan" and x.params["length"] == 4]
    carried = [x.aval for loop in loops for x in loop.outvars[: loop.params["num_carry"]]]
    kernels = [x for x in carried if x.ndim > 1]
    assert len(kernels) >= len(jax.tree.leaves(params)) / 2, (
        "no loop over the micro-batches adds up gradients"
    )
    assert {x.dtype.name for x in kernels} == {"float32"}


def _equations(jaxpr: Any) -> list[Any]:
    """Return the equations of a jaxpr, nested ones included."""
    equations = list(jaxpr.eqns)
    for equation in jaxpr.eqns:
        for inner in jax.tree.leaves(
            equation.params, is_leaf=lambda x: hasattr(x, "eqns") or hasattr(x, "jaxpr")
        ):
            if hasattr(inner, "eqns") or hasattr(inner, "jaxpr"):
                equations += _equations(getattr(inner, "jaxpr", inner))
    return equations


def test_loss_and_gradients_match_pytorchs_sum_of_both_losses(params, unsharded):
    """open_clip's towers and ClipLoss, with the reference's second projector on the pooled vectors."""
    import open_clip
    import torch
    from open_clip.loss import ClipLoss

    config = get_config(MODEL)
    built = config.to_open_clip()
    model = open_clip.CLIP(**{key: built[key] for key in ("embed_dim", "vision_cfg", "text_cfg")})
    weights = {name: torch.tensor(value) for name, value in to_state_dict(params, config).items()}
    second = torch.nn.Parameter(weights.pop("visual.continual_proj"))
    model.load_state_dict(weights)
    batch, image = batches()[0], train_config(_MINIMAL).image
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (image.mean, image.std))
    first, loss = model.visual.proj, 0.0
    for prefix, projector in (("", first), ("replay_", second)):
        pixels = (torch.tensor(batch[prefix + "image"]).permute(0, 3, 1, 2).float() / 255 - mean) / std
        model.visual.proj = None
        pooled = model.visual(pixels)
        images = torch.nn.functional.normalize(pooled @ projector, dim=-1)
        texts = model.encode_text(torch.tensor(batch[prefix + "tokens"]).long(), normalize=True)
        loss = loss + ClipLoss()(images, texts, model.logit_scale.exp())
    model.visual.proj = first
    loss.backward()
    theirs = {name: parameter.grad.numpy() for name, parameter in model.named_parameters()}
    theirs["visual.continual_proj"] = second.grad.numpy()
    assert float(unsharded[0]) == pytest.approx(loss.item(), rel=1e-6)
    _assert_gradients(unsharded[1], from_state_dict(theirs, config), 1e-5)


def test_a_step_at_shorter_text_lengths_is_the_same(params):
    experiment = make_experiment()
    batch = jax.device_put(batches()[0], experiment.batch_sharding)
    results = []
    # Texts of both streams share a forward pass only if they are equally long.
    for lengths in (LENGTHS, (16, 77)):
        state, metrics = experiment.train_step(experiment.init(params), batch, 1, *lengths)
        results.append((float(metrics["loss"]), float(metrics["gradient_norm"])))
    assert len(experiment.compile_seconds) == 2
    experiment.train_step(state, batch, 2, *LENGTHS)
    assert len(experiment.compile_seconds) == 2, "the program of a known length was compiled again"
    np.testing.assert_allclose(*results, rtol=1e-5)


def test_indivisible_batch_sizes_are_errors():
    with pytest.raises(
        UserError, match="global_batch_size is 32.*8 devices and 3 micro-batches; make it a multiple of 24"
    ):
        make_experiment(micro_batches=3)
    with pytest.raises(UserError, match="replay.batch_size is 12"):
        make_experiment(replay={"train": "none", "batch_size": 12})
