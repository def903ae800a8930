"""BioCLIP 2's evaluation sets as TFDS builders over the publishers' downloads, one file per publisher."""

from bioclip_jax.datasets.evaluation.awa2 import AwA2
from bioclip_jax.datasets.evaluation.camera_trap import CameraTrap
from bioclip_jax.datasets.evaluation.fishnet import FishNet
from bioclip_jax.datasets.evaluation.herbarium19 import Herbarium19
from bioclip_jax.datasets.evaluation.meta_album import MetaAlbum
from bioclip_jax.datasets.evaluation.nabirds import NABirds
from bioclip_jax.datasets.evaluation.newt import NeWT
from bioclip_jax.datasets.evaluation.plantdoc import PlantDoc
from bioclip_jax.datasets.evaluation.rare_species import RareSpecies

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
]
