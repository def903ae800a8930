"""pybioclip's side of bench predict: `python -m bioclip_jax.bench.predict_peer`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bioclip_jax.errors import UserError

from .predict_sides import memory, serve, since_start, timed
from .torchvision import import_torchvision


class Tasks:
    """pybioclip through its public classes."""

    def __init__(self, device: str = "cpu") -> None:
        """`device`: what torch calls the one that it computes on."""
        import torch

        import_torchvision()
        import bioclip

        self._torch, self._bioclip = torch, bioclip
        self._device = device
        self._classifier: Any = None

    def device(self) -> dict[str, str]:
        if self._device == "cpu":
            return {"device": "cpu"}
        if not self._torch.cuda.is_available():
            raise UserError(
                "JAX has a GPU, and torch finds none; install torch for it, or set JAX_PLATFORMS=cpu"
            )
        return {"device": self._torch.cuda.get_device_name()}

    def load_labels(self, model: str, labels: Sequence[str]) -> dict[str, Any]:
        """Clocks of the whole, and of the model alone."""
        outer = self
        of_model: dict[str, float] = {}

        class TimedLabels(self._bioclip.CustomLabelsClassifier):
            def load_pretrained_model(self, *arguments: Any, **options: Any) -> None:
                load = super().load_pretrained_model
                of_model.update(outer._timed(lambda: load(*arguments, **options))[1])

        def load() -> Any:
            return TimedLabels(labels, model_str=f"local-dir:{model}", device=self._device)

        self._classifier, clock = self._timed(load)
        return clock | {"model": of_model, "process": since_start()}

    def load_taxa(self, model: str, folder: str) -> dict[str, Any]:
        """`folder` holds what it would fetch from the Hub."""
        torch = self._torch

        class LocalTaxa(self._bioclip.TreeOfLifeClassifier):
            given: Any = None

            def get_cached_datafile(self, filename: str) -> str:
                return str(Path(folder) / Path(filename).name)

            def create_image_features(self, images: list[Any], normalize: bool = True) -> Any:
                if self.given is None:
                    return super().create_image_features(images, normalize)
                return torch.from_numpy(np.stack([next(self.given) for _ in images])).to(self.device)

        self._classifier, clock = self._timed(
            lambda: LocalTaxa(model_str=f"local-dir:{model}", device=self._device)
        )
        return clock

    def open_head(self) -> dict[str, Any]:
        """The taxa's vectors and names once more, without the model."""
        device = self._device
        return self._timed(
            lambda: (self._classifier.get_txt_emb().to(device), self._classifier.get_txt_names())
        )[1]

    def predict(
        self, images: Sequence[str], rank: str | None = None, batch_size: int | None = None
    ) -> dict[str, Any]:
        """The answers; `batch_size` None is its own, 10."""
        options = {"batch_size": batch_size or 10, "callback": lambda done, total: None}
        if rank is None:
            rows, clock = self._timed(lambda: self._classifier.predict(images, k=5, **options))
        else:
            rows, clock = self._timed(
                lambda: self._classifier.predict(images, self._rank(rank), k=5, **options)
            )
        return clock | {"rows": rows}

    def head(self, features: str, start: int, count: int, rank: str) -> dict[str, Any]:
        """`predict` of `count` images, whose vectors are given; its own batches of 10."""
        from PIL import Image

        self._classifier.given = iter(np.load(features)[start : start + count])
        clock = self.predict([Image.new("RGB", (1, 1))] * count, rank)
        self._classifier.given = None
        return clock

    def subset(self, path: str) -> dict[str, Any]:
        def choose() -> None:
            self._classifier.apply_filter(self._classifier.create_taxa_filter_from_csv(path))

        return self._timed(choose)[1]

    def memory(self) -> dict[str, int]:
        return memory()

    def _timed(self, work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
        """As timed, with what a GPU is still doing."""

        def settled() -> Any:
            result = work()
            if self._device == "cuda":
                self._torch.cuda.synchronize()
            return result

        return timed(settled)

    def _rank(self, rank: str) -> Any:
        return self._bioclip.Rank[rank.upper()]


if __name__ == "__main__":
    serve(lambda: Tasks(*sys.argv[1:]))
