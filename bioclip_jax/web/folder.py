"""The server's own folder of images, for the map."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import OrderedDict

import numpy as np
from jaxtyping import Float64

from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.images import BadImage, open_image
from bioclip_jax.predict import find_images
from bioclip_jax.tables import is_table

from .answers import Answers
from .limits import Busy
from .metadata import Columns, read_metadata
from .photos import Photo, make_thumbnail
from .projection import project

# A map of more points shows a person no more, and t-SNE takes minutes.
MOST_IMAGES = 2000
# Images a turn with the model; between two, visitors have theirs.
_CHUNK = 32
_KEPT_PICTURES = 512


class Folder:
    """At most 2,000 images of those that find_images names, evenly picked, and the columns that are known of them.

    name: what to call it. images: the images. found: how many there were. Their vectors are made by `embed`,
    which runs in the background; until it is done, a map shows the images that it has got to.
    """

    def __init__(self, path: str, answers: Answers) -> None:
        """UserError where there are no images."""
        found = find_images([path])
        self.name, self.found = os.path.basename(os.path.abspath(path)), len(found)
        self.images = found[:: -(-len(found) // MOST_IMAGES)]
        self._answers = answers
        self._metadata: dict[str, Columns] = {}
        table = path if is_table(path) else os.path.join(path, "metadata.csv")
        if os.path.isfile(table):
            with open(table, "rb") as file:
                self._metadata = read_metadata(file.read(), table)
        self._root = os.path.dirname(table)
        self._photos: list[Photo] = []
        self._places: list[int] = []
        self._maps: dict[tuple[str, int], Float64[np.ndarray, "n 2"]] = {}
        self._thumbnails: OrderedDict[int, bytes] = OrderedDict()
        self._projecting, self._decoding = threading.Lock(), threading.Lock()

    def embed(self) -> None:
        """Makes the vectors; unreadable images are skipped, and counted on standard error at the end."""
        start = 0
        while start < len(self.images):
            some = self.images[start : start + _CHUNK]
            try:
                places, vectors = self._answers.vectors(some)
                photos = [self._photo(some[place].name, vector) for place, vector in zip(places, vectors)]
                self._photos.extend(self._answers.with_predicted_columns(photos))
            except Busy:  # visitors come first
                time.sleep(1)
                continue
            self._places.extend(start + place for place in places)
            start += _CHUNK
        skipped = len(self.images) - len(self)
        if skipped:
            images = f"{skipped} unreadable image{'s' if skipped > 1 else ''}"
            print(f"warning: the map skips {images} of {self.name}", file=sys.stderr)

    def _photo(self, name: str, vector: np.ndarray) -> Photo:
        shown = os.path.relpath(name, self._root)
        about = self._metadata.get(shown) or self._metadata.get(os.path.basename(name)) or {}
        return Photo(shown, b"", vector, about=about)

    def map(self, method: str) -> tuple[list[Photo], list[str], Float64[np.ndarray, "n 2"]]:
        """The photos that are done, where their thumbnails are, and their places by `method`, which are kept."""
        with self._projecting:
            photos = self.photos
            count = len(photos)
            key = (method, count)
            if key not in self._maps:
                self._maps = {kept: places for kept, places in self._maps.items() if kept[1] == count}
                self._maps[key] = project(np.stack([photo.vector for photo in photos]), method)
            return photos, [f"photos/{place}.jpg" for place in self._places[:count]], self._maps[key]

    def __len__(self) -> int:
        """How many images are done."""
        return len(self._places)

    @property
    def photos(self) -> list[Photo]:
        """The images that are done, without their thumbnails."""
        # The places grow last, so they say how many are whole.
        return self._photos[: len(self._places)]

    def thumbnail(self, place: int) -> bytes:
        """A small JPEG of an image by its place. UserError where there is none."""
        if not 0 <= place < len(self.images):
            raise UserError(f"there is no image {place}")
        with self._decoding:
            if place not in self._thumbnails:
                try:
                    self._thumbnails[place] = make_thumbnail(open_image(self.images[place].read()))
                except (BadImage, OSError) as error:
                    raise UserError(f"image {place} cannot be read") from error
                if len(self._thumbnails) > _KEPT_PICTURES:
                    self._thumbnails.popitem(last=False)
            self._thumbnails.move_to_end(place)
            return self._thumbnails[place]
