"""How fast the training pipeline reads shards on one core, and how fast the reference's loader does."""

import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bioclip_jax.bench.torchvision import import_torchvision
from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.batches import train_batches
from bioclip_jax.pipeline.images import ImageConfig
from bioclip_jax.pipeline.sources import TarSource, open_source
from bioclip_jax.text.captions import DRAWN_TYPES

# Timed in turns, so that a busy machine slows both loaders alike.
_TURNS = 5


def run(
    shards: str | Path, *, peer: bool = False, image_size: int = 224, batch_size: int = 256, seconds: float = 10.0
) -> dict[str, Any]:
    """Images a second of the in-process training pipeline on one pinned core, as the trainer consumes them.

    Each image is decoded, cropped and resized, its drawn caption cleaned and tokenised. With `peer`, the reference's
    loader (webdataset, Pillow, torchvision, open_clip's tokenizer on five captions) reads the same tars in turns.
    seconds: measured time for each loader. Returns images_per_second, peer_images_per_second, ratio (both None
    without the peer), images_per_cpu_second (which other load on the core does not lower), image_size, batch_size.
    UserError if the shards cannot be read or the peer's packages are missing.
    """
    source = open_source(shards)
    if peer and not isinstance(source, TarSource):
        raise UserError(f"{shards}: the peer reads only tars; give a folder of tars, or leave out --peer")
    with _one_core():
        batches = train_batches(source, image_size=image_size, seed=0, global_batch_size=batch_size)
        loaders = [lambda: len(next(batches)["image"])]
        if peer:
            loaders.append(_peer_loader(source.shards, image_size))
        speeds = _in_turns(loaders, seconds)
        batches.close()
    (wall, cpu), peer_wall = speeds[0], speeds[1][0] if peer else None
    return {
        "images_per_second": round(wall, 1),
        "peer_images_per_second": peer_wall and round(peer_wall, 1),
        "ratio": peer_wall and round(wall / peer_wall, 2),
        "images_per_cpu_second": round(cpu, 1),
        "image_size": image_size,
        "batch_size": batch_size,
    }


def _in_turns(loaders: list[Callable[[], int]], seconds: float) -> list[tuple[float, float]]:
    """Each loader's median images a second and a CPU second, after one call to warm up."""
    speeds = [[] for _ in loaders]
    for load in loaders:
        load()
    for _ in range(_TURNS):
        for load, found in zip(loaders, speeds):
            images, wall, cpu = 0, time.perf_counter(), time.process_time()
            while time.perf_counter() - wall < seconds / _TURNS:
                images += load()
            found.append((images / (time.perf_counter() - wall), images / (time.process_time() - cpu)))
    return [tuple(map(statistics.median, zip(*found))) for found in speeds]


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
        raise UserError(f"--peer needs {error.name}; install the peers: pip install 'bioclip-jax[peers]'") from None
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
        webdataset.WebDataset(urls, shardshuffle=False, handler=webdataset.warn_and_continue, empty_check=False)
        .repeat()
        .decode("pilrgb")
        .to_tuple("jpg;jpeg;png", *texts)
        .map_tuple(transform, *[lambda text: tokenizer([text])[0]] * len(texts))
        .batched(chunk)
    )
    return lambda: len(next(samples)[0])
