"""Pictures for visitors who have none at hand."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.images import Preprocess
from bioclip_jax.predict import ImageFile

from .photos import Upload, read_photo

_COUNT = 6
# An individual that is in none of the quickstart's splits.
_NUMBER = 7_000
_MOST_BYTES = 20_000_000
# Unreadable images that are tried before a folder is taken for one without examples.
_MOST_TRIED = 60


class Example(NamedTuple):
    """A readable picture: its name, its encoded bytes, and a small JPEG."""

    name: str
    content: bytes
    thumbnail: bytes


def examples(images: Sequence[ImageFile], preprocess: Preprocess) -> list[Example]:
    """Six of `images`, or without them of the quickstart's drawings, drawn anew.

    Unreadable images are reported on standard error and others taken instead. `preprocess`: the model's,
    which has to accept them.
    """
    if not images:
        return [example for name, content in _drawings() if (example := _readable(name, content, preprocess))]
    step = max(1, len(images) // _COUNT)
    # Evenly spread, then whatever is between.
    order = [place for first in range(step) for place in range(first, len(images), step)]
    chosen: dict[int, Example] = {}
    skipped = []
    for place in order[:_MOST_TRIED]:
        try:
            example = _readable(os.path.basename(images[place].name), images[place].read(), preprocess)
        except (OSError, UserError):
            example = None
        if example is None:
            skipped.append(images[place].name)
        else:
            chosen[place] = example
        if len(chosen) == _COUNT:
            break
    if skipped:
        more = f" and {len(skipped) - 1} more" if len(skipped) > 1 else ""
        print(f"warning: no example of unreadable images: {skipped[0]}{more}", file=sys.stderr)
    return [chosen[place] for place in sorted(chosen)]


def _readable(name: str, content: bytes, preprocess: Preprocess) -> Example | None:
    found = read_photo(Upload(name, io.BytesIO(content)), _MOST_BYTES, preprocess)
    return None if isinstance(found, UserError) else Example(name, content, found[1])


def _drawings() -> Iterable[tuple[str, bytes]]:
    from bioclip_jax.datasets.tree_of_life_mini.individual import Individual
    from bioclip_jax.datasets.tree_of_life_mini.tree import species

    classes = {kind.taxon.lineage("class"): kind for kind in species() if not kind.unseen}
    step = max(1, len(classes) // _COUNT)
    for kind in list(classes.values())[::step][:_COUNT]:
        individual = Individual.from_seed(kind, _NUMBER)
        yield f"{kind.taxon.common_name or kind.name}.jpg", individual.picture()
