"""A learned head on disk: a folder with head.safetensors, head.json, report.html and review.csv.

Tensors of head.safetensors, all float32: weights [dim, classes], bias [classes]; vectors [photographs, dim]
and distances [calibrated], the reference of the familiarity. head.json describes the classes and how they
were learned, and holds the SHA-256 of the tensors' file.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32

from bioclip_jax.errors import InvalidValue, UserError, first_line
from bioclip_jax.files import apply_umask, file_sha256, json_text
from bioclip_jax.predict.rank import Rank
from bioclip_jax.predict.taxa import TaxaNames
from bioclip_jax.text import RANKS, Taxon

from .familiarity import Familiarity
from .linear import Linear

if TYPE_CHECKING:
    from bioclip_jax.predict.model import Model

FORMAT, VERSION = "bioclip_jax head", 1
HEAD_FILES = TENSORS_FILE, ABOUT_FILE, REPORT_FILE, REVIEW_FILE = (
    "head.safetensors",
    "head.json",
    "report.html",
    "review.csv",
)
_LARGEST_ABOUT = 1 << 26
_TAXON_KEYS = (*RANKS, "common_name")


@dataclass(frozen=True)
class LearnedHead:
    """Classes learned from photographs, as a linear head on the vectors of one model.

    labels: the classes. taxa: the same as taxa, None for plain labels; rank: of these. linear: their logits.
    familiarity: of image vectors. about: head.json.
    """

    path: Path
    labels: list[str]
    taxa: list[Taxon] | None
    rank: Rank | None
    linear: Linear
    familiarity: Familiarity
    about: Mapping[str, Any]

    @cached_property
    def names(self) -> TaxaNames | None:
        """The taxa as names, in the order of the labels; None for plain labels."""
        if self.taxa is None:
            return None
        return TaxaNames.from_rows((*taxon.lineage(), taxon.common_name) for taxon in self.taxa)

    @cached_property
    def digest(self) -> str:
        """A hash of everything that predictions depend on."""
        content = [self.about["tensors"], self.labels, self.about["labels"], self.about["neighbors"]]
        return hashlib.sha256(json_text(content).encode()).hexdigest()

    def check_model(self, model: Model) -> None:
        """Raise UserError unless the head was learned with this model and its image transform."""
        if self.about["fingerprint"] != model.fingerprint:
            raise UserError(
                f"the head {self.path} was learned with the model {self.about.get('model', '')} "
                f"({self.about['fingerprint'][:8]}), not with {model.source} ({model.fingerprint[:8]}); give "
                "that model, or learn it again with `bioclip-jax taxa learn`"
            )
        learned, now = self.about["transform"], model.transform_note
        if learned != now:
            raise UserError(
                f"the head {self.path} was learned with the transform {learned}, not with {now}; give the "
                "same --transform, or learn it again"
            )
        if model.config.embed_dim != len(self.linear.weights):
            raise _damaged(self.path, f"its vectors have {len(self.linear.weights)} dimensions")

    def check_rank(self, rank: Rank) -> None:
        """Raise InvalidValue for a rank below that of the classes, which are taxa."""
        if rank.value > self.rank.value:
            raise InvalidValue(
                f"the classes of the head {self.path} are of the rank {self.rank.get_label()}; give that or "
                f"a higher one, not {rank.get_label()}"
            )

    def write(self, folder: Path) -> None:
        """Write head.safetensors and head.json into a folder."""
        from safetensors.numpy import save_file

        tensors = {
            "weights": self.linear.weights,
            "bias": self.linear.bias,
            "vectors": self.familiarity.vectors,
            "distances": self.familiarity.distances,
        }
        tensors = {name: np.ascontiguousarray(value, np.float32) for name, value in tensors.items()}
        save_file(
            tensors, folder / TENSORS_FILE, {"format": FORMAT, "fingerprint": self.about["fingerprint"]}
        )
        apply_umask(folder / TENSORS_FILE, 0o666)
        about = {"format": FORMAT, "version": VERSION, **self.about}
        about["tensors"] = file_sha256(folder / TENSORS_FILE)
        (folder / ABOUT_FILE).write_text(
            json_text(about, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
        )


def is_head_folder(path: str | os.PathLike[str]) -> bool:
    """Return True for a folder with a head's description."""
    return os.path.isfile(os.path.join(path, ABOUT_FILE))


def open_head(path: str | os.PathLike[str]) -> LearnedHead:
    """Read a learned head; a folder, or its head.json.

    Raises UserError if it is absent, not of this format, damaged, or of another version.
    """
    folder = Path(path)
    if folder.name == ABOUT_FILE:
        folder = folder.parent
    about = _read_about(folder)
    labels, taxa, rank = _read_classes(folder, about)
    tensors = _read_tensors(folder, about)
    weights, bias, vectors, distances = (
        tensors[name] for name in ("weights", "bias", "vectors", "distances")
    )
    fits = (
        weights.ndim == 2
        and bias.shape == (len(labels),) == weights.shape[1:]
        and vectors.ndim == 2
        and vectors.shape[1] == len(weights)
        and distances.ndim == 1
        and 0 < len(distances) <= len(vectors)
        and bool((np.diff(distances) >= 0).all())
        and about["neighbors"] <= len(vectors)
    )
    if not fits:
        shapes = ", ".join(f"{name} {list(value.shape)}" for name, value in sorted(tensors.items()))
        raise _damaged(folder, f"its tensors do not fit its {len(labels)} classes: {shapes}")
    familiarity = Familiarity(vectors, distances, about["neighbors"])
    return LearnedHead(folder, labels, taxa, rank, Linear(weights, bias), familiarity, about)


def _damaged(folder: Path, reason: object) -> UserError:
    return UserError(f"the head {folder} is damaged ({reason}); copy or learn it again")


def _wrong_format(folder: Path) -> UserError:
    return UserError(f"{folder} holds no learned head; make one with `bioclip-jax taxa learn`")


def _read_about(folder: Path) -> dict[str, Any]:
    path = folder / ABOUT_FILE
    try:
        if path.stat().st_size > _LARGEST_ABOUT:
            raise _damaged(folder, f"{ABOUT_FILE} is larger than {_LARGEST_ABOUT >> 20} MB")
        about = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise _wrong_format(folder) from None
    except OSError as error:
        raise UserError(f"the head {folder} cannot be read ({error.strerror}); copy it again") from None
    except (ValueError, RecursionError) as error:
        raise _damaged(folder, f"{ABOUT_FILE}: {first_line(error)}") from None
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise _wrong_format(folder)
    if about.get("version") != VERSION:
        raise UserError(
            f"{folder} has version {str(about.get('version'))[:20]} of the format, this program reads "
            f"{VERSION}; learn it again"
        )
    neighbors = about.get("neighbors")
    if type(neighbors) is not int or neighbors < 1:
        raise _damaged(folder, "it does not say how many neighbors count")
    for key in ("fingerprint", "transform", "tensors"):
        if not isinstance(about.get(key), str):
            raise _damaged(folder, f"{ABOUT_FILE} has no {key}")
    return about


def _read_classes(
    folder: Path, about: Mapping[str, Any]
) -> tuple[list[str], list[Taxon] | None, Rank | None]:
    classes, rank_name = about.get("labels"), about.get("rank")
    if not isinstance(classes, list) or len(classes) < 2 or not all(isinstance(one, dict) for one in classes):
        raise _damaged(folder, f"{ABOUT_FILE} lists no classes")
    labels = [one.get("label") for one in classes]
    if not all(isinstance(label, str) and label for label in labels) or len(set(labels)) != len(labels):
        raise _damaged(folder, "its classes have no distinct names")
    if rank_name is None:
        return labels, None, None
    if rank_name not in RANKS:
        raise _damaged(folder, f"its rank is {str(rank_name)[:40]!r}")
    values = [[one.get(key, "") for key in _TAXON_KEYS] for one in classes]
    if not all(isinstance(value, str) for row in values for value in row):
        raise _damaged(folder, "the ranks of its classes are not texts")
    taxa = [Taxon(*row) for row in values]
    names = TaxaNames.from_rows(values)
    rank = Rank[rank_name.upper()]
    if names.source_index.tolist() != list(range(len(taxa))) or len(names.starts(rank)) != len(taxa):
        raise _damaged(folder, "its taxa are not distinct and sorted")
    return labels, taxa, rank


def _read_tensors(folder: Path, about: Mapping[str, Any]) -> dict[str, Float32[np.ndarray, "..."]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = folder / TENSORS_FILE
    try:
        if file_sha256(path) != about["tensors"]:
            raise _damaged(folder, f"{TENSORS_FILE} is not the file that {ABOUT_FILE} describes")
        tensors = load_file(path)
    except FileNotFoundError:
        raise _damaged(folder, f"{TENSORS_FILE} is missing") from None
    except (OSError, ValueError, KeyError, TypeError, SafetensorError, MemoryError) as error:
        raise _damaged(folder, first_line(error)) from None
    for name in ("weights", "bias", "vectors", "distances"):
        value = tensors.get(name)
        if value is None or value.dtype != np.float32:
            raise _damaged(folder, f"{TENSORS_FILE} has no float32 {name}")
        if not np.isfinite(value).all():
            raise _damaged(folder, f"its {name} hold NaN or infinity")
    return tensors
