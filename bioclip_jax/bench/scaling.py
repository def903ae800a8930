"""Cost model of data-parallel training: step time and throughput per GPU as GPUs are added.

Only the compute speed of one GPU is measured; it is an argument. A step takes

    compute + loss + features + what is not hidden of (gradients + parameters + activations)

- compute: a GPU's pairs at the speed of one GPU alone, however few they are.
- loss: the products of a GPU's features with all others, which grow with the global batch.
- features: all-gather of text features and reduce-scatter of their gradients, which nothing can hide.
- gradients, parameters (with fsdp): once a step, however many micro-batches it has. activations (with
  tensor): in every block. This communication may overlap with compute.

A gather over n GPUs in a node and m nodes uses one network after the other: (n-1)/n of the array arrive by
NVLink and (m-1)/m of an n-th by the GPU's own network card, and log2 of each number is the count of hops. A
scatter costs the same, an all-reduce twice that.
Source: Thakur et al. 2005, "Optimization of collective communication operations in MPICH".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp

from bioclip_jax.distributed import MeshConfig
from bioclip_jax.errors import UserError
from bioclip_jax.models import get_config, init_params
from bioclip_jax.train import TrainConfig

from .tables import markdown

GPUS = (8, 16, 32, 64, 128, 256, 512, 1024)
# TreeOfLife-200M and the epochs of BioCLIP 2, https://arxiv.org/abs/2505.23883.
IMAGES, EPOCHS = 213.9e6, 30
_SECONDS_PER_DAY = 86_400
# Collectives that XLA sends the gradients of a step in, as compiled for 32 H100s by `bench compile`.
_PIECES = 10


@dataclass(frozen=True)
class Cluster:
    """Nodes of H100 SXM GPUs. Speeds are in bytes per second and GPU, one way.

    nvlink: half of the data sheet's 900 GB/s in both directions. network: one 400 Gb/s port per GPU, as in a
    DGX H100. efficiency: share of a link's speed that a large collective reaches, assumed. hop: latency in
    seconds to the next GPU or node, assumed. fp32: FLOP/s of the loss's float32 products, assumed; the data
    sheet has 67e12. Sources: NVIDIA H100 Tensor Core GPU and NVIDIA DGX H100 data sheets.
    """

    gpus_per_node: int = 8
    nvlink: float = 450e9
    network: float = 50e9
    efficiency: float = 0.8
    hop: float = 10e-6
    fp32: float = 40e12

    def gather(self, array: float, group: tuple[int, int], collectives: int = 1) -> float:
        """Seconds of an all-gather of `array` bytes over a group (GPUs in a node, nodes).

        collectives: the number of pieces that the array is sent in.
        """
        inside, nodes = group
        through_nvlink = array * (inside - 1) / inside / self.nvlink
        through_network = array / inside * (nodes - 1) / nodes / self.network
        hops = math.ceil(math.log2(inside)) + math.ceil(math.log2(nodes))
        return (through_nvlink + through_network) / self.efficiency + collectives * hops * self.hop

    def group(self, size: int, stride: int = 1) -> tuple[int, int]:
        """Group (GPUs in a node, nodes) of a mesh axis of `size` whose neighbors are `stride` GPUs apart."""
        inside = min(size, max(1, self.gpus_per_node // stride))
        return inside, -(-size // inside)


@dataclass(frozen=True)
class Job:
    """Training job with `batch` and `replay` pairs per step over all GPUs.

    pairs_per_second: of one GPU alone. tokens, width, layers: of the image tower. gradient_bytes: of a
    gradient on the network, 4, or 2 with bfloat16 parameters. gathered_bytes: of a parameter that fsdp
    gathers, as in the towers' arithmetic.
    """

    batch: int
    replay: int
    pairs_per_second: float
    parameters: float
    embed_dim: int
    tokens: int
    width: int
    layers: int
    gradient_bytes: int = 4
    gathered_bytes: int = 4
    mesh: MeshConfig = field(default_factory=MeshConfig)


@dataclass(frozen=True)
class Step:
    """Seconds of each part of a step, and the loss's memory on each GPU in GB.

    loss_gb: all text features and their gradients. ring_loss_gb: the same for a loss that passes text
    features around a ring. full_loss_gb: for one that stores a GPU's rows of the logits and their gradient.
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
        """Seconds of the step, with communication hidden behind compute as far as possible, or not at all."""
        sent = self.gradients + self.parameters + self.activations
        return self.loss + self.features + (max(self.compute, sent) if hidden else self.compute + sent)


def step(job: Job, cluster: Cluster, gpus: int) -> Step:
    """Cost of one step on `gpus` GPUs. Raises UserError if the mesh does not divide them."""
    fsdp, tensor = job.mesh.fsdp, job.mesh.tensor
    if gpus % (fsdp * tensor):
        raise UserError(
            f"config.mesh has fsdp={fsdp}, tensor={tensor}, which does not divide {gpus} GPUs; change --gpus"
        )
    # A GPU adds up its gradients over all micro-batches. Then they are reduce-scattered over fsdp, and
    # all-reduced over the rest.
    parameters = job.parameters / tensor
    sharded, over_data = cluster.group(fsdp, tensor), cluster.group(gpus // (fsdp * tensor), fsdp * tensor)
    reduce_scatter = cluster.gather(parameters * job.gradient_bytes, sharded, _PIECES)
    all_reduce = 2 * cluster.gather(parameters * job.gradient_bytes / fsdp, over_data, _PIECES)
    # With tensor, a block sums its two branches forward and their gradients backward, in bfloat16.
    rows = (job.batch + job.replay) / gpus * tensor
    activations = (
        4 * job.layers * 2 * cluster.gather(rows * job.tokens * job.width * 2, cluster.group(tensor))
    )

    logits = (job.batch**2 + job.replay**2) / gpus
    texts = 4 * job.embed_dim * (job.batch + job.replay)
    return Step(
        compute=(job.batch + job.replay) / gpus / job.pairs_per_second,
        # train/losses.py: the logits in the forward pass and again in the backward pass, and the gradient of
        # each side.
        loss=4 * 2 * job.embed_dim * logits / cluster.fp32,
        features=2 * cluster.gather(texts, cluster.group(gpus)),
        gradients=reduce_scatter + all_reduce,
        parameters=cluster.gather(parameters * job.gathered_bytes, sharded, _PIECES),
        activations=activations,
        loss_gb=2 * texts / 1e9,
        # Features and gradients, each double-buffered.
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
    """Model throughput per GPU, and days for BioCLIP 2's 30 epochs over TreeOfLife-200M.

    pairs_per_second: of one GPU alone, measured by `bench train` or assumed. at: the number of GPUs that the
    config's batch is for. Returns two lists of figures, one entry for each number of `gpus`: "same_rows"
    keeps the rows per GPU, so that the batch grows; "same_batch" keeps the global batch, as the published
    recipe needs. Figures "exposed" hide no communication behind compute, "hidden" ones all that fits.
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
        gradient_bytes=2 if config.precision in ("bf16_params", "pure_bf16") else 4,
        gathered_bytes=jnp.dtype(config.dtype).itemsize,
        mesh=config.mesh,
    )
    growing = [replace(job, batch=job.batch * n // at, replay=job.replay * n // at) for n in gpus]
    return {
        "modelled": True,
        "model": config.model,
        "pairs_per_second_alone": pairs_per_second,
        "cluster": asdict(cluster),
        "same_rows": [_figures(grown, cluster, n) for grown, n in zip(growing, gpus, strict=True)],
        "same_batch": [_figures(job, cluster, n) for n in gpus],
    }


def _figures(job: Job, cluster: Cluster, gpus: int) -> dict[str, Any]:
    cost = step(job, cluster, gpus)
    figures: dict[str, Any] = {"gpus": gpus, "pairs_per_gpu": (job.batch + job.replay) / gpus}
    for name, hidden in (("exposed", False), ("hidden", True)):
        seconds = cost.seconds(hidden)
        figures[f"pairs_per_second_{name}"] = (job.batch + job.replay) / gpus / seconds
        figures[f"days_{name}"] = EPOCHS * IMAGES / job.batch * seconds / _SECONDS_PER_DAY
    return figures | asdict(cost)


def scaling_table(result: dict[str, Any]) -> str:
    """Result of model_scaling as two Markdown tables."""
    titles = {
        "same_rows": "Constant rows per GPU:",
        "same_batch": "Constant global batch:",
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
