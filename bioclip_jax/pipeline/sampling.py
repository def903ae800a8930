"""Data order of a config: shuffled or windowed, from one source or a mixture of several."""

from __future__ import annotations

from dataclasses import dataclass

from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.sources import ConcatSource, Source

from .order import Mixture, Order, Shuffled, Windowed, pattern_counts

# Distance between the streams of a mixture's sources, large enough to leave a run's other streams free.
_STREAM_STRIDE = 16


@dataclass(frozen=True)
class Sampling:
    """Sampling options, keys of the config's data group.

    weights: share of each source in every batch, in any unit; () weighs sources by their number of samples.
    upsample: factors on the number of samples instead; (1, 3) repeats the second source three times an epoch.
    window: 0 shuffles all samples; otherwise the number of offsets read sequentially at once (see Windowed).
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


def _shares(source: Source, sampling: Sampling) -> tuple[float, ...]:
    """Relative frequency of each part of the source. UserError if `sampling` has another number of them."""
    parts = source.sources if isinstance(source, ConcatSource) else [source]
    for name in ("weights", "upsample"):
        values = getattr(sampling, name)
        if values and len(values) != len(parts):
            raise UserError(
                f"data.{name} has {len(values)} values for {len(parts)} sources in data.train; give one each"
            )
    if sampling.weights:
        return sampling.weights
    return tuple(len(part) * factor for part, factor in zip(parts, sampling.upsample or [1.0] * len(parts)))


def epoch_samples(source: Source, sampling: Sampling) -> int:
    """Number of samples in one epoch, upsampled sources counted with their factors."""
    return round(sum(_shares(source, sampling))) if sampling.upsample else len(source)


def make_order(
    source: Source, sampling: Sampling, seed: int, global_batch_size: int, stream: int = 0, name: str = "data"
) -> Order:
    """Build the order of a source's samples.

    name: the config group, for errors. Raises UserError if a window is set and the source has no shards.
    """
    shares = _shares(source, sampling)
    if not isinstance(source, ConcatSource):
        return _single_order(source, sampling, seed, global_batch_size, stream, name)
    counts = pattern_counts(shares)
    orders = []
    for number, (part, count) in enumerate(zip(source.sources, counts)):
        samples_per_step = round(global_batch_size * count / counts.sum())
        own_stream = stream + _STREAM_STRIDE * number
        orders.append(_single_order(part, sampling, seed, samples_per_step, own_stream, name))
    return Mixture(orders, source.firsts, shares)


def _single_order(
    source: Source, sampling: Sampling, seed: int, samples_per_step: int, stream: int, name: str
) -> Order:
    if not sampling.window:
        return Shuffled(seed, len(source), stream)
    sizes = getattr(source, "shard_sizes", None)
    if sizes is None:
        raise UserError(
            f"{name}.window is set, but the data has no shards; set it to 0 or give tars or ArrayRecord"
        )
    return Windowed(seed, sizes, sampling.window, max(1, samples_per_step // sampling.window), stream)
