"""A TFDS builder for the tests, in a module that a subprocess imports quickly."""

import io

import numpy as np
import tensorflow_datasets as tfds
from made_shards import encoded, picture

from bioclip_jax.text import RANKS, Taxon

APPLE = Taxon(
    "Plantae", "Tracheophyta", "Magnoliopsida", "Rosales", "Rosaceae", "Malus", "domestica", "apple"
)
FINCH = Taxon("Animalia", "Chordata", "Aves", "Passeriformes", "Thraupidae", "Geospiza", "fortis")


class TinyOrchard(tfds.core.GeneratorBasedBuilder):
    """Four apples and a finch, two of them for testing."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name="few", description="few"),
        tfds.core.BuilderConfig(name="fewer", description="fewer"),
    ]

    def _info(self):
        text = {name: tfds.features.Text() for name in (*RANKS, "common_name", "sex")}
        image = tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg")
        beak = tfds.features.Scalar(np.float32)
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict({"image": image, "beak": beak, **text})
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(3), "test": self._generate_examples(2)}

    def _generate_examples(self, count):
        for number in range(count):
            taxon = FINCH if number == 1 else APPLE
            ranks = dict(zip(RANKS, taxon.lineage()))
            yield (
                number,
                {
                    "image": io.BytesIO(encoded(picture(number))),
                    "beak": 0.25 + number,
                    "sex": "female",
                    **ranks,
                }
                | {"common_name": taxon.common_name},
            )
