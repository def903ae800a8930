"""pybioclip's side of bench predict: the tasks of `python -m bioclip_jax.bench.predict.pybioclip`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bioclip_jax.errors import UserError

from ..peer import import_torchvision, memory_usage, serve_tasks, time_since_start, timed


class Tasks:
    """pybioclip through its public classes, with the same methods as ours.Tasks."""

    def __init__(self, device: str = "cpu") -> None:
        """`device`: torch's name of the device."""
        import torch

        import_torchvision()
        import bioclip

        self._torch, self._bioclip = torch, bioclip
        self._device = device
        self._classifier: Any = None

    def device(self) -> dict[str, str]:
        """Return the device's name. Raises UserError if torch has no GPU."""
        if self._device == "cpu":
            return {"device": "cpu"}
        if not self._torch.cuda.is_available():
            raise UserError(
                "JAX has a GPU, but torch finds none; install torch for CUDA, or set JAX_PLATFORMS=cpu"
            )
        return {"device": self._torch.cuda.get_device_name()}

    def load_labels(self, model: str, labels: Sequence[str]) -> dict[str, Any]:
        """Build a classifier of custom labels; "model": clock of loading the model alone."""
        outer = self
        model_clock: dict[str, float] = {}

        class TimedLabels(self._bioclip.CustomLabelsClassifier):
            def load_pretrained_model(self, *arguments: Any, **options: Any) -> None:
                load = super().load_pretrained_model
                model_clock.update(outer._timed(lambda: load(*arguments, **options))[1])

        def load() -> Any:
            return TimedLabels(labels, model_str=f"local-dir:{model}", device=self._device)

        self._classifier, clock = self._timed(load)
        return clock | {"model": model_clock, "process": time_since_start()}

    def load_taxa(self, model: str, folder: str) -> dict[str, Any]:
        """Load the model and the taxa; `folder` replaces the Hub's files."""
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
        """Load the taxa's vectors and names again, without the model."""
        classifier, device = self._classifier, self._device
        return self._timed(lambda: (classifier.get_txt_emb().to(device), classifier.get_txt_names()))[1]

    def predict(
        self, images: Sequence[str], rank: str | None = None, batch_size: int | None = None
    ) -> dict[str, Any]:
        """Predict at a rank or over the labels; batch_size: pybioclip's default, 10, if None."""
        options = {"batch_size": batch_size or 10, "callback": lambda done, total: None}
        ranks = [] if rank is None else [self._bioclip.Rank[rank.upper()]]
        rows, clock = self._timed(lambda: self._classifier.predict(images, *ranks, k=5, **options))
        return clock | {"rows": rows}

    def head(self, features: str, start: int, count: int, rank: str) -> dict[str, Any]:
        """Predict from `count` given image vectors, in pybioclip's own batches of 10."""
        from PIL import Image

        self._classifier.given = iter(np.load(features)[start : start + count])
        clock = self.predict([Image.new("RGB", (1, 1))] * count, rank)
        self._classifier.given = None
        return clock

    def subset(self, path: str) -> dict[str, Any]:
        """Restrict the taxa to those of a CSV."""

        def choose() -> None:
            self._classifier.apply_filter(self._classifier.create_taxa_filter_from_csv(path))

        return self._timed(choose)[1]

    def memory(self) -> dict[str, int]:
        """Memory of this process."""
        return memory_usage()

    def _timed(self, work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
        """Time `work` and the GPU work that it started."""

        def settled() -> Any:
            result = work()
            if self._device == "cuda":
                self._torch.cuda.synchronize()
            return result

        return timed(settled)


if __name__ == "__main__":
    serve_tasks(lambda: Tasks(*sys.argv[1:]))
