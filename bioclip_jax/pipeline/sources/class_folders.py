"""Images in one folder for each class."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from bioclip_jax.file_kinds import is_image

from .sample import Sample

# Metadata of a sample: the name of the folder that holds its class.
LABEL_COLUMN = "label"


class ClassFolderSource:
    """Images below a folder, each labeled by the first folder below it on the image's path.

    Keys are paths relative to the folder. The label is metadata, since a folder's name may be a taxon or not.
    """

    def __init__(self, folder: str | Path, files: Sequence[Path]):
        """`files`: all files below the folder, sorted; only images in folders of their own count."""
        self.skipped_shards: list[str] = []
        self._folder = Path(folder)
        relative = (file.relative_to(folder) for file in files if is_image(file))
        self._paths = [os.fspath(path) for path in relative if len(path.parts) > 1]

    def __len__(self) -> int:
        return len(self._paths)

    def files(self) -> list[Path]:
        """The images."""
        return [self._folder / path for path in self._paths]

    def __getitem__(self, index: int) -> Sample:
        """The sample; its image is empty if the file is missing."""
        path = Path(self._paths[index])
        try:
            image = (self._folder / path).read_bytes()
        except FileNotFoundError:
            image = b""
        return Sample(os.fspath(path), image, {}, None, {LABEL_COLUMN: path.parts[0]})
