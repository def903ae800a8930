"""Pictures for visitors who have none at hand."""

from __future__ import annotations

import os
from collections.abc import Sequence

from bioclip_jax.predict.inputs import ImageFile

_COUNT = 6
# An individual that is in none of the quickstart's splits.
_NUMBER = 7_000


def examples(images: Sequence[ImageFile] = ()) -> list[tuple[str, bytes]]:
    """Names and encoded pictures: six of `images`, or without them of the quickstart's drawings, made anew.

    OSError where an image cannot be read.
    """
    if images:
        chosen = images[:: max(1, len(images) // _COUNT)][:_COUNT]
        return [(os.path.basename(image.name), image.read()) for image in chosen]
    return _drawings()


def _drawings() -> list[tuple[str, bytes]]:
    from bioclip_jax.datasets.tree_of_life_mini.individual import Individual
    from bioclip_jax.datasets.tree_of_life_mini.tree import species

    classes = {kind.taxon.lineage("class"): kind for kind in species() if not kind.unseen}
    step = max(1, len(classes) // _COUNT)
    drawn = []
    for kind in list(classes.values())[::step][:_COUNT]:
        individual = Individual.from_seed(kind, _NUMBER)
        drawn.append((f"{kind.taxon.common_name or kind.name}.jpg", individual.picture()))
    return drawn
