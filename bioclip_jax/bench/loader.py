"""How fast the training pipeline reads shards: on one core, through workers, and beside the reference's loader."""

import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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

from .torchvision import import_torchvision

# Timed in turns, so that a busy machine slows all loaders alike.
_TURNS = 5


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
    """Images a second of the training pipeline, as the trainer consumes them.

    Each image is decoded, cropped and resized, its drawn caption cleaned and tokenised. In this process, on
    one pinned
    core and in turns: the pipeline; the pipeline with the crop left to the devices; a plain loop over the
    same steps, which is the ceiling for the first; and with `peer`, the reference's loader (webdataset,
    Pillow, torchvision, open_clip's tokenizer on five captions) on the same tars. Then through each number of
    `workers`, on all cores.
    window: as data.window. seconds: measured time for each.

    Returns images_per_second, peer_images_per_second, ratio (both None without the peer),
    images_per_cpu_second (which other load on the core does not lower), device_crop_images_per_second,
    plain_loop_images_per_second, image_size, batch_size, and by the number of workers "workers":
    {images_per_second, memory_bytes: of the largest worker, private and shared}. UserError if the shards
    cannot be read or the peer's packages are missing.
    """
    sources = [open_source(shards, forward=window > 0) for _ in range(3)]
    if peer and not hasattr(sources[0], "shards"):
        raise UserError(f"{shards}: the peer reads only tars; give a folder of tars, or leave out --peer")
    sampling = Sampling(window=window)
    options = {"image_size": image_size, "seed": 0, "global_batch_size": batch_size, "sampling": sampling}
    with _one_core():
        # Each has a source of its own: one that reads forward is at one place for each of them.
        host = train_batches(sources[0], **options)
        device = train_batches(sources[1], image=ImageConfig(crop="device"), **options)
        loaders = {"host": lambda: len(next(host)["image"]), "device": lambda: len(next(device)["image"])}
        loaders["plain"] = _plain_loop(
            sources[2], make_order(sources[2], sampling, 0, batch_size), image_size
        )
        if peer:
            loaders["peer"] = _peer_loader(sources[0].shards, image_size)
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


def _in_turns(loaders: dict[str, Callable[[], int]], seconds: float) -> dict[str, tuple[float, float]]:
    """Each loader's median images a second and a CPU second, after one call to warm up."""
    speeds = {name: [] for name in loaders}
    for load in loaders.values():
        load()
    for _ in range(_TURNS):
        for name, load in loaders.items():
            images, wall, cpu = 0, time.perf_counter(), time.process_time()
            while time.perf_counter() - wall < seconds / _TURNS:
                images += load()
            speeds[name].append((images / (time.perf_counter() - wall), images / (time.process_time() - cpu)))
    return {name: tuple(map(statistics.median, zip(*found))) for name, found in speeds.items()}


def _through_workers(source: Source, workers: int, options: dict[str, Any], seconds: float) -> dict[str, Any]:
    batches = train_batches(source, workers=workers, **options)
    try:
        # Until every worker has filled what it may have ahead.
        for _ in range(4 * workers):
            next(batches)
        images, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            images += len(next(batches)["image"])
        speed = images / (time.perf_counter() - start)
        # Of this process's children, the workers are those that hold images.
        memory = max(child.memory_info().rss for child in psutil.Process().children())
    finally:
        batches.close()
    return {"images_per_second": round(speed, 1), "memory_bytes": memory}


def _plain_loop(source: Source, order: Order, image_size: int, chunk: int = 32) -> Callable[[], int]:
    """The same steps with nothing around them: read, decode, crop, resize, clean and tokenise one caption.

    What is no RGB JPEG with captions is passed over.
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
    if not hasattr(os, "sched_setaffinity"):  # macOS: no pinning, but nothing here uses a second core either
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def _peer_loader(shards: list[Path], image_size: int, chunk: int = 32) -> Callable[[], int]:
    """The reference's loader in this process: a function that reads `chunk` samples and says how many they were."""
    try:
        import torch
        import webdataset

        import_torchvision()
        import open_clip
        from torchvision import transforms
    except ImportError as error:
        raise UserError(
            f"--peer needs {error.name}; install the peers: pip install 'bioclip-jax[peers]'"
        ) from None
    torch.set_num_threads(1)
    config = ImageConfig()
    transform = transforms.Compose(
        [
            transforms.RandomResizedCrop(
                image_size, config.scale, config.ratio, transforms.InterpolationMode.BICUBIC
            ),
            lambda image: image.convert("RGB"),
            transforms.ToTensor(),
            transforms.Normalize(config.mean, config.std),
        ]
    )
    tokenizer = open_clip.get_tokenizer("ViT-B-16")
    texts = [f"{kind}.txt" for kind in DRAWN_TYPES]
    # webdataset takes a path, but reads braces and "::" in it as its own patterns.
    urls = [f"file:{shard.absolute()}" for shard in shards]
    samples = iter(
        webdataset.WebDataset(
            urls, shardshuffle=False, handler=webdataset.warn_and_continue, empty_check=False
        )
        .repeat()
        .decode("pilrgb")
        .to_tuple("jpg;jpeg;png", *texts)
        .map_tuple(transform, *[lambda text: tokenizer([text])[0]] * len(texts))
        .batched(chunk)
    )
    return lambda: len(next(samples)[0])
