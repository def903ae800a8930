"""TFDS builders of the data sets; importing this package registers them by name."""

from bioclip_jax.datasets.evaluation import (
    AwA2,
    CameraTrap,
    FishNet,
    Herbarium19,
    MetaAlbum,
    NABirds,
    NeWT,
    PlantDoc,
    RareSpecies,
)
from bioclip_jax.datasets.tree_of_life import TreeOfLife
from bioclip_jax.datasets.tree_of_life_mini import TreeOfLifeMini

__all__ = [
    "AwA2",
    "CameraTrap",
    "FishNet",
    "Herbarium19",
    "MetaAlbum",
    "NABirds",
    "NeWT",
    "PlantDoc",
    "RareSpecies",
    "TreeOfLife",
    "TreeOfLifeMini",
]
