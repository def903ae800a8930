"""Scaling cost model: limits, growth, and hand-computed collectives."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bioclip_jax.bench.scaling import EPOCHS, GPUS, IMAGES, Cluster, Job, model_scaling, scaling_table, step
from bioclip_jax.distributed import MeshConfig
from bioclip_jax.errors import UserError
from bioclip_jax.train import train_config

VIT_L_14 = dict(parameters=428e6, embed_dim=768, tokens=257, width=1024, layers=24)
RECIPE = Job(batch=90_112, replay=10_240, pairs_per_second=850.0, **VIT_L_14)
EXACT = Cluster(efficiency=1.0, hop=0.0)


def config(**values):
    recipe = dict(data={}, model="ViT-L-14", global_batch_size=90_112, learning_rate=1e-4, epochs=30.0)
    return train_config(recipe | {"replay": {"batch_size": 10_240}} | values)


def test_one_gpu_communicates_nothing():
    cost = step(RECIPE, Cluster(), 1)
    assert (cost.features, cost.gradients, cost.parameters, cost.activations) == (0, 0, 0, 0)
    assert cost.seconds(hidden=False) == cost.seconds(hidden=True) == cost.compute + cost.loss


@pytest.mark.parametrize(
    ("group", "seconds"),
    [
        ((1, 1), 0.0),
        ((8, 1), 7 / 8 * 4.5e9 / 450e9),
        ((1, 4), 3 / 4 * 4.5e9 / 50e9),
        # Each GPU's network card receives an eighth of the array, NVLink the rest.
        ((8, 4), 7 / 8 * 4.5e9 / 450e9 + 3 / 4 * 4.5e9 / 8 / 50e9),
    ],
)
def test_gather_over_nvlink_and_network(group, seconds):
    assert EXACT.gather(4.5e9, group) == pytest.approx(seconds)


def test_latency_grows_with_log_size_and_collectives():
    cluster = Cluster(hop=1.0)
    assert cluster.gather(0.0, (8, 4)) == 3 + 2
    assert cluster.gather(0.0, (8, 128), collectives=10) == 10 * (3 + 7)


@pytest.mark.parametrize(
    ("size", "stride", "group"),
    [(32, 1, (8, 4)), (4, 1, (4, 1)), (4, 8, (1, 4)), (16, 2, (4, 4)), (8, 1, (8, 1))],
)
def test_mesh_axis_prefers_one_node(size, stride, group):
    assert Cluster().group(size, stride) == group


def test_gradient_all_reduce_of_vit_l_14():
    # 1.7 GB in float32 over 4 x 8 GPUs take 8 to 9 ms on the network alone, at most of its speed.
    cost = step(RECIPE, dataclasses.replace(EXACT, nvlink=1e15), 32)
    assert cost.gradients == pytest.approx(2 * 3 / 4 * 4 * 428e6 / 8 / 50e9, rel=1e-3)
    assert 0.006 < cost.gradients < 0.009


def test_fsdp_gathers_once_and_bfloat16_halves_communication():
    sharded = dataclasses.replace(RECIPE, mesh=MeshConfig(data=-1, fsdp=8))
    plain, gather = step(sharded, EXACT, 32), 7 / 8 * 4 * 428e6 / 450e9
    assert plain.parameters == pytest.approx(gather)
    assert plain.gradients == pytest.approx(gather + 2 * 3 / 4 * 4 * 428e6 / 8 / 50e9)
    halved = step(dataclasses.replace(sharded, gradient_bytes=2, gathered_bytes=2), EXACT, 32)
    assert halved.gradients == pytest.approx(plain.gradients / 2)
    assert halved.parameters == pytest.approx(plain.parameters / 2)


def test_tensor_parallelism_communicates_activations():
    split = dataclasses.replace(RECIPE, mesh=MeshConfig(data=-1, fsdp=1, tensor=2))
    rows = 100_352 / 32 * 2
    expected = 24 * 4 * 2 * (1 / 2) * rows * 257 * 1024 * 2 / 450e9
    assert step(split, EXACT, 32).activations == pytest.approx(expected)


@given(gpus=st.sampled_from(GPUS), fsdp=st.sampled_from([1, 8]))
def test_overlap_helps_and_no_gpu_is_faster_than_one_alone(gpus, fsdp):
    job = dataclasses.replace(RECIPE, mesh=MeshConfig(data=-1, fsdp=fsdp))
    cost = step(job, Cluster(), gpus)
    assert cost.compute <= cost.seconds(hidden=True) <= cost.seconds(hidden=False)
    sent = cost.gradients + cost.parameters + cost.activations
    assert cost.seconds(hidden=False) == pytest.approx(cost.compute + cost.loss + cost.features + sent)


def test_recipe_takes_three_days_with_free_communication():
    free = dataclasses.replace(EXACT, nvlink=1e18, network=1e18, fp32=1e30)
    at_32 = model_scaling(config(), pairs_per_second=850.0, gpus=[32], cluster=free)["same_batch"][0]
    seconds = IMAGES * EPOCHS / 90_112 * 100_352 / (32 * 850.0)
    assert at_32["days_exposed"] == pytest.approx(seconds / 86_400, rel=1e-6) == pytest.approx(3.04, abs=0.01)
    assert at_32["pairs_per_second_exposed"] == pytest.approx(850.0, rel=1e-6)


def test_constant_rows_and_constant_batch():
    result = model_scaling(config(), pairs_per_second=850.0)
    rows, batch = result["same_rows"], result["same_batch"]
    at_32 = rows[2]
    assert at_32 == batch[2], "both tables must agree at the batch's own number of GPUs"
    assert at_32["pairs_per_gpu"] == 3136
    speeds = [figures["pairs_per_second_exposed"] for figures in rows]
    assert speeds == sorted(speeds, reverse=True), "a growing batch must not make a GPU faster"
    # Twice the batch: twice the features, the same ring buffers, twice a GPU's logits.
    assert rows[4]["loss_gb"] == pytest.approx(2 * rows[3]["loss_gb"])
    assert rows[4]["ring_loss_gb"] == pytest.approx(rows[3]["ring_loss_gb"])
    assert rows[4]["full_loss_gb"] == pytest.approx(2 * rows[3]["full_loss_gb"])
    assert {figures["loss_gb"] for figures in batch} == {at_32["loss_gb"]}
    assert result["modelled"] is True


def test_gradients_are_sent_once_a_step_in_their_own_type():
    def sent(**values):
        result = model_scaling(config(**values), pairs_per_second=850.0, gpus=[32], cluster=EXACT)
        return result["same_batch"][0]

    once = sent(micro_batches=1)["gradients"]
    assert sent(micro_batches=16)["gradients"] == once
    assert sent(micro_batches=16, precision="bf16_params")["gradients"] == pytest.approx(once / 2)
    sharded = {"mesh": {"data": -1, "fsdp": 8}}
    whole, half = sent(**sharded), sent(precision="bf16", **sharded)
    assert half["parameters"] == pytest.approx(whole["parameters"] / 2), "parameters are gathered in bfloat16"
    assert half["gradients"] == whole["gradients"]


def test_table_has_a_line_for_each_number_of_gpus():
    text = scaling_table(model_scaling(config(), pairs_per_second=850.0, gpus=[8, 1024]))
    lines = [line for line in text.splitlines() if line.startswith(("| 8 ", "| 1024 "))]
    assert len(lines) == 4, f"expected two tables of two lines:\n{text}"
    assert len({line.count("|") for line in text.splitlines() if "|" in line}) == 1, "columns are not aligned"


def test_impossible_meshes_and_speeds_are_rejected():
    with pytest.raises(UserError, match="fsdp=8, tensor=1, which does not divide 12 GPUs; change --gpus"):
        model_scaling(config(mesh={"data": -1, "fsdp": 8}), pairs_per_second=850.0, gpus=[12])
    with pytest.raises(UserError, match="--pairs-per-second is 0"):
        model_scaling(config(), pairs_per_second=0.0)
