"""Compilation for absent GPUs: the parser, costs computed by hand, refusals, and a small model end to end."""

import argparse
import dataclasses
import importlib.util
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bioclip_jax import configs
from bioclip_jax.bench import compile_table, measure_compiled
from bioclip_jax.bench.compile.hlo import Array, Program
from bioclip_jax.bench.compile.roofline import kernels
from bioclip_jax.bench.compile.target import TARGETS, Rates
from bioclip_jax.bench.compile.traffic import collectives, feature_sizes, gradient_reductions, stack_copies
from bioclip_jax.cli.bench import add_verbs, config_for_devices
from bioclip_jax.errors import UserError
from bioclip_jax.train import train_config

PLUGIN = any(importlib.util.find_spec(f"jax_cuda{version}_plugin") for version in (12, 13))
needs_plugin = pytest.mark.skipif(not PLUGIN, reason="JAX's CUDA plugin is not installed")

# As XLA prints a program for an H100, with shorter attributes and other shapes: a loop of 4 products fills
# a stack, which is zeroed before and copied after it; then sums of gradients, of features, and a maximum.
PROGRAM = Path(__file__).with_name("loop.hlo").read_text()
SLICE = 16 * 1024 * 1024 * 4
STACK = 4 * SLICE


def program(*instructions: str) -> Program:
    lines = "\n".join(f"  {line}" for line in instructions)
    return Program.parse(f"HloModule m\n\nENTRY %main () -> f32[] {{\n{lines}\n}}\n")


def only_kernel(*instructions: str):
    (kernel,) = kernels(program(*instructions))
    return kernel


def test_loops_run_their_bodies_as_often_as_they_iterate():
    times = {run.instruction.name: run.times for run in Program.parse(PROGRAM).runs()}
    assert times == {
        "loop_broadcast_fusion": 1,
        "cublas-lt-matmul.1": 4,
        "loop_dynamic_update_slice_fusion": 4,
        "all-reduce-start.1": 1,
        "reduce-scatter-start": 1,
        "all-reduce.2": 1,
        "copy.1": 1,
    }


def test_costs_computed_by_hand():
    costs = {x.run.instruction.name: (x.kind, x.flops, x.bytes) for x in kernels(Program.parse(PROGRAM))}
    assert costs["cublas-lt-matmul.1"] == (
        "gemm bf16",
        2 * 64 * 32 * 48,
        2 * (64 * 32 + 32 * 48 + 48 + 64 * 48),  # without the workspace
    )
    # In place: a slice is read and written, and its index read.
    assert costs["loop_dynamic_update_slice_fusion"] == ("copy into a stack", 0, 2 * SLICE + 4)
    assert costs["loop_broadcast_fusion"] == ("copy, convert or fill", 0, STACK)
    assert costs["copy.1"] == ("copy", 0, 2 * STACK)
    assert costs["all-reduce-start.1"] == ("collective", 0, 4000)


def test_an_fp8_product_takes_scales_and_counts_as_8_bits():
    kernel = only_kernel(
        "%a = f8e4m3fn[64,32]{1,0} parameter(0)",
        "%b = f8e5m2[48,32]{1,0} parameter(1)",
        "%s = f32[] parameter(2)",
        "%t = f32[] parameter(3)",
        "ROOT %c = (bf16[64,48]{1,0}, s8[33554432]{0}) custom-call(%a, %b, %s, %t), "
        'custom_call_target="__cublas$lt$matmul$f8", backend_config={"gemm_backend_config":'
        '{"dot_dimension_numbers":{"lhs_contracting_dimensions":["1"],"rhs_contracting_dimensions":["1"],'
        '"lhs_batch_dimensions":[],"rhs_batch_dimensions":[]}}}',
    )
    assert (kernel.kind, kernel.flops) == ("gemm f8", 2 * 64 * 32 * 48)
    assert kernel.bytes == 64 * 32 + 48 * 32 + 4 + 4 + 2 * 64 * 48
    slow = Rates(1e30, bf16=1.0, fp8=2.0, fp32=1.0, attention=1.0, attention_backward=1.0, kernel=0.0)
    assert kernel.seconds(slow) == kernel.flops / 2


def test_a_batched_product_does_not_multiply_its_batch_twice():
    kernel = only_kernel(
        "%a = f32[7,64,32]{2,1,0} parameter(0)",
        "%b = f32[7,32,48]{2,1,0} parameter(1)",
        "ROOT %c = (f32[7,64,48]{2,1,0}, s8[4]{0}) custom-call(%a, %b), "
        'custom_call_target="__cublas$lt$matmul", backend_config={"lhs_contracting_dimensions":["2"],'
        '"rhs_contracting_dimensions":["1"],"lhs_batch_dimensions":["0"],"rhs_batch_dimensions":["0"]}',
    )
    assert (kernel.kind, kernel.flops) == ("gemm f32", 7 * 2 * 64 * 32 * 48)


@pytest.mark.parametrize(
    ("target", "kind", "products"),
    [("__cudnn$fmhaSoftmax", "attention", 2), ("__cudnn$fmhaSoftmaxBackward", "attention backward", 5)],
)
def test_cudnn_attention_is_two_products_forward_and_five_backward(target, kind, products):
    kernel = only_kernel(
        "%q = bf16[2,258,16,64]{3,2,1,0} parameter(0)",
        f"ROOT %o = (bf16[2,16,258,64]{{3,1,2,0}}, u8[0]{{0}}) custom-call(%q, %q, %q), "
        f'custom_call_target="{target}"',
    )
    assert kernel.kind == kind
    assert kernel.flops == products * 2 * 2 * 16 * 258**2 * 64


def test_a_kernel_takes_the_longer_of_arithmetic_traffic_and_its_launch():
    (kernel,) = kernels(program("%a = f32[1000]{0} parameter(0)", "ROOT %c = f32[1000]{0} copy(%a)"))
    rates = dataclasses.replace(TARGETS["h100"].rates["ideal"], bandwidth=8000.0)
    assert kernel.seconds(rates) == 1.0
    assert kernel.seconds(dataclasses.replace(rates, kernel=3.0)) == 3.0
    busy = dataclasses.replace(kernel, kind="gemm bf16", flops=1400e12)
    assert busy.seconds(rates) == 2.0


def test_gradients_are_the_sums_of_neither_features_nor_scalars():
    parsed = Program.parse(PROGRAM)
    calls = list(kernels(parsed))
    # 640 rows of 8 features; the statistics of their logits are 640 numbers.
    found = gradient_reductions(parsed, calls, feature_sizes([640, 20], embed_dim=8))
    assert (found.calls, found.bytes) == (1, 4000)
    kinds = {name: (x.calls, x.bytes) for name, x in collectives(calls).items()}
    assert kinds == {"all-reduce f32": (2, 8000), "reduce-scatter f32": (1, 4 * 640 * 9)}


def test_filling_and_copying_a_stack_counts_and_updating_a_slice_does_not():
    parsed = Program.parse(PROGRAM)
    found = stack_copies(parsed, list(kernels(parsed)))
    assert {name: (x.calls, x.bytes) for name, x in found.items()} == {
        "copies": (1, 2 * STACK),
        "fills": (1, STACK),
        "slices": (4, 4 * (2 * SLICE + 4)),
    }


def test_a_slice_that_is_an_inner_stack_counts_as_a_whole_one():
    # The slice f32[16,1024,1024] of the outer stack is what an inner loop fills by f32[1024,1024].
    inner = PROGRAM.split("\n\n", 1)[1]
    for old, new in (("[4,16,1024,1024]", "[16,1024,1024]"), ("[16,1024,1024]{2,1,0}", "[1024,1024]{1,0}")):
        inner = inner.replace(old, new)
    inner = inner[: inner.index("ENTRY")].replace("%body", "%inner_body").replace("[1,16,", "[1,")
    loop = (
        "  %while.2 = (s32[], bf16[64,32]{1,0}, f32[16,1024,1024]{2,1,0}, f32[1024,1024]{1,0}) "
        "while(%tuple.2), condition=%condition, body=%inner_body\n  ROOT %copy.1"
    )
    inner = inner.replace("%fused_", "%inner_fused_")
    text = PROGRAM.replace("\n\n", f"\n\n{inner}", 1).replace("  ROOT %copy.1", loop)
    parsed = Program.parse(text)
    copies = stack_copies(parsed, list(kernels(parsed)))["copies"]
    assert copies.bytes == 2 * STACK + 4 * (2 * SLICE + 4), "the outer loop copies inner stacks into its own"


SHAPES = st.builds(
    Array, st.sampled_from(["bf16", "f32", "f8e4m3fn"]), st.lists(st.integers(0, 9), max_size=4).map(tuple)
)


@given(arrays=st.lists(SHAPES, min_size=1, max_size=7), operands=st.integers(0, 8), root=st.booleans())
def test_instructions_survive_a_round_trip(arrays, operands, root):
    shapes = [f"{x.dtype}[{','.join(map(str, x.dims))}]" for x in arrays]
    layouts = [shape + "{" + ",".join(map(str, range(len(x.dims)))) + "}" for shape, x in zip(shapes, arrays)]
    shape = layouts[0] if len(layouts) == 1 else "(" + ", /*index=1*/".join(layouts) + ")"
    # Newer versions also print the types of operands, which may be tuples.
    given_operands = ", ".join(f"(f32[2]{{0}}, s32[]) %op-{i}.1" for i in range(operands))
    line = (
        f'{"ROOT " if root else ""}%out.1 = {shape} custom-call({given_operands}), custom_call_target="f(x)"'
    )
    (instruction,) = program(line).computations["main"].values()
    assert instruction.arrays == tuple(arrays)
    assert instruction.bytes == sum(x.bytes for x in arrays)
    assert instruction.operands == tuple(f"op-{i}.1" for i in range(operands))
    assert (instruction.root, instruction.target) == (root, "f(x)")


def test_a_text_without_an_entry_is_not_a_program():
    with pytest.raises(ValueError, match="no ENTRY computation"):
        Program.parse("HloModule m\n")


def config(**values):
    tiny = dict(data={}, model="ViT-Test-16", global_batch_size=64, learning_rate=1e-3, total_steps=10)
    return train_config(tiny | {"precision": "bf16", "replay": {"batch_size": 32}} | values)


@pytest.mark.skipif(PLUGIN, reason="JAX's CUDA plugin is installed")
def test_a_missing_plugin_is_one_line_that_says_what_to_install():
    with pytest.raises(UserError, match=r"CUDA plugin.*pip install 'bioclip-jax\[cuda13\]'"):
        measure_compiled(config())


def test_impossible_requests_are_rejected(tmp_path):
    with pytest.raises(UserError, match="--target is v100; it is one of h100, h200, a100-40gb"):
        measure_compiled(config(), target="v100")
    with pytest.raises(UserError, match="--gemm is triton; it is one of rewrite, cublas"):
        measure_compiled(config(), gemm="triton")
    with pytest.raises(UserError, match="--devices is 12, which does not fill machines of 8 GPUs"):
        measure_compiled(config(), devices=12)
    # Before minutes of compilation.
    with pytest.raises(UserError, match="hlo .*absent"):
        measure_compiled(config(), hlo=tmp_path / "absent" / "program.txt")


def test_rates_of_other_gpus_follow_their_data_sheets():
    h100, h200, a100 = (TARGETS[name].rates for name in ("h100", "h200", "a100-40gb"))
    for name in ("ideal", "derated"):
        assert h200[name].bandwidth / h100[name].bandwidth == pytest.approx(4.8 / 3.35)
        assert h200[name].bf16 == h100[name].bf16
        assert a100[name].bf16 / h100[name].bf16 == pytest.approx(312 / 989)
    assert (h100["ideal"].bandwidth, h100["ideal"].bf16, h100["ideal"].kernel) == (3.35e12, 700e12, 0)
    assert (h100["derated"].bandwidth, h100["derated"].bf16) == (0.85 * 3.35e12, 650e12)


@pytest.mark.parametrize(
    ("options", "overrides", "batches"),
    [
        ([], [], (2816, 320)),
        (["--devices", "32"], [], (90_112, 10_240)),
        (["--devices", "8", "--pairs-per-device", "100"], [], (800, 8 * 320)),
        (["--devices", "8"], ["--config.global_batch_size=4096"], (4096, 8 * 320)),
        (["--replay-pairs-per-device", "0"], [], (2816, 0)),
    ],
)
def test_the_batch_is_the_recipes_for_each_device_unless_given(options, overrides, batches):
    parser = argparse.ArgumentParser()
    add_verbs(parser.add_subparsers())
    recipe = ["bench", "compile", "--config", str(Path(configs.__file__).with_name("bioclip2_vit_l14.py"))]
    arguments = parser.parse_args([*recipe, *options])
    arguments.rest = list(overrides)
    config = config_for_devices(arguments)
    assert (config.global_batch_size, config.replay.batch_size) == batches


def test_the_batch_of_a_config_without_replay(tmp_path):
    file = tmp_path / "small.py"
    file.write_text(
        "from ml_collections import ConfigDict\n"
        "def get_config():\n"
        "    return ConfigDict(dict(data={}, model='ViT-Test-16', global_batch_size=64, learning_rate=1e-3,"
        " total_steps=5))\n"
    )
    parser = argparse.ArgumentParser()
    add_verbs(parser.add_subparsers())
    arguments = parser.parse_args(["bench", "compile", "--config", str(file), "--devices", "4"])
    arguments.rest = []
    config = config_for_devices(arguments)
    assert (config.global_batch_size, config.replay.batch_size) == (8, 0)


@needs_plugin
@pytest.mark.parametrize("devices", [1, 8])
def test_a_small_model_compiles_for_absent_gpus(devices):
    result = measure_compiled(config(micro_batches=2), devices=devices, text_length=8)
    json.dumps(result)
    assert result["estimate"] is True
    assert (result["devices"], result["config"]["pairs_per_device"]) == (devices, 64 / devices)
    assert 0 < result["derated_pairs_per_second"] < result["ideal_pairs_per_second"]
    assert result["fits"] and result["memory_gb"] < 1
    assert result["loops_of_unknown_length"] == 0
    assert (result["gradient_bytes"] > 0) == (devices > 1), "one GPU has nothing to reduce"
    kinds = {row["kind"] for row in result["kinds"]}
    assert {"gemm bf16", "attention", "attention backward"} <= kinds, f"cuDNN and cuBLAS are not in {kinds}"
    assert "| ideal" in compile_table(result)
