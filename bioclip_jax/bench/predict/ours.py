"""Our side of bench predict: the tasks of `python -m bioclip_jax.bench.predict.ours`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bioclip_jax.predict import Rank, load_ahead, load_model, load_pixels
from bioclip_jax.predict.classifiers import CustomLabelsClassifier, TreeOfLifeClassifier

from ..peer import memory_usage, serve_tasks, time_since_start, timed

_BLOCK = 8192
# Images in the mean of the share of likely taxa.
_SHARE_IMAGES = 8


class Tasks:
    """bioclip_jax through its public classes; the peer's tasks have the same names in pybioclip.Tasks."""

    def __init__(self) -> None:
        import jax

        self._classifier: Any = None
        self._programs = 0
        jax.monitoring.register_event_duration_secs_listener(self._count_program)

    def _count_program(self, event: str, seconds: float, **_: Any) -> None:
        self._programs += event.endswith("backend_compile_duration")

    def device(self) -> dict[str, str]:
        """Return the platform and the device's name."""
        import jax

        return {"platform": jax.default_backend(), "device": jax.local_devices()[0].device_kind}

    def make_model(self, architecture: str, output: str) -> dict[str, Any]:
        """Write a model with random weights and the largest logit_scale that training allows, 100."""
        import jax

        from bioclip_jax.convert import ModelBundle, write_model_directory
        from bioclip_jax.models import get_config, init_params
        from bioclip_jax.pipeline.images import Preprocess

        config = get_config(architecture)
        params = jax.tree.map(np.array, init_params(config, seed=0)) | {
            "logit_scale": np.float32(np.log(100))
        }
        preprocess = Preprocess(config.vision.image_size)
        bundle = ModelBundle(config, params, preprocess, architecture, "random weights")
        write_model_directory(bundle, Path(output), replay_projector=False)
        return {}

    def export(self, model: str, output: str) -> dict[str, Any]:
        """Write any MODEL as a directory that both sides read."""
        from bioclip_jax.convert import resolve, write_model_directory

        write_model_directory(resolve(model), Path(output), replay_projector=False)
        return {}

    def make_taxa(
        self, model: str, count: int, folder: str, images: int, cosine: float, subset: int
    ) -> dict[str, Any]:
        """Write synthetic taxa to `folder`, with image vectors and a subset of the species.

        The taxa are written as pybioclip reads them and as a head of `model`, the subset to subset.csv, the
        vectors to images.npy. Returns {"share": mean share of taxa with a probability above 1e-9, "widths":
        number of lineages at each rank}.
        """
        from bioclip_jax.predict.taxa import TaxonEmbeddings, read_names

        from .synthetic import SyntheticTaxa

        loaded, output = load_model(model), Path(folder)
        taxa = SyntheticTaxa(count, loaded.config.embed_dim)
        taxa.write(output)
        features = taxa.images(images, cosine=cosine)
        np.save(output / "images.npy", features)
        logits = loaded.logit_scale * (taxa.vectors @ features[:_SHARE_IMAGES].T)
        probabilities = np.exp(logits - logits.max(axis=0))
        share = float((probabilities / probabilities.sum(axis=0) > 1e-9).mean())
        names = read_names(output / "txt_emb_species.json")

        def blocks() -> Iterator[tuple[np.ndarray, np.ndarray]]:
            for start in range(0, count, _BLOCK):
                rows = np.arange(start, min(start + _BLOCK, count))
                yield rows, taxa.vectors[names.source_index[rows]]

        identity = {"dim": loaded.config.embed_dim, "fingerprint": loaded.fingerprint}
        TaxonEmbeddings.write(
            output / "taxa.safetensors", names, blocks(), about={"model": model}, **identity
        )
        chosen = np.linspace(0, count - 1, min(subset, count), dtype=int)
        species = [names.row(int(row), Rank.SPECIES)["species"] for row in chosen]
        (output / "subset.csv").write_text("\n".join(["species", *species]) + "\n", encoding="utf-8")
        return {"share": share, "widths": {rank.get_label(): len(names.starts(rank)) for rank in Rank}}

    def load_labels(self, model: str, labels: Sequence[str], **loading: Any) -> dict[str, Any]:
        """Build a classifier of custom labels; loading: precision and batch_size."""
        self._classifier, clock = _timed(lambda: CustomLabelsClassifier(labels, model, **loading))
        return clock | {"process": time_since_start()}

    def programs(self) -> dict[str, int]:
        """Number of programs that this process has compiled or read from the cache."""
        return {"programs": self._programs}

    def embed(self, images: Sequence[str]) -> dict[str, float]:
        """Time image files to vectors."""
        return _timed(lambda: self._classifier.model.encode_image(images))[1]

    def embed_pixels(self, images: Sequence[str]) -> dict[str, float]:
        """Time preprocessed images to vectors."""
        model = self._classifier.model
        pixels = {image: load_pixels(image, model.preprocess) for image in dict.fromkeys(images)}
        repeated = [pixels[image] for image in images]
        return _timed(lambda: list(model.embedder.pixels(repeated)))[1]

    def decode(self, images: Sequence[str]) -> dict[str, float]:
        """Time image files to pixels, by the threads that decode for the model."""
        embedder = self._classifier.model.embedder
        ahead = 2 * embedder.batch_size
        return _timed(lambda: sum(1 for _ in load_ahead(enumerate(images), embedder.preprocess, ahead)))[1]

    def device_memory(self) -> dict[str, int | None]:
        """Peak memory of the first device, and the batch size."""
        import jax

        statistics = jax.local_devices()[0].memory_stats() or {}
        batch_size = self._classifier.model.embedder.batch_size
        return {"peak_memory_bytes": statistics.get("peak_bytes_in_use"), "batch_size": batch_size}

    def load_taxa(self, model: str, folder: str) -> dict[str, Any]:
        """Load the model and the taxa."""

        def load() -> Any:
            self._model = load_model(model)
            return _GivenFeatures(self._model, Path(folder) / "taxa.safetensors")

        self._classifier, clock = _timed(load)
        self._head = Path(folder) / "taxa.safetensors"
        return clock

    def open_head(self) -> dict[str, Any]:
        """Open the taxa again, without the model."""
        from bioclip_jax.predict.taxa import TaxonEmbeddings

        return _timed(lambda: TreeOfLifeClassifier(self._model, TaxonEmbeddings.open(self._head)))[1]

    def predict(
        self, images: Sequence[str], rank: str | None = None, batch_size: int | None = None
    ) -> dict[str, Any]:
        """Predict at a rank or over the labels; only the peer uses `batch_size`."""
        ranks = [] if rank is None else [Rank[rank.upper()]]
        rows, clock = _timed(lambda: self._classifier.predict(images, *ranks, k=5))
        return clock | {"rows": rows}

    def head(self, features: str, start: int, count: int, rank: str) -> dict[str, Any]:
        """Predict from `count` given image vectors."""
        self._classifier.given = np.load(features)[start : start + count]
        clock = self.predict([str(number) for number in range(count)], rank)
        self._classifier.given = None
        return clock

    def subset(self, path: str) -> dict[str, Any]:
        """Restrict the taxa to those of a CSV."""
        from bioclip_jax.predict.taxa import read_subset

        return _timed(lambda: self._classifier.choose(read_subset(path)))[1]

    def run_verb(self, inputs: str, model: str, folder: str, output: str) -> dict[str, Any]:
        """Run the verb predict over a folder's images; returns the memory afterwards."""
        from bioclip_jax.predict import predict_files

        predict_files(
            [inputs], model, taxa=Path(folder) / "taxa.safetensors", output=Path(output), as_result=True
        )
        return memory_usage()

    def memory(self) -> dict[str, int]:
        """Memory of this process."""
        return memory_usage()


def _timed(work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """Time `work` and the device work that it started."""
    import jax

    def settled() -> Any:
        result = work()
        jax.block_until_ready(jax.live_arrays())
        return result

    return timed(settled)


class _GivenFeatures(TreeOfLifeClassifier):
    """TreeOfLifeClassifier that takes `given` as the image vectors, unless it is None."""

    given: np.ndarray | None = None

    def features(self, images: Iterable[Any], on_bad: Any = None) -> Iterator[Any]:
        if self.given is None:
            yield from super().features(images, on_bad)
        else:
            size = self._scorer.group_size
            for start in range(0, len(self.given), size):
                part = self.given[start : start + size]
                yield [(start + row, str(start + row)) for row in range(len(part))], part


if __name__ == "__main__":
    serve_tasks(Tasks)
