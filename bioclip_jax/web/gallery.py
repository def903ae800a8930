"""The server's own images: the folder of the map, and examples for visitors without photos."""

from __future__ import annotations

import io
import os
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from importlib import resources
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from bioclip_jax.errors import UserError, listing
from bioclip_jax.pipeline.images import BadImage, Preprocess, open_image
from bioclip_jax.predict import ImageFile, find_images
from bioclip_jax.tables import is_table

from .map import project
from .photos import Columns, Photo, make_thumbnail, read_metadata, read_photo
from .queue import Busy
from .service import PhotoService
from .uploads import Upload

# More points do not make a map clearer, and t-SNE would take minutes.
MAX_IMAGES = 2000
# Images per turn in the queue; visitors' requests come in between.
_CHUNK = 32
_CACHED_THUMBNAILS = 512

_EXAMPLES = 6
# Pictures in drawings/, written by data/tree_of_life_mini; none of these is in the quickstart's splits.
_DRAWINGS = (
    "pennant coralfish",
    "common dandelion",
    "painted lady",
    "red-capped scaber stalk",
    "coal tit",
    "common frog",
)
_MAX_EXAMPLE_BYTES = 20_000_000
# Unreadable images to try before a folder counts as one without examples.
_MAX_TRIED = 60


class Gallery:
    """At most 2,000 images of a folder or another input, evenly spaced, with columns of its metadata.csv.

    name: of the folder. images: the images. total: their number before the choice. A background thread runs
    `embed`; until it is done, a map shows the images that have vectors already.
    """

    def __init__(self, path: str, service: PhotoService) -> None:
        """List the images. Raises UserError if there are none."""
        files = find_images([path])
        self.name, self.total = os.path.basename(os.path.abspath(path)), len(files)
        self.images = files[:: -(-len(files) // MAX_IMAGES)]
        self._service = service
        self._metadata: dict[str, Columns] = {}
        table = path if is_table(path) else os.path.join(path, "metadata.csv")
        if os.path.isfile(table):
            with open(table, "rb") as file:
                self._metadata = read_metadata(file.read(), table)
        self._root = os.path.dirname(table)
        self._photos: list[Photo] = []
        self._indices: list[int] = []
        self._maps: dict[tuple[str, int], Float64[np.ndarray, "n 2"]] = {}
        self._thumbnails: OrderedDict[int, bytes] = OrderedDict()
        self._map_lock, self._thumbnail_lock = threading.Lock(), threading.Lock()

    def embed(self) -> None:
        """Compute the vectors; unreadable images are skipped, and counted on standard error at the end."""
        start = 0
        while start < len(self.images):
            chunk = self.images[start : start + _CHUNK]
            try:
                indices, vectors = self._service.embed(chunk)
                photos = [self._photo(chunk[index].name, vector) for index, vector in zip(indices, vectors)]
                self._photos.extend(self._service.with_predicted_columns(photos))
            except Busy:  # visitors have priority
                time.sleep(1)
                continue
            self._indices.extend(start + index for index in indices)
            start += _CHUNK
        skipped = len(self.images) - len(self)
        if skipped:
            images = f"{skipped} unreadable image{'s' if skipped > 1 else ''}"
            print(f"warning: the map skips {images} of {self.name}", file=sys.stderr)

    def _photo(self, name: str, vector: np.ndarray) -> Photo:
        shown = os.path.relpath(name, self._root)
        metadata = self._metadata.get(shown) or self._metadata.get(os.path.basename(name)) or {}
        return Photo(shown, b"", vector, metadata=metadata)

    def map(self, method: str) -> tuple[list[Photo], list[str], Float64[np.ndarray, "n 2"]]:
        """Return the photos with vectors, URLs of their thumbnails, and cached coordinates by `method`."""
        with self._map_lock:
            photos = self.photos
            count = len(photos)
            key = (method, count)
            if key not in self._maps:
                self._maps = {key: points for key, points in self._maps.items() if key[1] == count}
                self._maps[key] = project(np.stack([photo.vector for photo in photos]), method)
            return photos, [f"photos/{index}.jpg" for index in self._indices[:count]], self._maps[key]

    def __len__(self) -> int:
        """Return the number of images with vectors."""
        return len(self._indices)

    @property
    def photos(self) -> list[Photo]:
        """Images with vectors, without thumbnails."""
        # `embed` extends the indices last, so their number counts complete entries only.
        return self._photos[: len(self._indices)]

    def thumbnail(self, index: int) -> bytes:
        """Thumbnail of an image. Raises UserError if it does not exist or is unreadable."""
        if not 0 <= index < len(self.images):
            raise UserError(f"there is no image {index}")
        with self._thumbnail_lock:
            if index not in self._thumbnails:
                try:
                    self._thumbnails[index] = make_thumbnail(open_image(self.images[index].read()))
                except (BadImage, OSError) as error:
                    raise UserError(f"image {index} cannot be read") from error
                if len(self._thumbnails) > _CACHED_THUMBNAILS:
                    self._thumbnails.popitem(last=False)
            self._thumbnails.move_to_end(index)
            return self._thumbnails[index]


class Example(NamedTuple):
    """A readable picture: name, encoded bytes, and a small JPEG."""

    name: str
    content: bytes
    thumbnail: bytes


def find_examples(images: Sequence[ImageFile], preprocess: Preprocess) -> list[Example]:
    """Choose six of `images`, evenly spaced, or without images six drawings.

    Unreadable images are replaced by others and reported on standard error. preprocess: of the model, which
    must accept the examples.
    """
    if not images:
        return [example for name, content in _drawings() if (example := _example(name, content, preprocess))]
    step = max(1, len(images) // _EXAMPLES)
    # Evenly spaced images first, then those between them.
    order = [index for first in range(step) for index in range(first, len(images), step)]
    chosen: dict[int, Example] = {}
    skipped = []
    for index in order[:_MAX_TRIED]:
        try:
            example = _example(os.path.basename(images[index].name), images[index].read(), preprocess)
        except (OSError, UserError):
            example = None
        if example is None:
            skipped.append(images[index].name)
        else:
            chosen[index] = example
        if len(chosen) == _EXAMPLES:
            break
    if skipped:
        print(f"warning: skipped unreadable images as examples: {listing(skipped, 1)}", file=sys.stderr)
    return [chosen[index] for index in sorted(chosen)]


def _example(name: str, content: bytes, preprocess: Preprocess) -> Example | None:
    decoded = read_photo(Upload(name, io.BytesIO(content)), _MAX_EXAMPLE_BYTES, preprocess)
    return None if isinstance(decoded, UserError) else Example(name, content, decoded[1])


def _drawings() -> Iterable[tuple[str, bytes]]:
    folder = resources.files(__package__) / "drawings"
    return ((f"{name}.jpg", (folder / f"{name.replace(' ', '_')}.jpg").read_bytes()) for name in _DRAWINGS)
