"""Published BioCLIP models (transforms, text embeddings, checksums), and recognition of their copies."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from bioclip_jax.files import file_sha256

__all__ = ["PUBLISHED", "TRANSFORMS", "Origin", "PublishedModel", "Transform", "recognize"]

# "model": the model's own preprocess_cfg, as open_clip applies it. "pybioclip": antialiased bilinear squash,
# as pybioclip's `preprocess_img`.
Transform = Literal["model", "pybioclip"]
TRANSFORMS: tuple[Transform, ...] = get_args(Transform)


@dataclass(frozen=True)
class PublishedModel:
    """A BioCLIP model of the Hub.

    dataset: dataset of the Hub with the text embeddings of its taxa, as embeddings/STEM.{npy,json} for the
    first available STEM of `embeddings`. transform: "pybioclip" for the TOL_MODELS of pybioclip 2.1.6;
    "model" for the others, for which pybioclip and their model cards use open_clip's preprocess_val.
    checksums: SHA-256 of its weights files by size in bytes, from the Hub; unknown for BioCAP.
    """

    dataset: str
    embeddings: tuple[str, ...]
    transform: Transform
    checksums: Mapping[int, str] = field(default_factory=dict)


# txt_emb_species belongs to BioCLIP in TreeOfLife-10M and to BioCLIP 2 in TreeOfLife-200M, so the others
# must not use it.
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
    """Provenance of a model's weights, which determines the preprocessing of `predict`.

    published: key of PUBLISHED if the weights are that model's, unchanged; else None. transform: "pybioclip"
    if they are, or were trained from, a model for which pybioclip squashes images; else "model".
    """

    published: str | None = None
    transform: Transform = "model"

    @classmethod
    def of(cls, published: str | None) -> Origin:
        """Return the origin of a published model by name, or that of any other model."""
        return cls(published, PUBLISHED[published].transform) if published in PUBLISHED else cls()

    @classmethod
    def from_record(cls, record: Any) -> Origin | None:
        """Read a record of `to_record`, ignoring unknown names; None for anything else."""
        if not isinstance(record, Mapping):
            return None
        published, transform = record.get("published"), record.get("transform")
        return cls(
            published if published in PUBLISHED else None, transform if transform in TRANSFORMS else "model"
        )

    def to_record(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


# A folder of huggingface_hub's cache, models--ORG--NAME/snapshots/REVISION.
_CACHED = re.compile(r"models--([^/\\]+?)--([^/\\]+)[/\\](?:snapshots|blobs)[/\\]")


def recognize(source: str, weights: Path, record: Any = None) -> Origin:
    """Return the origin of a model whose weights are in the file `weights`.

    Evidence, in this order: `source` or the folder in the Hub's cache is that of a published model, the
    `record` beside the weights (Origin.to_record), and the file's size and SHA-256.
    """
    if source in PUBLISHED:
        return Origin.of(source)
    for path in (weights.absolute(), weights.resolve()):
        cached = _CACHED.search(str(path))
        # Other repositories may hold models trained from a published one, as the record says.
        if cached and (name := f"hf-hub:{cached[1]}/{cached[2]}") in PUBLISHED:
            return Origin.of(name)
    if (recorded := Origin.from_record(record)) is not None:
        return recorded
    size = weights.stat().st_size
    for name, model in PUBLISHED.items():
        # Gigabytes are hashed only if the size matches.
        if size in model.checksums and file_sha256(weights) == model.checksums[size]:
            return Origin.of(name)
    return Origin()
