"""What a device must hold: exact where arrays are known, and in the right proportions where they are not."""

import dataclasses

import jax
import pytest

from bioclip_jax.bench import memory, memory_model
from bioclip_jax.errors import UserError
from bioclip_jax.models import get_config
from bioclip_jax.train import Experiment, train_config


def config(**values):
    tiny = dict(data={}, model="ViT-Test-16", global_batch_size=32, learning_rate=1e-3, total_steps=10)
    return train_config(tiny | {"mesh": {"data": 2, "fsdp": 2, "tensor": 2}} | values)


def bytes_on(device: jax.Device, tree) -> int:
    shards = [shard for array in jax.tree.leaves(tree) for shard in array.addressable_shards]
    return sum(shard.data.nbytes for shard in shards if shard.device == device)


def test_parameters_and_optimizer_are_those_of_a_real_state():
    experiment = Experiment(config(replay={"batch_size": 16}))
    counted, state = memory_model.device_memory(experiment, flash=False), experiment.init()
    for device in jax.devices():
        assert counted.parameters == bytes_on(device, state.params), f"parameters on {device}"
        assert counted.optimizer == bytes_on(device, state.opt_state), f"optimizer state on {device}"
    whole = sum(array.nbytes for array in jax.tree.leaves(state.params))
    assert counted.parameters < 0.6 * whole, "fsdp=2 must leave a device with little more than half"


def kept(remat: str, **values) -> memory_model.Kept:
    tiny = config(remat=remat, **values)
    return memory_model.Kept.of(tiny, get_config(tiny.model), flash=True)


def test_each_policy_keeps_the_arrays_that_it_names():
    model = get_config("ViT-Test-16").vision
    entry = model.layers * model.tokens * model.width * 4
    full, pixels = kept("full").image, 3 * model.image_size**2 * 4
    # The input of each block and the patches; what stands around the blocks is the same under all policies.
    assert entry + pixels <= full < 1.5 * (entry + pixels)
    # qkv and mixed; qkv, out_proj and c_fc; all four.
    for remat, arrays in (("attention", 3 + 1), ("dots", 3 + 1 + 4), ("dots_attention", 3 + 1 + 1 + 4)):
        assert kept(remat).image - full == arrays * entry, (
            f"remat {remat} should keep {arrays} arrays a block more"
        )
    assert kept("none").image > kept("dots_attention").image


def test_bfloat16_halves_what_the_blocks_keep():
    policies = ("full", "dots_attention")
    fp32, bf16 = (
        [kept(remat, precision=precision).image for remat in policies] for precision in ("fp32", "bf16")
    )
    assert bf16[1] - bf16[0] == (fp32[1] - fp32[0]) // 2


def test_cudnn_keeps_no_array_of_all_pairs_of_tokens():
    tiny, model = config(), get_config("ViT-Test-16")
    with_scores = memory_model.Kept.of(tiny, model, flash=False)
    without = memory_model.Kept.of(tiny, model, flash=True)
    scores = model.vision.layers * model.vision.heads * model.vision.tokens**2 * 4
    assert with_scores.image - without.image >= scores
    assert without.text(model.text.context_length) < with_scores.text(model.text.context_length)


def test_micro_batches_divide_what_is_kept_and_no_more():
    whole = memory_model.device_memory(Experiment(config(mesh={})), flash=True)
    parts = memory_model.device_memory(Experiment(config(mesh={}, micro_batches=4)), flash=True)
    assert parts.saved == whole.saved // 4
    assert parts.gradients == 2 * whole.gradients
    for name in ("parameters", "optimizer", "features", "loss", "batch"):
        assert getattr(parts, name) == getattr(whole, name), f"{name} must not depend on micro-batches"
    assert parts.total == sum(dataclasses.asdict(parts).values())


def test_the_dry_run_compiles_and_its_arguments_are_the_state_and_the_batch():
    tiny = config(mesh={"data": 8})
    result = memory.run(tiny, devices=8)
    counted, rows = result["analytic"], 32 // 8
    batch = rows * (32 * 32 * 3 + 77 * 4)
    # A few counters beside them, and the padding of each array.
    arguments = counted["parameters"] + counted["optimizer"] + batch
    assert result["compiled"]["arguments"] == pytest.approx(arguments, rel=0.01)
    assert result["compiled"]["temporary"] > 0 and result["fits"]
    assert (result["pairs_per_device"], result["pairs_in_a_micro_batch"]) == (4, 4)
    text = memory.table(result)
    assert "fits into 80 GB" in text and "upper bound" in text


def test_it_says_what_cannot_be():
    with pytest.raises(UserError, match="--devices is 0"):
        memory.run(config(), devices=0)
    with pytest.raises(UserError, match="JAX runs with 8 devices here, not 16; start a new process"):
        memory.run(config(), devices=16)
