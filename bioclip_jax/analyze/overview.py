"""The verb `analyze overview`: one picture with a run's training curve and a map of its embedding space."""

from __future__ import annotations

import itertools
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from bioclip_jax.checkpoint import TrainingDirectory
from bioclip_jax.convert import resolve
from bioclip_jax.errors import UserError
from bioclip_jax.files import check_output
from bioclip_jax.pipeline.images import Preprocess
from bioclip_jax.pipeline.sources import open_source
from bioclip_jax.plots import INK, new_figure, save_figure
from bioclip_jax.predict import Embedder, load_pixels, track
from bioclip_jax.text import Taxon

# More images do not improve the map, and t-SNE takes minutes.
_MOST_IMAGES = 2000
_THUMBNAIL_PIXELS = 96


def write_overview(model: str, data: str, output: Path, *, seed: int = 0) -> dict[str, Any]:
    """Draw a run's training curve and a map of its embeddings of `data` (as open_source; split "test").

    A MODEL that is not a training directory has no curve, only the map. Of more than 2,000 images, that many
    are taken at even intervals. Images that are unreadable or have no family are skipped.

    Returns {"images", "families", "output"}. Raises UserError for a wrong argument, and if no image remains.
    """
    output = Path(output)
    if output.suffix.lower() != ".png":
        raise UserError(f"the output {output} is not a PNG; end its name in .png")
    check_output(output)
    source = open_source(data, split="test")
    bundle = resolve(str(model))
    metrics = TrainingDirectory(bundle.directory).read_metrics() if bundle.training else []

    step = max(1, -(-len(source) // _MOST_IMAGES))
    indices, taxa = [], []

    def images() -> Iterator[bytes]:
        for index in track(range(0, len(source), step), "embedding", -(-len(source) // step)):
            try:
                sample = source[index]
            except (OSError, ValueError) as error:
                print(f"skipped sample {index}, which cannot be read ({error})", file=sys.stderr)
                continue
            if sample.taxon is not None and sample.taxon.family:
                indices.append(index)
                taxa.append(sample.taxon)
                yield sample.image

    kept: list[int] = []
    parts = []
    skip = lambda _, problem: print(f"skipped: {problem}", file=sys.stderr)  # noqa: E731
    for numbers, features in Embedder(bundle).stream(images(), skip):
        kept += numbers
        parts.append(features)
    if not parts:
        raise UserError(f"{data} has no readable image with a family; give labeled images")
    taxa = [taxa[number] for number in kept]
    picture = Preprocess(_THUMBNAIL_PIXELS, resize_mode="shortest")
    thumbnails = {
        row: load_pixels(source[indices[kept[row]]].image, picture) for row in _one_per_species(taxa)
    }
    draw_overview(output, metrics, np.concatenate(parts), taxa, thumbnails, seed=seed)
    return {"images": len(taxa), "families": len({t.lineage("family") for t in taxa}), "output": str(output)}


def draw_overview(
    output: Path,
    metrics: Sequence[Mapping[str, Any]],
    embeddings: Float[np.ndarray, "n dim"],
    taxa: Sequence[Taxon],
    thumbnails: Mapping[int, UInt8[np.ndarray, "height width 3"]],
    *,
    seed: int = 0,
) -> None:
    """Write a PNG with the curve (as plot_training_curve) and the map (as plot_embedding_map)."""
    from .figures import plot_embedding_map, plot_training_curve

    figure = new_figure(13, 6.4)
    if metrics:
        margins = {"left": 0.035, "right": 0.89, "top": 0.93, "bottom": 0.08}
        panels = figure.add_gridspec(2, 2, width_ratios=(1, 2.6), hspace=0.22, wspace=0.19, **margins)
        axes = figure.add_subplot(panels[:, 1])
        plot_training_curve(figure.add_subplot(panels[0, 0]), figure.add_subplot(panels[1, 0]), metrics)
    else:
        axes = figure.add_axes((0.02, 0.04, 0.86, 0.89))
    axes.set_title(
        f"embeddings of {len(taxa):,} images, colored by family", loc="left", fontsize=10, color=INK
    )
    plot_embedding_map(axes, map_points(embeddings, seed), taxa, thumbnails)
    save_figure(figure, output)


def map_points(embeddings: Float[np.ndarray, "n dim"], seed: int = 0) -> Float[np.ndarray, "n 2"]:
    """Project to the plane by t-SNE (van der Maaten and Hinton 2008) of the first 50 principal components."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    if len(embeddings) < 5:
        return np.pad(embeddings, ((0, 0), (0, 2)))[:, :2]
    reduced = PCA(min(50, *embeddings.shape), random_state=seed).fit_transform(embeddings)
    perplexity = min(30.0, (len(embeddings) - 1) / 3)
    return TSNE(2, perplexity=perplexity, init="pca", random_state=seed).fit_transform(reduced)


def _one_per_species(taxa: Sequence[Taxon]) -> list[int]:
    """Return the first row of every species, taking families in turn."""
    by_family: dict[tuple[str, ...], dict[tuple[str, ...], int]] = defaultdict(dict)
    for row, taxon in enumerate(taxa):
        by_family[taxon.lineage("family")].setdefault(taxon.lineage(), row)
    turns = itertools.zip_longest(*(species.values() for species in by_family.values()))
    return [row for turn in turns for row in turn if row is not None]
