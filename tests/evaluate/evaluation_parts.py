"""Protocols, sources and entries for tests of suites."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from PIL import Image

from bioclip_jax.errors import UserError
from bioclip_jax.evaluate.protocols.base import ModelOutputs, Score
from bioclip_jax.evaluate.suite import Entry, Location
from bioclip_jax.models import get_config
from bioclip_jax.pipeline.sources import FolderSource, Sample
from bioclip_jax.predict.embedding import LabeledEmbeddings

CONFIG = get_config("ViT-Test-16")


@dataclass(frozen=True)
class NearestOther:
    """The class of the nearest other image."""

    name: ClassVar[str] = "nearest-other"
    score: ClassVar[str] = "top1"
    splits: ClassVar[tuple[str, ...]] = ("test",)

    among: int = 100

    def __call__(self, sets: Mapping[str, LabeledEmbeddings], model: ModelOutputs) -> Score:
        images = sets["test"]
        labels = images.column("color")[: self.among]
        cosines = images.unit[: self.among] @ images.unit[: self.among].T - 2 * np.eye(len(labels))
        right = [labels[index] == label for index, label in zip(cosines.argmax(axis=1), labels)]
        rows = [{"key": sample.key, "right": hit} for sample, hit in zip(images.samples, right)]
        return Score({"top1": np.mean(right), "n": len(right), "spread": np.nan}, {"images": rows})


@dataclass(frozen=True)
class Refuses:
    name: ClassVar[str] = "refuses"
    score: ClassVar[str] = "top1"
    splits: ClassVar[tuple[str, ...]] = ("test",)

    stops: bool = False

    def __call__(self, sets: Mapping[str, LabeledEmbeddings], model: ModelOutputs) -> Score:
        if self.stops:
            raise KeyboardInterrupt
        raise UserError("unsuitable labels; give others")


class CountingSource:
    """A folder that counts the reads of each image."""

    def __init__(self, source: FolderSource) -> None:
        self.skipped_shards: list[str] = []
        self.reads: Counter[int] = Counter()
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Sample:
        self.reads[index] += 1
        return self._source[index]


def write_folder(folder, seed=0):
    folder.mkdir()
    random = np.random.default_rng(seed)
    lines = ["filepath,color"]
    for number in range(6):
        pixels = np.full((30, 50, 3), random.integers(0, 255, 3), np.uint8) + random.integers(
            0, 9, (30, 50, 3), np.uint8
        )
        Image.fromarray(pixels).save(folder / f"{number}.png")
        lines.append(f"{number}.png,{'ab'[number % 2]}")
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n")
    return folder


def entry(name, source, protocol=None, **more):
    return Entry(name, protocol or NearestOther(), {"test": source}, Location(data="photos"), **more)
