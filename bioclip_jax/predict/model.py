"""A model as Python code uses it."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32

from bioclip_jax.convert.load import ModelBundle, resolve
from bioclip_jax.models import CLIPConfig
from bioclip_jax.pipeline.images import Preprocess
from bioclip_jax.predict.embedder import Embedder
from bioclip_jax.predict.pixels import ImageLike


class Model:
    """Images and texts to unit vectors whose dot product, times `logit_scale`, is a logit.

    config: the architecture. preprocess: the transform from a picture to the model's pixels. source: where the
    weights came from.
    """

    def __init__(self, bundle: ModelBundle, *, batch_size: int | None = None) -> None:
        """`batch_size`: images that are encoded together; None chooses for the kind of device."""
        self.embedder = Embedder(bundle, batch_size=batch_size)
        self.config: CLIPConfig = bundle.config
        self.preprocess: Preprocess = bundle.preprocess
        self.source: str = bundle.source
        self.logit_scale: float = math.exp(float(bundle.params["logit_scale"]))

    def encode_image(self, images: ImageLike | Sequence[ImageLike]) -> Float32[np.ndarray, "n embed_dim"]:
        """Unit vectors of images: paths, PIL images or uint8 arrays [height, width, 3]; one counts as a list of one.

        UserError for an image that cannot be read.
        """
        single = not isinstance(images, (list, tuple)) and not (isinstance(images, np.ndarray) and images.ndim == 4)
        return self.embedder.images([images] if single else images)

    def encode_text(self, texts: str | Sequence[str]) -> Float32[np.ndarray, "n embed_dim"]:
        """Unit vectors of texts; one counts as a list of one. A text longer than the context is cut."""
        return self.embedder.texts([texts] if isinstance(texts, str) else texts)


def load_model(model: str | os.PathLike[str], *, batch_size: int | None = None) -> Model:
    """Load a MODEL: a training directory, a checkpoint in it, an exported or imported directory, local-dir:PATH or
    hf-hub:ORG/NAME. UserError if it is none of these."""
    return Model(resolve(os.fspath(model)), batch_size=batch_size)
