"""Heat maps of the patches that decided on a candidate: exact occlusion, or integrated gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Bool, Float32, Float64

from bioclip_jax.errors import UserError
from bioclip_jax.models import VisionConfig
from bioclip_jax.predict.classifiers import BaseClassifier
from bioclip_jax.predict.model import Model
from bioclip_jax.predict.preprocess import ImageLike, Pixels, load_pixels
from bioclip_jax.predict.rank import Rank

from .masked import masked_encoder
from .targets import Target, candidate_targets

Method = Literal["occlusion", "gradient"]
METHODS: tuple[Method, ...] = get_args(Method)

# Multiply-adds of an image's occlusion on a CPU beyond which gradients are used: some 8 s of two cores.
_CPU_BUDGET = 0.4e12
# Nodes of Gauss and Legendre's quadrature of the gradient along the path.
STEPS = 6


@dataclass(frozen=True, eq=False)
class HeatMap:
    """The part that each patch has in a candidate's log-probability.

    values: in nats, patches by row and column; positive: the patch speaks for the candidate. By occlusion,
    the mean fall of log p when a window that holds the patch is removed; by gradient, the patch's part in log
    p of the whole image minus log p without any patch, which the values add up to.
    method, window: of occlusion, the side of the window in patches. log_probability: of the whole image;
    without: of the image without any patch.
    """

    values: Float32[np.ndarray, "grid grid"]
    method: Method
    window: int | None
    log_probability: float
    without: float

    def figures(self) -> dict[str, Any]:
        """Return the values as rounded rows, and both log-probabilities, for JSON."""
        return {
            "values": np.round(self.values.astype(float), 5).tolist(),
            "log_probability": self.log_probability,
            "without": self.without,
        }


def heat_map(
    classifier: BaseClassifier,
    image: ImageLike,
    target: Target | None = None,
    *,
    method: Method | None = None,
    window: int | None = None,
) -> HeatMap:
    """Return the heat map of one image and candidate, by default the most probable one; as heat_maps.

    Raises BadImage or OSError for an unreadable image.
    """
    pixels = load_pixels(image, classifier.model.preprocess)
    if target is None:
        [target] = candidate_targets(classifier, unmasked_vector(classifier.model, pixels), 1)
    return heat_maps(classifier.model, pixels, [target], method=method, window=window)[0]


def explain_pixels(
    classifier: BaseClassifier,
    pixels: Pixels,
    *,
    k: int = 5,
    rank: Rank = Rank.SPECIES,
    method: Method | None = None,
    window: int | None = None,
    maps: int | None = None,
) -> tuple[Float32[np.ndarray, " dim"], list[tuple[Target, HeatMap | None]]]:
    """Return the vector of a preprocessed image, and its k best candidates, best first, with their heat maps.

    rank: of taxa. maps: number of candidates with a map; None is all by occlusion, one by gradient.
    """
    vector = unmasked_vector(classifier.model, pixels)
    targets = candidate_targets(classifier, vector, k, rank)
    method = choose_method(classifier.model, method, window)
    shown = targets[: (None if method == "occlusion" else 1) if maps is None else maps]
    drawn = heat_maps(classifier.model, pixels, shown, method=method, window=window)
    return vector, list(zip_longest(targets, drawn))


def unmasked_vector(model: Model, pixels: Pixels) -> Float32[np.ndarray, " dim"]:
    """Return the unit vector of one preprocessed image."""
    [vectors] = model.embedder.pixels([pixels])
    return vectors[0]


def heat_maps(
    model: Model,
    pixels: Pixels,
    targets: Sequence[Target],
    *,
    method: Method | None = None,
    window: int | None = None,
) -> list[HeatMap]:
    """Return a heat map of each candidate for one preprocessed image.

    occlusion: the change of log p when a window of patches is removed from the tower's input sequence, as it
    is and for each window, in the same passes for all candidates. gradient: integrated gradients
    (Sundararajan et al. 2017, https://arxiv.org/abs/1703.01365) of log p with respect to factors of the
    patches' attention, from no patch to all; as much work as some 24 passes for each candidate. None takes
    occlusion, but on a CPU gradients for towers whose occlusion takes minutes. window: its side, None for
    default_window.

    Raises UserError for another method, and for a window that does not fit.
    """
    grid = model.config.vision.grid
    if window is not None and not 1 <= window < grid:
        raise UserError(f"the window is {window} patches; give 1 to {grid - 1}")
    if choose_method(model, method, window) == "gradient":
        return _by_gradient(model, pixels, targets)
    return _by_occlusion(model, pixels, targets, window or default_window(grid))


def choose_method(model: Model, method: Method | None = None, window: int | None = None) -> Method:
    """Return the method of heat_maps, given or by the model's size. Raises UserError for another one."""
    if method is not None:
        if method not in METHODS:
            raise UserError(f"the method {method!r} does not exist; choose from {', '.join(METHODS)}")
        return method
    if window is not None or model.device != "cpu":
        return "occlusion"
    vision = model.config.vision
    return "occlusion" if _cost(vision, default_window(vision.grid)) <= _CPU_BUDGET else "gradient"


def _cost(vision: VisionConfig, window: int) -> float:
    """Return the multiply-adds of the occlusion of an image."""
    tokens, width = vision.tokens, vision.width
    block = tokens * (4 * width**2 + 2 * width * vision.mlp_width + 2 * tokens * width)
    return len(windows(vision.grid, window)) * vision.layers * block


def windows(grid: int, side: int) -> Bool[np.ndarray, "windows patches"]:
    """Return the patches of square windows that tile the grid, the last ones moved inside; True is inside."""
    starts = [min(start, grid - side) for start in range(0, grid, side)]
    inside = np.zeros((len(starts) ** 2, grid, grid), bool)
    for number, (top, left) in enumerate((top, left) for top in starts for left in starts):
        inside[number, top : top + side, left : left + side] = True
    return inside.reshape(len(inside), -1)


def default_window(grid: int) -> int:
    """Return the side of a window that is about a seventh of the image's."""
    return max(1, round(grid / 7))


def _by_occlusion(model: Model, pixels: Pixels, targets: Sequence[Target], window: int) -> list[HeatMap]:
    encoder = masked_encoder(model)
    removed = windows(encoder.grid, window)
    patches = removed.shape[1]
    kept = np.concatenate([np.ones((1, patches), bool), np.zeros((1, patches), bool), ~removed])
    features = encoder.features(pixels, kept)
    maps = []
    for target in targets:
        log_p = target.log_probability(features)
        falls = log_p[0] - log_p[2:]
        values = (falls @ removed) / removed.sum(axis=0)
        grid = values.reshape(encoder.grid, encoder.grid).astype(np.float32)
        maps.append(HeatMap(grid, "occlusion", window, float(log_p[0]), float(log_p[1])))
    return maps


def _by_gradient(model: Model, pixels: Pixels, targets: Sequence[Target]) -> list[HeatMap]:
    encoder = masked_encoder(model)
    patches = encoder.grid**2
    ends = np.stack([np.ones(patches, bool), np.zeros(patches, bool)])
    features = encoder.features(pixels, ends)
    nodes, weights = _quadrature(STEPS)
    gates = np.repeat(nodes[:, None], patches, axis=1).astype(np.float32)
    maps = []
    for target in targets:
        log_p = target.log_probability(features)
        gradients = encoder.gradients(pixels, gates, target.linear(features[0]))
        values = (weights @ gradients.astype(np.float64)).astype(np.float32)
        grid = values.reshape(encoder.grid, encoder.grid)
        maps.append(HeatMap(grid, "gradient", None, float(log_p[0]), float(log_p[1])))
    return maps


def _quadrature(steps: int) -> tuple[Float64[np.ndarray, " steps"], Float64[np.ndarray, " steps"]]:
    """Return nodes and weights of Gauss and Legendre between 0 and 1, closer near 0.

    The first traces of a patch change most; the nodes are squares of Gauss and Legendre's.
    """
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    roots = (nodes + 1) / 2
    return roots**2, weights * roots
