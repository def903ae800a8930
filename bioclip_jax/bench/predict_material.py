"""What bench predict predicts: names of labels, and photographs."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.images import BadImage, decode
from bioclip_jax.predict import find_images

FEW_NAMES = ["oak", "daisy", "fox", "heron", "salmon", "beetle", "fern", "toadstool"]
_MORE = ["maple", "lily", "wolf", "owl", "trout", "moth", "moss", "newt", "frog", "crab", "spider", "snail"]
_LOOKS = ["red", "white", "black", "brown", "grey", "common", "great", "spotted", "striped", "golden"]
_PLACES = ["northern", "southern", "alpine", "marsh", "sea", "wood", "garden", "river", "island", "desert"]


def many_names(count: int) -> list[str]:
    """Distinct names of two or three words."""
    kinds = [*_LOOKS, *_PLACES, *(" ".join(pair) for pair in itertools.product(_LOOKS, _PLACES))]
    names = [f"{kind} {name}" for kind in kinds for name in (*FEW_NAMES, *_MORE)]
    if count > len(names):
        raise UserError(f"{count} labels are too many to make up names for; give at most {len(names)}")
    return names[:count]


def photographs_in(images: str) -> list[str]:
    """The files of a folder, a glob or the like. UserError where there are none."""
    found = [image.name for image in find_images([images]) if image.size is None]
    if not found:
        raise UserError(f"{images} holds images only within tars, which pybioclip does not read; give files")
    return found


def check_photographs(paths: Sequence[str]) -> None:
    """UserError for one that cannot be read, before anything is timed."""
    for path in paths:
        try:
            decode(Path(path).read_bytes())
        except (BadImage, OSError, ValueError) as error:
            raise UserError(f"{path} cannot be read as an image ({error}); leave it out") from error


def make_photographs(folder: Path, count: int = 32) -> list[str]:
    """JPEGs of 640 x 480: soft blots with some grain."""
    from PIL import Image

    rng = np.random.default_rng(0)
    folder.mkdir()
    for place in range(count):
        blots = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8)).resize(
            (640, 480), Image.Resampling.BICUBIC
        )
        grain = rng.normal(0, 8, (480, 640, 3))
        Image.fromarray(np.clip(blots + grain, 0, 255).astype(np.uint8)).save(
            folder / f"{place:02}.jpg", quality=90
        )
    return [str(path) for path in sorted(folder.iterdir())]
