"""Published scores of BioCLIP 2, BioCAP, BioCLIP and CLIP, in percent.

Sources: BioCLIP 2, BioCLIP and CLIP in the paper of BioCLIP 2 (https://arxiv.org/abs/2505.23883) and on
https://imageomics.github.io/bioclip-2/; BioCAP in https://arxiv.org/abs/2510.20095 and on
https://imageomics.github.io/biocap/, zero-shot only, by the same code on the same ten sets.

Missing: the few-shot scores, which are in the papers' appendices; and BioCLIP 2.5, for which
https://imageomics.github.io/bioclip-ecosystem/pages/models.html gives only gains over BioCLIP 2: 5.7 in the
zero-shot mean, 3.5 in the mean of the other tasks, 8.7 in FishNet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# CLIP is the ViT-L-14 of LAION-2B, from which BioCLIP 2 is initialized.
SYSTEMS = ("BioCLIP 2", "BioCAP", "BioCLIP", "CLIP")


@dataclass(frozen=True)
class ReferenceScore:
    """One row of the paper.

    part: its table, a key of PARTS. protocol: name of the protocol. figures: score by system. sets: number
    of sets that the scores are the mean of.
    """

    title: str
    part: str
    protocol: str
    figures: Mapping[str, float]
    sets: int = 1


@dataclass(frozen=True)
class Part:
    """One table of the paper: its title, and the mean over its rows by system."""

    title: str
    mean: Mapping[str, float]


def _by_system(bioclip_2: float, biocap: float | None, bioclip: float, clip: float) -> dict[str, float]:
    figures = zip(SYSTEMS, (bioclip_2, biocap, bioclip, clip))
    return {system: figure for system, figure in figures if figure is not None}


def _zero_shot(title: str, *figures: float, sets: int = 1) -> ReferenceScore:
    return ReferenceScore(title, "zero-shot", "zero-shot", _by_system(*figures), sets)


def _task(title: str, protocol: str, bioclip_2: float, bioclip: float, clip: float) -> ReferenceScore:
    return ReferenceScore(title, "tasks", protocol, _by_system(bioclip_2, None, bioclip, clip))


PARTS = {
    "zero-shot": Part("Species, zero-shot", _by_system(55.6, 46.4, 37.6, 25.5)),
    "tasks": Part("Other tasks", _by_system(57.5, None, 49.0, 42.7)),
}

# In the paper's order.
REFERENCE_SCORES = {
    "nabirds": _zero_shot("NABirds", 74.9, 67.6, 58.8, 66.5),
    "plankton": _zero_shot("Plankton", 3.9, 7.2, 6.1, 1.3),
    "insects": _zero_shot("Insects", 55.3, 41.9, 34.9, 9.0),
    "insects2": _zero_shot("Insects 2", 27.7, 23.7, 20.5, 11.7),
    "camera-trap": _zero_shot("Camera Trap", 53.9, 37.4, 31.7, 29.5, sets=5),
    "plantnet": _zero_shot("PlantNet", 96.8, 93.6, 88.2, 61.7),
    "fungi": _zero_shot("Fungi", 83.8, 64.4, 40.9, 7.6),
    "plantvillage": _zero_shot("PlantVillage", 25.1, 33.0, 19.0, 6.5),
    "medicinal-leaf": _zero_shot("Medicinal Leaf", 57.8, 51.4, 38.5, 25.6),
    "rare-species": _zero_shot("Rare Species", 76.8, 44.2, 37.1, 35.2),
    "fishnet": _task("FishNet", "fishnet", 39.8, 30.1, 27.9),
    "newt": _task("NeWT", "newt", 89.1, 82.7, 83.4),
    "awa2": _task("AwA2", "awa2", 69.5, 65.9, 61.6),
    "herbarium19": _task("Herbarium19", "herbarium19", 48.6, 26.8, 18.2),
    "plantdoc": _task("PlantDoc", "plantdoc", 40.4, 39.5, 22.3),
}
