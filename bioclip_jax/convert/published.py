"""The published BioCLIP models: their transforms, text embeddings and weights files, and how a copy is recognized."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

__all__ = ["PUBLISHED", "TRANSFORMS", "Origin", "PublishedModel", "Transform", "recognize"]

# "model": the transform of the model's own preprocess_cfg, as open_clip applies it. "pybioclip": the whole
# picture squashed, bilinear and antialiased, as pybioclip's `preprocess_img` does.
Transform = Literal["model", "pybioclip"]
TRANSFORMS: tuple[Transform, ...] = get_args(Transform)


@dataclass(frozen=True)
class PublishedModel:
    """A BioCLIP model of the Hub.

    dataset: the dataset of the Hub that holds the text embeddings of its taxa, as embeddings/STEM.{npy,json}
    for a STEM of `embeddings`, the first that is there. transform: "pybioclip" for the models of pybioclip
    2.1.6's TOL_MODELS; "model" for the others, which pybioclip and their model cards show pictures as
    open_clip's preprocess_val does.
    checksums: SHA-256 of its weights files by their sizes in bytes, as the Hub states them; none are known of
    BioCAP.
    """

    dataset: str
    embeddings: tuple[str, ...]
    transform: Transform
    checksums: Mapping[int, str] = field(default_factory=dict)


# txt_emb_species is BioCLIP's in TreeOfLife-10M and BioCLIP 2's in TreeOfLife-200M, so the others must not
# take it.
PUBLISHED: dict[str, PublishedModel] = {
    "hf-hub:imageomics/bioclip": PublishedModel(
        "imageomics/TreeOfLife-10M",
        ("txt_emb_species", "txt_emb_bioclip"),
        "pybioclip",
        {598_599_013: "e380384f0c30d425d8c6c40f24471f9dd497fbdfa734a89c461a94aee95f0ef4"},
    ),
    "hf-hub:imageomics/bioclip-2": PublishedModel(
        "imageomics/TreeOfLife-200M",
        ("txt_emb_species", "txt_emb_bioclip-2"),
        "pybioclip",
        {
            1_710_517_724: "b7b2bf6fbc95799e42630e394cf95803892ab447c1a8ab629dbc82fbeaf7dfef",
            1_710_639_510: "035208dd616321f6c220384efaa1f10e9fcd8e1f2998ddefc88687718d186a85",
        },
    ),
    "hf-hub:imageomics/bioclip-2.5-vith14": PublishedModel(
        "imageomics/TreeOfLife-200M",
        ("txt_emb_bioclip-2.5-vith14",),
        "model",
        {3_944_517_804: "ac2e37c2f89ef8e6b889176a9a3f418970ad9db15a218bd29e3321e95c46ae97"},
    ),
    "hf-hub:imageomics/biocap": PublishedModel("imageomics/TreeOfLife-10M", ("txt_emb_biocap",), "model"),
}


@dataclass(frozen=True)
class Origin:
    """Descent of a model's weights, which decides how `predict` prepares images.

    published: the key of PUBLISHED whose weights they are, unchanged; None for any others. transform:
    "pybioclip" where they are, or were trained from, a model that pybioclip shows squashed pictures; else
    "model".
    """

    published: str | None = None
    transform: Transform = "model"

    @classmethod
    def of(cls, published: str | None) -> Origin:
        """The origin of the model of that name; where it is none of PUBLISHED, that of any other model."""
        return cls(published, PUBLISHED[published].transform) if published in PUBLISHED else cls()

    @classmethod
    def from_record(cls, record: Any) -> Origin | None:
        """Read a record of `to_record`, without names that this version does not know; None for anything else."""
        if not isinstance(record, Mapping):
            return None
        published, transform = record.get("published"), record.get("transform")
        return cls(
            published if published in PUBLISHED else None, transform if transform in TRANSFORMS else "model"
        )

    def to_record(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


# A folder of huggingface_hub's cache, models--ORG--NAME/snapshots/REVISION.
_CACHED = re.compile(r"models--([^/\\]+?)--([^/\\]+)[/\\](?:snapshots|blobs)[/\\]")


def recognize(source: str, weights: Path, record: Any = None) -> Origin:
    """The origin of a model whose weights lie in the file `weights`.

    Evidence, in this order: a published name as `source`, the folder of one in the Hub's cache, the `record`
    beside the weights (Origin.to_record), and the file's size and SHA-256.
    """
    if source in PUBLISHED:
        return Origin.of(source)
    for path in (weights.absolute(), weights.resolve()):
        cached = _CACHED.search(str(path))
        # Of other repositories, such as a model that was trained from a published one, the record says more.
        if cached and (name := f"hf-hub:{cached[1]}/{cached[2]}") in PUBLISHED:
            return Origin.of(name)
    if (recorded := Origin.from_record(record)) is not None:
        return recorded
    size = weights.stat().st_size
    for name, model in PUBLISHED.items():
        # Only a file of the right size is worth reading for its checksum.
        if size in model.checksums and _sha256(weights) == model.checksums[size]:
            return Origin.of(name)
    return Origin()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
