"""Throughput of the training pipeline: on one core, through workers, and beside the reference's loader."""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import simplejpeg

from bioclip_jax.errors import UserError
from bioclip_jax.pipeline import Order, Sampling, make_order, train_batches
from bioclip_jax.pipeline.images import ImageConfig
from bioclip_jax.pipeline.sources import Source, open_source
from bioclip_jax.text import DRAWN_TYPES, Tokenizer

from .peer import PeerProcess

# Loaders are timed in turns, so that other load on the machine slows all of them alike.
_TURNS = 5

# Function that reads for at least the given seconds; returns images per second and per CPU second.
_Loader = Callable[[float], tuple[float, float]]


def measure_loader(
    shards: str | Path,
    *,
    peer: bool = False,
    workers: Sequence[int] = (),
    window: int = 0,
    image_size: int = 224,
    batch_size: int = 256,
    seconds: float = 10.0,
) -> dict[str, Any]:
    """Measure images per second of the training pipeline, as the trainer consumes it.

    Each image is decoded, cropped and resized, its drawn caption cleaned and tokenized. These loaders run in
    turns on one pinned core: the pipeline; the pipeline with cropping left to the devices; a plain loop over
    the same work, an upper bound of the first; and with `peer`, the reference's loader (webdataset, Pillow,
    torchvision, open_clip's tokenizer on five captions) on the same tars. Afterwards the pipeline runs on all
    cores, with each number of `workers`.

    window: as data.window. seconds: measuring time of each.

    Returns images_per_second, peer_images_per_second, ratio (both None without the peer),
    images_per_cpu_second (insensitive to other load on the core), device_crop_images_per_second,
    plain_loop_images_per_second, image_size, batch_size, and by the number of workers "workers":
    {images_per_second, memory_bytes: of the largest worker, private and shared}. Raises UserError if the
    shards cannot be read or the peer's packages are missing.
    """
    sources = [open_source(shards, forward=window > 0) for _ in range(3)]
    if peer and not hasattr(sources[0], "shards"):
        raise UserError(f"{shards}: the peer reads only tars; give a folder of tars, or omit --peer")
    sampling = Sampling(window=window)
    options = {"image_size": image_size, "seed": 0, "global_batch_size": batch_size, "sampling": sampling}
    with _one_core(), ExitStack() as stack:
        reference = _peer_loader(stack, sources[0].shards, image_size) if peer else None
        # A source that reads forward has one position, so each loader opens its own.
        host = train_batches(sources[0], **options)
        device = train_batches(sources[1], image=ImageConfig(crop="device"), **options)
        order = make_order(sources[2], sampling, 0, batch_size)
        loaders = {
            "host": _timed(lambda: len(next(host)["image"])),
            "device": _timed(lambda: len(next(device)["image"])),
            "plain": _timed(_plain_loop(sources[2], order, image_size)),
        }
        if reference is not None:
            loaders["peer"] = reference
        speeds = _in_turns(loaders, seconds)
    (wall, cpu), peer_wall = speeds["host"], speeds["peer"][0] if peer else None
    return {
        "images_per_second": round(wall, 1),
        "peer_images_per_second": peer_wall and round(peer_wall, 1),
        "ratio": peer_wall and round(wall / peer_wall, 2),
        "images_per_cpu_second": round(cpu, 1),
        "device_crop_images_per_second": round(speeds["device"][0], 1),
        "plain_loop_images_per_second": round(speeds["plain"][0], 1),
        "workers": {
            str(number): _through_workers(sources[0], number, options, seconds) for number in workers
        },
        "image_size": image_size,
        "batch_size": batch_size,
    }


def _timed(load: Callable[[], int]) -> _Loader:
    """Loader that calls `load`, which returns its number of images, once as a warm-up and then repeatedly."""
    load()

    def read(seconds: float) -> tuple[float, float]:
        images, wall, cpu = 0, time.perf_counter(), time.process_time()
        while time.perf_counter() - wall < seconds:
            images += load()
        return images / (time.perf_counter() - wall), images / (time.process_time() - cpu)

    return read


def _in_turns(loaders: dict[str, _Loader], seconds: float) -> dict[str, tuple[float, float]]:
    """Median images per second and per CPU second of each loader."""
    speeds = {name: [] for name in loaders}
    for _ in range(_TURNS):
        for name, read in loaders.items():
            speeds[name].append(read(seconds / _TURNS))
    return {name: tuple(map(statistics.median, zip(*turns))) for name, turns in speeds.items()}


def _through_workers(source: Source, workers: int, options: dict[str, Any], seconds: float) -> dict[str, Any]:
    batches = train_batches(source, workers=workers, **options)
    try:
        # Wait until every worker has filled its prefetch buffer.
        for _ in range(4 * workers):
            next(batches)
        images, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            images += len(next(batches)["image"])
        speed = images / (time.perf_counter() - start)
        # The workers are the child processes that hold images, which makes them the largest.
        memory = max(child.memory_info().rss for child in psutil.Process().children())
    finally:
        batches.close()
    return {"images_per_second": round(speed, 1), "memory_bytes": memory}


def _plain_loop(source: Source, order: Order, image_size: int, chunk: int = 32) -> Callable[[], int]:
    """The same work in a bare loop: read, decode, crop, resize, clean and tokenize one caption.

    Samples other than RGB JPEGs with captions are skipped.
    """
    tokenizer, rng, positions = Tokenizer(), np.random.default_rng(0), count()
    out = np.empty((image_size, image_size, 3), np.uint8)

    def load() -> int:
        done = 0
        while done < chunk:
            try:
                sample = source[order.index(next(positions))]
                image = simplejpeg.decode_jpeg(sample.image, "RGB")
                text = sample.captions["taxon"]
            except (OSError, ValueError, KeyError):
                continue
            height, width = (int(side * rng.uniform(0.95, 1.0)) for side in image.shape[:2])
            top, left = rng.integers(image.shape[0] - height + 1), rng.integers(image.shape[1] - width + 1)
            crop = image[top : top + height, left : left + width]
            cv2.resize(crop, (image_size, image_size), dst=out, interpolation=cv2.INTER_CUBIC)
            tokenizer(text)
            done += 1
        return chunk

    return load


@contextmanager
def _one_core() -> Iterator[None]:
    """Pin this process, and child processes started inside the block, to one core."""
    if not hasattr(os, "sched_setaffinity"):  # macOS cannot pin; the loaders are single-threaded anyway
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def _peer_loader(stack: ExitStack, shards: Sequence[Path], image_size: int) -> _Loader:
    """The reference's loader, in a process on the same core; its CPU time is not known (NaN)."""
    process = stack.enter_context(PeerProcess("bioclip_jax.bench.webdataset_peer"))
    config = ImageConfig()
    crop = {name: list(getattr(config, name)) for name in ("scale", "ratio", "mean", "std")}
    paths = [str(shard.absolute()) for shard in shards]
    process.call("open", shards=paths, image_size=image_size, caption_types=list(DRAWN_TYPES), **crop)

    def read(seconds: float) -> tuple[float, float]:
        result = process.call("read", seconds=seconds)
        return result["images"] / result["seconds"], math.nan

    return read
