"""pybioclip's side of bench predict: `python -m bioclip_jax.bench.predict_peer`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bioclip_jax.bench.predict_sides import memory, serve, since_start, timed
from bioclip_jax.bench.torchvision import import_torchvision


class Tasks:
    """pybioclip through its public classes."""

    def __init__(self) -> None:
        import torch

        import_torchvision()
        import bioclip

        self._torch, self._bioclip = torch, bioclip
        self._classifier: Any = None

    def load_labels(self, model: str, labels: Sequence[str]) -> dict[str, Any]:
        def load() -> Any:
            return self._bioclip.CustomLabelsClassifier(labels, model_str=f"local-dir:{model}")

        self._classifier, clock = timed(load)
        return clock | {"process": since_start()}

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
                return torch.from_numpy(np.stack([next(self.given) for _ in images]))

        self._classifier, clock = timed(lambda: LocalTaxa(model_str=f"local-dir:{model}"))
        return clock

    def open_head(self) -> dict[str, Any]:
        """The taxa's vectors and names once more, without the model."""
        return timed(lambda: (self._classifier.get_txt_emb(), self._classifier.get_txt_names()))[1]

    def predict(self, images: Sequence[str], rank: str | None = None, batch_size: int | None = None) -> dict[str, Any]:
        """The answers; `batch_size` None is its own, 10."""
        options = {"batch_size": batch_size or 10, "callback": lambda done, total: None}
        if rank is None:
            rows, clock = timed(lambda: self._classifier.predict(images, k=5, **options))
        else:
            rows, clock = timed(lambda: self._classifier.predict(images, self._rank(rank), k=5, **options))
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

        return timed(choose)[1]

    def memory(self) -> dict[str, int]:
        return memory()

    def _rank(self, rank: str) -> Any:
        return self._bioclip.Rank[rank.upper()]


if __name__ == "__main__":
    serve(Tasks)
