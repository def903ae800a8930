"""The reference's loader as a peer: the tasks of `python -m bioclip_jax.bench.webdataset_peer`."""

from __future__ import annotations

import time
from collections.abc import Sequence

from .peer import import_torchvision, serve_tasks

_CHUNK = 32


class Tasks:
    """webdataset, Pillow, torchvision, and open_clip's tokenizer on all captions of a sample."""

    def __init__(self) -> None:
        import torch
        import webdataset

        import_torchvision()
        import open_clip

        torch.set_num_threads(1)
        self._webdataset, self._open_clip = webdataset, open_clip

    def open(
        self,
        shards: Sequence[str],
        image_size: int,
        scale: Sequence[float],
        ratio: Sequence[float],
        mean: Sequence[float],
        std: Sequence[float],
        caption_types: Sequence[str],
    ) -> dict[str, int]:
        """Open tars and read the first samples. scale, ratio: of the random crop, as in ImageConfig."""
        from torchvision import transforms

        bicubic = transforms.InterpolationMode.BICUBIC
        transform = transforms.Compose(
            [
                transforms.RandomResizedCrop(image_size, tuple(scale), tuple(ratio), bicubic),
                lambda image: image.convert("RGB"),
                transforms.ToTensor(),
                transforms.Normalize(mean, std),
            ]
        )
        tokenizer = self._open_clip.get_tokenizer("ViT-B-16")
        texts = [f"{kind}.txt" for kind in caption_types]
        # webdataset takes a plain path, but expands braces and "::" in it.
        urls = [f"file:{shard}" for shard in shards]
        handler = self._webdataset.warn_and_continue
        self._samples = iter(
            self._webdataset.WebDataset(urls, shardshuffle=False, handler=handler, empty_check=False)
            .repeat()
            .decode("pilrgb")
            .to_tuple("jpg;jpeg;png", *texts)
            .map_tuple(transform, *[lambda text: tokenizer([text])[0]] * len(texts))
            .batched(_CHUNK)
        )
        return {"images": len(next(self._samples)[0])}

    def read(self, seconds: float) -> dict[str, float]:
        """Read for at least `seconds`."""
        images, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            images += len(next(self._samples)[0])
        return {"images": images, "seconds": time.perf_counter() - start}


if __name__ == "__main__":
    serve_tasks(Tasks)
