"""How throughput falls as GPUs are added: a model of what a step computes and of what it sends.

Nothing here is measured but the compute speed that is put in. A step takes

    compute + loss + features + what is not hidden of (gradients + parameters + activations)

- compute: the pairs of a GPU, at the speed that one GPU has alone, however few they are.
- loss: the products of a GPU's features with everyone's, which grow with the global batch.
- features: everyone's text features to every GPU, and their gradients back; nothing can be done meanwhile.
- gradients, parameters (where fsdp splits them), activations (where tensor does): sent while the towers
compute.

A gather over n GPUs of a node and m nodes goes through one network after the other: of an array, (n-1)/n come
through NVLink and (m-1)/m of an n-th through the GPU's own network card, and log2 of the numbers are the hops
to wait for. A scatter costs the same, an all-reduce twice that.
Source: Thakur et al. 2005, "Optimization of collective communication operations in MPICH".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import jax

from bioclip_jax.distributed import MeshConfig
from bioclip_jax.errors import UserError
from bioclip_jax.models import get_config, init_params
from bioclip_jax.train import TrainConfig

from .tables import markdown

GPUS = (8, 16, 32, 64, 128, 256, 512, 1024)
# TreeOfLife-200M and the epochs of BioCLIP 2, https://arxiv.org/abs/2505.23883.
IMAGES, EPOCHS = 213.9e6, 30
_SECONDS_A_DAY = 86_400


@dataclass(frozen=True)
class Cluster:
    """Nodes of H100 SXM GPUs. Speeds are in bytes a second and GPU, one way.

    nvlink: half of the data sheet's 900 GB/s both ways. network: one port of 400 Gb/s a GPU, as in a DGX
    H100.
    efficiency: the share of a link's speed that a large collective reaches, assumed. hop: seconds until a
    message is at the next GPU or node, assumed. fp32: FLOP/s that the loss's float32 products reach, assumed;
    the data sheet has 67e12. Sources: NVIDIA H100 Tensor Core GPU and NVIDIA DGX H100 data sheets.
    """

    gpus_per_node: int = 8
    nvlink: float = 450e9
    network: float = 50e9
    efficiency: float = 0.8
    hop: float = 10e-6
    fp32: float = 40e12

    def gather(self, array: float, group: tuple[int, int], collectives: int = 1) -> float:
        """Seconds until every GPU of a group (GPUs in a node, nodes) holds all of an array of that many bytes.

        collectives: in how many pieces the array is sent.
        """
        inside, nodes = group
        through_nvlink = array * (inside - 1) / inside / self.nvlink
        through_network = array / inside * (nodes - 1) / nodes / self.network
        hops = math.ceil(math.log2(inside)) + math.ceil(math.log2(nodes))
        return (through_nvlink + through_network) / self.efficiency + collectives * hops * self.hop

    def group(self, size: int, stride: int = 1) -> tuple[int, int]:
        """(GPUs in a node, nodes) of a mesh axis of `size`, whose neighbors are `stride` GPUs apart."""
        inside = min(size, max(1, self.gpus_per_node // stride))
        return inside, -(-size // inside)


@dataclass(frozen=True)
class Job:
    """What is trained: `batch` and `replay` pairs a step, over all GPUs.

    pairs_per_second: of one GPU alone. tokens, width, layers: of the image tower. sent_bytes: of each
    parameter and gradient when it is sent, 4, or 2 with bfloat16 parameters.
    """

    batch: int
    replay: int
    pairs_per_second: float
    parameters: float
    embed_dim: int
    tokens: int
    width: int
    layers: int
    micro_batches: int = 1
    sent_bytes: int = 4
    mesh: MeshConfig = field(default_factory=MeshConfig)


@dataclass(frozen=True)
class Step:
    """One step: seconds by what they go into, and the gigabytes that the loss needs on each GPU.

    loss_gb: of everyone's text features and their gradients. ring_loss_gb: if instead each GPU passed a part
    on to the next. full_loss_gb: if a GPU kept its rows of the logits and their gradient.
    """

    compute: float
    loss: float
    features: float
    gradients: float
    parameters: float
    activations: float
    loss_gb: float
    ring_loss_gb: float
    full_loss_gb: float

    def seconds(self, hidden: bool) -> float:
        """Of the whole step, where what can be sent during the compute is, or none of it."""
        sent = self.gradients + self.parameters + self.activations
        return self.loss + self.features + (max(self.compute, sent) if hidden else self.compute + sent)


def step(job: Job, cluster: Cluster, gpus: int) -> Step:
    """The cost of one step on so many GPUs. UserError where the mesh does not fit them."""
    fsdp, tensor = job.mesh.fsdp, job.mesh.tensor
    if gpus % (fsdp * tensor):
        raise UserError(
            f"config.mesh has fsdp={fsdp}, tensor={tensor}, which does not divide {gpus} GPUs; change --gpus"
        )
    weights = job.parameters / tensor * job.sent_bytes
    # Layer by layer; with fsdp each pass gathers the parameters. XLA sums the gradients of each micro-batch.
    gather = cluster.gather(weights, cluster.group(fsdp, tensor), job.layers)
    passes = 2 if job.micro_batches == 1 else 3 * job.micro_batches
    over_data = cluster.group(gpus // (fsdp * tensor), fsdp * tensor)
    all_reduce = 2 * cluster.gather(weights / fsdp, over_data, job.layers)
    # With tensor, a block sums its two branches forward and their gradients backward, in bfloat16.
    rows = (job.batch + job.replay) / gpus * tensor
    activations = (
        4 * job.layers * 2 * cluster.gather(rows * job.tokens * job.width * 2, cluster.group(tensor))
    )

    logits = (job.batch**2 + job.replay**2) / gpus
    texts = 4 * job.embed_dim * (job.batch + job.replay)
    return Step(
        compute=(job.batch + job.replay) / gpus / job.pairs_per_second,
        # train/losses.py: one product forward, that again in the backward pass, and one for each side's
        # gradient.
        loss=4 * 2 * job.embed_dim * logits / cluster.fp32,
        features=2 * cluster.gather(texts, cluster.group(gpus)),
        gradients=job.micro_batches * (all_reduce + gather),
        parameters=passes * gather,
        activations=activations,
        loss_gb=2 * texts / 1e9,
        # Features and gradients, each in a buffer that is used and one that is filled.
        ring_loss_gb=4 * texts / gpus / 1e9,
        full_loss_gb=2 * 4 * logits / 1e9,
    )


def model_scaling(
    config: TrainConfig,
    *,
    pairs_per_second: float,
    gpus: Sequence[int] = GPUS,
    at: int = 32,
    cluster: Cluster = Cluster(),
) -> dict[str, Any]:
    """The table of per-GPU throughput and days for BioCLIP 2's 30 epochs over TreeOfLife-200M.

    pairs_per_second: what one GPU does alone, measured by `bench train` or assumed. at: the number of GPUs
    that the config's batch is for. "same_rows" keeps the rows of a GPU, so that the batch grows with their
    number; "same_batch" keeps the global batch, as the published recipe needs, and the size of a micro-batch,
    so that fewer GPUs take more of them. "exposed" figures hide nothing that is sent behind the compute,
    "hidden" ones all that fits.
    """
    if pairs_per_second <= 0:
        raise UserError(
            f"--pairs-per-second is {pairs_per_second}; give the measured or assumed speed of one GPU"
        )
    model = get_config(config.model)
    job = Job(
        batch=config.global_batch_size,
        replay=config.replay.batch_size,
        pairs_per_second=pairs_per_second,
        parameters=sum(x.size for x in jax.tree.leaves(jax.eval_shape(lambda: init_params(model)))),
        embed_dim=model.embed_dim,
        tokens=model.vision.tokens,
        width=model.vision.width,
        layers=model.vision.layers,
        micro_batches=config.micro_batches,
        sent_bytes=2 if config.precision in ("bf16_params", "pure_bf16") else 4,
        mesh=config.mesh,
    )
    growing = [replace(job, batch=job.batch * n // at, replay=job.replay * n // at) for n in gpus]
    divided = [replace(job, micro_batches=max(1, math.ceil(job.micro_batches * at / n))) for n in gpus]
    return {
        "modelled": True,
        "model": config.model,
        "pairs_per_second_alone": pairs_per_second,
        "cluster": asdict(cluster),
        "same_rows": [_figures(grown, cluster, n) for grown, n in zip(growing, gpus, strict=True)],
        "same_batch": [_figures(parts, cluster, n) for parts, n in zip(divided, gpus, strict=True)],
    }


def _figures(job: Job, cluster: Cluster, gpus: int) -> dict[str, Any]:
    cost = step(job, cluster, gpus)
    figures: dict[str, Any] = {"gpus": gpus, "pairs_per_gpu": (job.batch + job.replay) / gpus}
    for name, hidden in (("exposed", False), ("hidden", True)):
        seconds = cost.seconds(hidden)
        figures[f"pairs_per_second_{name}"] = (job.batch + job.replay) / gpus / seconds
        figures[f"days_{name}"] = EPOCHS * IMAGES / job.batch * seconds / _SECONDS_A_DAY
    return figures | asdict(cost)


def scaling_table(result: dict[str, Any]) -> str:
    """The result of `run` as two Markdown tables."""
    titles = {
        "same_rows": "The rows of a GPU stay the same:",
        "same_batch": "The global batch stays the same:",
    }
    tables = {key: markdown(_HEADER, [_row(figures) for figures in result[key]]) for key in titles}
    return "\n\n".join(f"{title}\n\n{tables[key]}" for key, title in titles.items())


_HEADER = (
    "GPUs",
    "pairs/GPU",
    "pairs/s/GPU",
    "efficiency",
    "days",
    "compute s",
    "loss s",
    "features s",
    "sent s",
    "loss GB",
    "ring GB",
    "full GB",
)


def _row(figures: dict[str, Any]) -> list[str]:
    def span(name: str, form: str) -> str:
        exposed, hidden = (format(figures[f"{name}_{kind}"], form) for kind in ("exposed", "hidden"))
        return exposed if exposed == hidden else f"{exposed}–{hidden}"

    alone = figures["pairs_per_gpu"] / figures["compute"]
    for kind in ("exposed", "hidden"):
        figures = figures | {f"efficiency_{kind}": figures[f"pairs_per_second_{kind}"] / alone}
    sent = figures["gradients"] + figures["parameters"] + figures["activations"]
    return [
        str(figures["gpus"]),
        f"{figures['pairs_per_gpu']:,.0f}",
        span("pairs_per_second", ".0f"),
        span("efficiency", ".1%"),
        span("days", ".2f"),
        *(f"{seconds:.3f}" for seconds in (figures["compute"], figures["loss"], figures["features"], sent)),
        *(f"{figures[name]:.2f}" for name in ("loss_gb", "ring_loss_gb", "full_loss_gb")),
    ]
