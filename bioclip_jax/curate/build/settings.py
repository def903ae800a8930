"""Settings of a shard build, validated."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.images import ReadOptions


@dataclass(frozen=True)
class BuildSettings:
    """Settings of a shard build; by default only unusable samples are removed.

    Output: format "tar" (TreeOfLife shards) or "array_record". size: pixels, of both sides with resize
    "squash", as published, or of the shorter side with "shortest". resample: "antialias" (Lanczos), or
    "toolbox" for the pixels of the TreeOfLife toolbox, which made the published shards: OpenCV's cubic if
    `size` is below the shorter side, else its Lanczos-4. quality: of the JPEGs, 1 to 100. exif: as
    ReadOptions.

    Checks: min_side drops images with fewer pixels on the shorter side, min_range those of nearly one tone
    (16 is safe; see detectors.ImageChecks); 0 keeps all. filters: TOML files of detectors.

    Duplicates: dedup None, "exact" (equal bytes) or "near" (also within dedup_distance of PDQ's 256 bits,
    None for the default). observation_column: metadata column; images of one observation are compared more
    loosely. leakage: evaluation data whose images are removed, by equal bytes or within leakage_distance
    bits; images of a PDQ quality below 50 match by bytes only.

    Names: metadata is a CSV or Parquet table of labels, joined on the key. backbone, vernacular: taxonomy
    tables to align names with; language: of the common names; apply_fuzzy: apply near-misses; unresolved:
    keep or drop samples whose name is not in the backbone.
    """

    format: Literal["tar", "array_record"] = "tar"
    size: int = 224
    resize: Literal["squash", "shortest"] = "squash"
    resample: Literal["antialias", "toolbox"] = "antialias"
    quality: int = 95
    exif: Literal["apply", "ignore"] = "apply"
    samples_per_shard: int = 10_000
    seed: int = 0
    min_side: int = 0
    min_range: int = 0
    dedup: Literal["exact", "near"] | None = None
    dedup_distance: int | None = None
    observation_column: str | None = None
    leakage: tuple[str, ...] = ()
    leakage_distance: int | None = None
    filters: tuple[str, ...] = ()
    backbone: str | None = None
    vernacular: str | None = None
    language: str = "en"
    apply_fuzzy: bool = False
    unresolved: Literal["keep", "drop"] = "keep"
    metadata: str | None = None

    def __post_init__(self):
        for name in ("leakage", "filters"):
            object.__setattr__(self, name, _texts(getattr(self, name)))
        for name in ("backbone", "vernacular", "metadata"):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, str(value))
        _choice("format", self.format, ("tar", "array_record"))
        _choice("resize", self.resize, ("squash", "shortest"))
        _choice("resample", self.resample, ("antialias", "toolbox"))
        _choice("exif", self.exif, ("apply", "ignore"))
        _choice("unresolved", self.unresolved, ("keep", "drop"))
        if self.dedup is not None:
            _choice("dedup", self.dedup, ("exact", "near"))
        _within("size", self.size, 8, 8192)
        _within("quality", self.quality, 1, 100)
        _within("samples_per_shard", self.samples_per_shard, 1, 10_000_000)
        _within("min_side", self.min_side, 0, 65_535)
        _within("min_range", self.min_range, 0, 255)
        _within("seed", self.seed, 0, 2**63 - 1)
        for name in ("dedup_distance", "leakage_distance"):
            if getattr(self, name) is not None:
                _within(name, getattr(self, name), 0, 255)
        for name, needed, given in (
            ("dedup_distance", "dedup near", self.dedup == "near"),
            ("observation_column", "dedup near", self.dedup == "near"),
            ("leakage_distance", "leakage", bool(self.leakage)),
            ("vernacular", "backbone", self.backbone is not None),
            ("apply_fuzzy", "backbone", self.backbone is not None),
        ):
            if getattr(self, name) not in (None, False) and not given:
                raise UserError(f"{name} does nothing without {needed}; add {needed} or omit {name}")
        if self.unresolved == "drop" and self.backbone is None:
            raise UserError("unresolved=drop needs a backbone to resolve names against; give one")

    @property
    def read(self) -> ReadOptions:
        """Image reading options: strict, because a truncated image would stay in the shards."""
        return ReadOptions(exif=self.exif, strict=True)

    @property
    def needs_pdq(self) -> bool:
        """True if images need perceptual hashes."""
        return self.dedup == "near" or bool(self.leakage)

    @property
    def files(self) -> tuple[Path, ...]:
        """Input files besides the source: detectors and tables."""
        named = (*self.filters, self.backbone, self.vernacular, self.metadata)
        return tuple(Path(name).expanduser() for name in named if name is not None)


def _texts(values: Sequence[str | Path] | str | Path) -> tuple[str, ...]:
    values = (values,) if isinstance(values, (str, Path)) else values
    return tuple(str(value) for value in values)


def _choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UserError(f"{name} is {value!r}; choose {' or '.join(choices)}")


def _within(name: str, value: int, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise UserError(f"{name} is {value!r}; it must be a whole number from {low} to {high}")
