"""The order in which a config wants its data, for one source or for several."""

from __future__ import annotations

from dataclasses import dataclass

from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.sources import JoinedSource, Source

from .mixture import Mixture, pattern_counts
from .order import Order, Shuffled, Windowed

# The parts of a mixture draw from streams of their own, so far apart that a run's other streams stay free.
_STREAMS_APART = 16


@dataclass(frozen=True)
class Sampling:
    """How samples are drawn.

    weights: the share of each source in every batch, in any unit; () takes each by its number of samples.
    upsample: factors of those numbers instead, (1, 3) for a second source seen three times as often as it is
    large.
    window: 0 shuffles all samples; else so many places of the data are read forward at the same time (see
    Windowed).
    """

    weights: tuple[float, ...] = ()
    upsample: tuple[float, ...] = ()
    window: int = 0

    def __post_init__(self):
        if self.weights and self.upsample:
            raise UserError("data.weights and data.upsample are both set; give one of them")
        if self.window < 0:
            raise UserError(f"data.window is {self.window}; it must be 0 (off) or more")
        for name in ("weights", "upsample"):
            if any(not value > 0 for value in getattr(self, name)):
                raise UserError(f"data.{name} is {getattr(self, name)}; each must be above 0")


def shares(source: Source, sampling: Sampling) -> tuple[float, ...]:
    """Of each part of the source, how often its samples come in relation to the others'.

    Errors: UserError if `sampling` speaks of another number of sources.
    """
    parts = source.sources if isinstance(source, JoinedSource) else [source]
    for name in ("weights", "upsample"):
        given = getattr(sampling, name)
        if given and len(given) != len(parts):
            raise UserError(
                f"data.{name} has {len(given)} values for {len(parts)} sources in data.train; give one each"
            )
    if sampling.weights:
        return sampling.weights
    return tuple(len(part) * factor for part, factor in zip(parts, sampling.upsample or [1.0] * len(parts)))


def epoch_samples(source: Source, sampling: Sampling) -> int:
    """Samples that count as one epoch: all that there are, upsampled ones as often as they are to come."""
    return round(sum(shares(source, sampling))) if sampling.upsample else len(source)


def make_order(
    source: Source, sampling: Sampling, seed: int, global_batch_size: int, stream: int = 0, name: str = "data"
) -> Order:
    """The order of a source's samples.

    name: of the config's group, for errors: UserError if a window is asked for and the source has no shards.
    """
    weights = shares(source, sampling)
    if not isinstance(source, JoinedSource):
        return _order(source, sampling, seed, global_batch_size, stream, name)
    counts = pattern_counts(weights)
    orders = []
    for number, (part, count) in enumerate(zip(source.sources, counts)):
        samples_a_step = round(global_batch_size * count / counts.sum())
        orders.append(_order(part, sampling, seed, samples_a_step, stream + _STREAMS_APART * number, name))
    return Mixture(orders, source.firsts, weights)


def _order(
    source: Source, sampling: Sampling, seed: int, samples_a_step: int, stream: int, name: str
) -> Order:
    if not sampling.window:
        return Shuffled(seed, len(source), stream)
    sizes = getattr(source, "shard_sizes", None)
    if sizes is None:
        raise UserError(
            f"{name}.window is set, and the data does not lie in shards; set it to 0 or give tars or "
            f"ArrayRecord"
        )
    return Windowed(seed, sizes, sampling.window, max(1, samples_a_step // sampling.window), stream)
