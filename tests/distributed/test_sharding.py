"""Shardings on several meshes: outputs, collectives of the compiled program, and memory per device."""

from __future__ import annotations

import re

import jax
import numpy as np
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import PartitionSpec

from bioclip_jax.distributed.mesh import MeshConfig, batch_sharding, make_mesh, replicated
from bioclip_jax.distributed.sharding import ActivationSharding, check_tensor, parameter_shardings
from bioclip_jax.errors import UserError
from bioclip_jax.models import CLIPConfig, TextConfig, VisionConfig, get_config, graphdef, init_params
from bioclip_jax.train.optimizer import OptimizerConfig, make_optimizer

# Eight heads in both towers; sizes differ, so that shapes in a compiled program identify the arrays.
CONFIG = CLIPConfig(
    embed_dim=24,
    vision=VisionConfig(image_size=32, patch_size=16, width=128, layers=4, head_width=16),
    text=TextConfig(width=64, heads=8, layers=2, context_length=12, vocab_size=96),
)
MESHES = {"2x2x2": MeshConfig(2, 2, 2), "1x8x1": MeshConfig(1, 8, 1), "1x1x8": MeshConfig(1, 1, 8)}
ROWS = 16


def _inputs():
    rng = np.random.default_rng(0)
    images, tokens = rng.normal(size=(ROWS, 32, 32, 3)), rng.integers(1, 95, (ROWS, 12))
    return images.astype(np.float32), tokens.astype(np.int32)


def _loss(model):
    weights = np.random.default_rng(1).normal(size=(2, ROWS, CONFIG.embed_dim)).astype(np.float32)

    def loss(params, images, tokens):
        image, text, scale = nnx.merge(model, params)(images, tokens)
        return (image * weights[0]).sum() + (text * weights[1]).sum() * scale

    return loss


@pytest.fixture(scope="module")
def params():
    return jax.tree.map(np.asarray, init_params(CONFIG, seed=1))


@pytest.fixture(scope="module")
def on_one_device(params):
    return jax.jit(jax.value_and_grad(_loss(graphdef(CONFIG))))(params, *_inputs())


@pytest.fixture(scope="module")
def compiled(params):
    """Loss and gradients, compiled for each mesh."""

    def compile_for(config: MeshConfig):
        mesh = make_mesh(config)
        shardings, rows = parameter_shardings(params, mesh), batch_sharding(mesh)
        loss = _loss(graphdef(CONFIG, shard=ActivationSharding(mesh)))
        function = jax.jit(
            jax.value_and_grad(loss),
            in_shardings=(shardings, rows, rows),
            out_shardings=(replicated(mesh), shardings),
        )
        return function.lower(params, *_inputs()).compile()

    return {name: compile_for(config) for name, config in MESHES.items()}


@pytest.mark.parametrize("mesh", MESHES)
def test_outputs_and_gradients_equal_a_single_devices(compiled, on_one_device, params, mesh):
    arguments = jax.tree.map(jax.device_put, (params, *_inputs()), compiled[mesh].input_shardings[0])
    ours = jax.tree_util.tree_leaves_with_path(compiled[mesh](*arguments))
    for (path, array), expected in zip(ours, jax.tree.leaves(on_one_device), strict=True):
        difference = np.abs(np.asarray(array) - expected).max() / np.abs(expected).max()
        assert difference < 5e-6, (
            f"{jax.tree_util.keystr(path)} differs by {difference:.1e} of its largest entry"
        )


def _collectives(text: str) -> list[tuple[str, str]]:
    """(kind, result shapes) of every collective in a compiled program."""
    kinds = "all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute"
    return [(kind, shapes) for shapes, kind in re.findall(rf"= (.*?) ({kinds})(?:-start)?\(", text)]


def _shapes(text: str) -> set[tuple[int, ...]]:
    return {tuple(map(int, dims.split(","))) for dims in re.findall(r"f32\[([\d,]+)\]", text)}


def _kernels(params) -> list[tuple[int, ...]]:
    """Return the shapes of the blocks' stacked kernels."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return [leaf.shape for path, leaf in leaves if {"blocks", "kernel"} <= {entry.key for entry in path}]


def test_tensor_parallel_blocks_need_only_two_all_reduces_each_way(compiled, params):
    """Megatron's count: after attention and after the MLP, forward and backward, in each tower."""
    text = compiled["1x1x8"].as_text()
    collectives = _collectives(text)
    assert [kind for kind, _ in collectives] == ["all-reduce"] * 8, collectives
    sent = {shapes for _, shapes in collectives}
    assert all(re.match(r"f32\[(80,128|192,64)\]", shapes) for shapes in sent), (
        f"not activations as wide as a tower: {sent}"
    )
    shapes = _shapes(text)
    for layers, *kernel in _kernels(params):
        assert not {(layers, *kernel), tuple(kernel)} & shapes, f"a device holds a whole kernel of {kernel}"
    assert (ROWS * 5, 4 * 128) not in shapes, "a device computes all hidden units of the MLP"
    assert (ROWS, 8, 5, 5) not in shapes, "a device computes all heads"


def test_fsdp_gathers_one_layer_at_a_time(compiled, params):
    text = compiled["1x8x1"].as_text()
    shapes = _shapes(text)
    for stack in _kernels(params):
        assert stack not in shapes, f"a device holds the kernels of all layers, {stack}"
    collectives = _collectives(text)
    kinds = {kind for kind, _ in collectives}
    assert kinds <= {"all-gather", "all-reduce", "reduce-scatter"}, (
        f"activations move from device to device: {kinds}"
    )
    gathered = [
        tuple(map(int, re.search(r"\[([\d,]+)\]", s)[1].split(",")))
        for kind, s in collectives
        if kind == "all-gather"
    ]
    for _, *kernel in _kernels(params):
        count = sum(sorted(d for d in shape if d > 1) == sorted(kernel) for shape in gathered)
        assert count >= 2, (
            f"a kernel of {kernel} is gathered {count} times, not once forward and once backward"
        )


@pytest.mark.parametrize("mesh", MESHES)
def test_parameters_are_split_over_fsdp_and_tensor(compiled, params, mesh):
    total = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
    held = compiled[mesh].memory_analysis().argument_size_in_bytes - sum(x.nbytes for x in _inputs()) // 4
    parts = MESHES[mesh].fsdp * MESHES[mesh].tensor
    # The tables and the patches' kernel are not split over tensor; norms and some biases not at all.
    most = (
        total / parts
        + sum(x.nbytes for x in jax.tree.leaves(params) if x.size < 1000 or x.ndim == 2) / MESHES[mesh].fsdp
    )
    assert total / parts <= held + total * 0.02 and held < most + total * 0.05, (
        f"{held} of {total} bytes are on a device"
    )


def test_partition_specs():
    mesh = make_mesh(MeshConfig(2, 2, 2))
    params = jax.eval_shape(lambda: init_params(CONFIG, replay_projector=True, logit_bias=True))
    specs = jax.tree.map(
        lambda s: s.spec, parameter_shardings(params, mesh), is_leaf=lambda x: hasattr(x, "spec")
    )
    fsdp, tensor, block = ("fsdp",), ("tensor",), specs["visual"]["blocks"]
    assert block["attn"]["in_proj"] == {
        "kernel": PartitionSpec(None, fsdp, None, tensor),
        "bias": PartitionSpec(None, None, tensor),
    }
    assert block["attn"]["out_proj"] == {"kernel": PartitionSpec(None, tensor, fsdp), "bias": PartitionSpec()}
    assert block["mlp"]["c_fc"] == {
        "kernel": PartitionSpec(None, fsdp, tensor),
        "bias": PartitionSpec(None, tensor),
    }
    assert block["mlp"]["c_proj"] == {"kernel": PartitionSpec(None, tensor, fsdp), "bias": PartitionSpec()}
    assert block["ln_1"] == {"scale": PartitionSpec(), "bias": PartitionSpec()}
    assert specs["visual"]["continual_proj"] == specs["visual"]["proj"] == PartitionSpec(fsdp, None)
    assert (
        specs["visual"]["class_embedding"] == specs["logit_scale"] == specs["logit_bias"] == PartitionSpec()
    )
    assert specs["text"]["token_embedding"] == PartitionSpec(None, fsdp)
    assert specs["text"]["blocks"]["mlp"] == block["mlp"]


@pytest.mark.parametrize("name", ["ViT-Test-16", "ViT-L-14", "ViT-H-14", "ViT-M-16-alt"])
def test_every_large_parameter_is_sharded(name):
    """Every array of more than a few widths has an axis that fsdp splits."""
    params = jax.eval_shape(lambda: init_params(get_config(name)))
    shardings = parameter_shardings(params, make_mesh(MeshConfig(1, 8, 1)))
    for (path, leaf), sharding in zip(
        jax.tree_util.tree_leaves_with_path(params), jax.tree.leaves(shardings), strict=True
    ):
        stacked = "blocks" in {entry.key for entry in path}
        if np.ndim(leaf) - stacked >= 2 and path[-1].key != "bias":
            assert leaf.size == 8 * np.prod(sharding.shard_shape(leaf.shape)), (
                f"{jax.tree_util.keystr(path)} is not split"
            )


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_optimizer_state_is_sharded_like_its_parameters(name):
    mesh = make_mesh(MeshConfig(2, 2, 2))
    params = jax.eval_shape(lambda: init_params(CONFIG))
    optimizer = make_optimizer(OptimizerConfig(name=name), lambda step: 0.1, weight_decay=0.1)
    expected = {
        tuple(entry.key for entry in path): sharding
        for path, sharding in jax.tree_util.tree_leaves_with_path(parameter_shardings(params, mesh))
    }
    state = jax.tree_util.tree_leaves_with_path(
        parameter_shardings(jax.eval_shape(optimizer.init, params), mesh)
    )
    moments = 0
    for path, sharding in state:
        names = tuple(entry.key for entry in path if isinstance(entry, jax.tree_util.DictKey))
        match = next((names[i:] for i in range(len(names)) if names[i:] in expected), None)
        if match:
            moments += 1
            assert sharding == expected[match], (
                f"{jax.tree_util.keystr(path)} is sharded differently from its parameter"
            )
    assert moments >= len(expected), f"only {moments} moments of {len(expected)} parameters are in the state"


@given(width=st.integers(1, 40), fsdp=st.sampled_from([1, 2, 4, 8]))
def test_axes_that_do_not_divide_are_not_split(width, fsdp):
    mesh = make_mesh(MeshConfig(-1, fsdp))
    sharding = parameter_shardings({"visual": {"proj": np.zeros((width, 5), np.float32)}}, mesh)["visual"][
        "proj"
    ]
    rows = width // fsdp if width % fsdp == 0 else width
    assert sharding.shard_shape((width, 5)) == (rows, 5), f"{width} rows over fsdp={fsdp}"


def test_activations_follow_the_same_rules():
    mesh = make_mesh(MeshConfig(2, 2, 2))
    shard = ActivationSharding(mesh)
    assert shard == ActivationSharding(mesh) and hash(shard) == hash(ActivationSharding(mesh))
    hidden = jax.jit(lambda x: shard(x, ("batch", None, "mlp")))(np.zeros((8, 3, 6)))
    assert hidden.sharding.shard_shape(hidden.shape) == (2, 3, 3)
    few = jax.jit(lambda x: shard(x, ("batch", None)))(np.zeros((3, 2)))
    assert few.sharding.shard_shape(few.shape) == (3, 2), "rows that do not divide are replicated"


def test_a_tensor_axis_that_does_not_divide_the_heads():
    mesh = make_mesh(MeshConfig(1, 1, 8))
    check_tensor(CONFIG, mesh)
    check_tensor(get_config("ViT-H-14"), mesh)
    with pytest.raises(
        UserError,
        match="config.mesh.tensor is 8, which does not divide the 12 heads of the image tower; .*of 4",
    ):
        check_tensor(get_config("ViT-B-16"), mesh)
    with pytest.raises(UserError, match="does not divide the 2 heads of the image tower"):
        check_tensor(get_config("ViT-Test-16"), mesh)
    check_tensor(get_config("ViT-Test-16"), make_mesh(MeshConfig(4, 1, 2)))
