"""Memory of a device: exact for known arrays, in the right proportions for residuals."""

import dataclasses

import jax
import pytest

from bioclip_jax.bench import measure_memory, memory_table
from bioclip_jax.bench.memory import Residuals, device_memory
from bioclip_jax.errors import UserError
from bioclip_jax.models import get_config
from bioclip_jax.train import Experiment, train_config


def config(**values):
    tiny = dict(data={}, model="ViT-Test-16", global_batch_size=32, learning_rate=1e-3, total_steps=10)
    return train_config(tiny | {"mesh": {"data": 2, "fsdp": 2, "tensor": 2}} | values)


def bytes_on(device: jax.Device, tree) -> int:
    shards = [shard for array in jax.tree.leaves(tree) for shard in array.addressable_shards]
    return sum(shard.data.nbytes for shard in shards if shard.device == device)


def test_parameters_and_optimizer_match_a_real_state():
    experiment = Experiment(config(replay={"batch_size": 16}))
    counted, state = device_memory(experiment, flash=False), experiment.init()
    for device in jax.devices():
        assert counted.parameters == bytes_on(device, state.params), f"parameters on {device}"
        assert counted.optimizer == bytes_on(device, state.opt_state), f"optimizer state on {device}"
    whole = sum(array.nbytes for array in jax.tree.leaves(state.params))
    assert counted.parameters < 0.6 * whole, "with fsdp=2 a device must hold little more than half"


def residuals(remat: str, **values) -> Residuals:
    tiny = config(remat=remat, **values)
    return Residuals.of(tiny, get_config(tiny.model), flash=True)


def test_residuals_of_each_remat_policy():
    model = get_config("ViT-Test-16").vision
    entry = model.layers * model.tokens * model.width * 4
    full, pixels = residuals("full").image, 3 * model.image_size**2 * 4
    # The input of each block and the patches; arrays outside of the blocks are the same under all policies.
    assert entry + pixels <= full < 1.5 * (entry + pixels)
    # qkv and mixed; qkv, out_proj and c_fc; all four.
    for remat, arrays in (("attention", 3 + 1), ("dots", 3 + 1 + 4), ("dots_attention", 3 + 1 + 1 + 4)):
        assert residuals(remat).image - full == arrays * entry, (
            f"remat {remat} should keep {arrays} more arrays per block"
        )
    assert residuals("none").image > residuals("dots_attention").image


def test_bfloat16_halves_the_residuals_of_blocks():
    policies = ("full", "dots_attention")
    fp32, bf16 = (
        [residuals(remat, precision=precision).image for remat in policies] for precision in ("fp32", "bf16")
    )
    assert bf16[1] - bf16[0] == (fp32[1] - fp32[0]) // 2


def test_cudnn_attention_stores_no_scores():
    tiny, model = config(), get_config("ViT-Test-16")
    with_scores = Residuals.of(tiny, model, flash=False)
    without = Residuals.of(tiny, model, flash=True)
    scores = model.vision.layers * model.vision.heads * model.vision.tokens**2 * 4
    # With them XLA need not keep attention's output a second time.
    output = model.vision.layers * model.vision.tokens * model.vision.width * 4
    assert with_scores.image - (without.image - output) >= scores
    assert without.text(model.text.context_length) < with_scores.text(model.text.context_length)


def test_micro_batches_divide_the_residuals_only():
    whole = device_memory(Experiment(config(mesh={})), flash=True)
    parts = device_memory(Experiment(config(mesh={}, micro_batches=4)), flash=True)
    assert parts.saved == whole.saved // 4
    assert parts.gradients == 2 * whole.gradients
    for name in ("parameters", "optimizer", "features", "loss", "batch", "prefetched"):
        assert getattr(parts, name) == getattr(whole, name), f"{name} must not depend on micro-batches"


def test_cached_residuals_are_those_of_all_rows_and_a_copy_of_one_micro_batch():
    kept, again = (
        device_memory(Experiment(config(mesh={}, micro_batches=4, gradient_cache=cache)), flash=True)
        for cache in ("residuals", "features")
    )
    of_one, rows = residuals("none"), 32 // 8
    assert again.saved == of_one.image
    assert kept.saved == rows * (of_one.image + of_one.text(77)) + of_one.image
    assert kept.working == again.working


def test_the_loss_and_the_backward_pass_are_not_live_at_once():
    counted = device_memory(Experiment(config(mesh={})), flash=True)
    backward = counted.gradients + counted.copies + counted.working
    total = sum(dataclasses.asdict(counted).values())
    assert counted.total == total - min(counted.loss, backward)
    assert counted.compiled == counted.total - counted.prefetched


def test_compiled_arguments_are_the_state_and_the_batch():
    tiny = config(mesh={"data": 8})
    result = measure_memory(tiny, devices=8)
    counted, rows = result["analytic"], 32 // 8
    batch = rows * (32 * 32 * 3 + 77 * 4)
    # The rest is a few counters, and the padding of each array.
    arguments = counted["parameters"] + counted["optimizer"] + batch
    assert result["compiled"]["arguments"] == pytest.approx(arguments, rel=0.01)
    assert result["compiled"]["temporary"] > 0 and result["fits"]
    assert (result["pairs_per_device"], result["pairs_in_a_micro_batch"]) == (4, 4)
    text = memory_table(result)
    assert "fits into 80 GB" in text and "upper bound" in text


def test_impossible_numbers_of_devices_are_rejected():
    with pytest.raises(UserError, match="--devices is 0"):
        measure_memory(config(), devices=0)
    with pytest.raises(UserError, match="JAX already runs with 8 devices, not 16; start a new process"):
        measure_memory(config(), devices=16)


# memory_gb of `bioclip-jax bench compile --config configs/bioclip2_vit_l14.py --json` with these options, for
# 32 H100s: jax 0.10.2, 30 November 2026. 2,816 + 320 pairs a device, texts of 48 tokens, bf16.
# unroll is 1 unless noted.
# Those marked "odd" were compiled for one H100, before the image tower carried an even number of tokens.
COMPILED_FOR_H100 = [
    ("none", 16, "features", 53.92),
    ("dots", 8, "features", 57.54),  # odd
    ("attention", 8, "features", 38.74),  # odd
    ("full", 4, "features", 30.70),  # odd
    ("full", 1, "features", 95.55),  # odd
    ("full", 8, "residuals", 63.83),  # unroll=24, the recipe
]


@pytest.mark.parametrize(("remat", "parts", "cache", "gigabytes"), COMPILED_FOR_H100)
def test_the_count_agrees_with_programs_compiled_for_an_h100(remat, parts, cache, gigabytes):
    recipe = dict(data={}, model="ViT-L-14", global_batch_size=2816, learning_rate=1e-4, total_steps=1)
    memory = dict(remat=remat, micro_batches=parts, gradient_cache=cache, precision="bf16")
    experiment = Experiment(
        train_config(recipe | memory | {"replay": {"batch_size": 320}}), jax.devices()[:1]
    )
    counted = device_memory(experiment, flash=True, text_length=48).compiled
    assert counted / 1e9 == pytest.approx(gigabytes, rel=0.05), f"{counted / 1e9:.2f} GB are counted"
