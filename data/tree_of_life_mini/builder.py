"""TFDS builder of the drawings, with disjoint individuals and held-out species in its splits."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np
import tensorflow_datasets as tfds

from bioclip_jax.datasets.tree_of_life_mini import tree
from bioclip_jax.datasets.tree_of_life_mini.individual import Individual
from bioclip_jax.text import RANKS

_FIRST_NUMBER = {"train": 0, "validation": 2000, "test": 4000, "unseen": 6000}
_THREADS = 2


@dataclass
class MiniConfig(tfds.core.BuilderConfig):
    """Individuals per species in each split. A smaller configuration is a subset of a larger one."""

    train: int = 60
    validation: int = 6
    test: int = 12
    unseen: int = 20


class TreeOfLifeMini(tfds.core.GeneratorBasedBuilder):
    """Procedural drawings of organisms of the tree of life, in which relatives look alike."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First drawings."}
    BUILDER_CONFIGS = [
        MiniConfig(name="full", description="Training data of the quickstart."),
        MiniConfig(name="tiny", description="For tests.", train=3, validation=1, test=1, unseen=2),
    ]
    DEFAULT_BUILDER_CONFIG_NAME = "full"

    def _info(self) -> tfds.core.DatasetInfo:
        labels = (*RANKS, "common_name", "life_stage", "sex", "health", "trait_name")
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.__doc__,
            features=tfds.features.FeaturesDict(
                {
                    "key": tfds.features.Text(),
                    "image": tfds.features.Image(shape=(128, 128, 3), encoding_format="jpeg"),
                    **{label: tfds.features.Text() for label in labels},
                    "trait_value": tfds.features.Scalar(np.float32),
                }
            ),
            license="MIT",
        )

    def _split_generators(self, dl_manager):
        del dl_manager
        return {split: self._generate_examples(split) for split in _FIRST_NUMBER}

    def _generate_examples(self, split: str) -> Iterator[tuple[str, dict]]:
        """Yield (key, features) of a split. OpenCV releases the GIL, so two threads draw faster."""
        species = [s for s in tree.species() if s.unseen == (split == "unseen")]
        numbers = range(_FIRST_NUMBER[split], _FIRST_NUMBER[split] + getattr(self.builder_config, split))
        individuals = ((s, n) for s in species for n in numbers)
        with ThreadPoolExecutor(_THREADS) as pool:
            while batch := list(islice(individuals, 64)):
                yield from pool.map(_example, batch)


def _example(which: tuple[tree.Species, int]) -> tuple[str, dict]:
    individual = Individual.from_seed(*which)
    taxon = individual.species.taxon
    return individual.key, {
        "key": individual.key,
        "image": individual.picture(),
        **{rank: taxon.rank(rank) for rank in RANKS},
        "common_name": taxon.common_name,
        "life_stage": individual.life_stage,
        "sex": individual.sex,
        "health": individual.health,
        "trait_name": individual.trait_name,
        "trait_value": individual.trait_value,
    }
