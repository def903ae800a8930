"""Text embeddings as they are published for BioCLIP: txt_emb_species.npy, and the names beside it in .json."""

from __future__ import annotations

import json
import mmap
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from bioclip_jax.errors import UserError
from bioclip_jax.predict.progress import track
from bioclip_jax.predict.taxa.encode import encode_taxa
from bioclip_jax.predict.taxa.head import Block
from bioclip_jax.predict.taxa.names import COLUMNS, TaxaNames

if TYPE_CHECKING:
    from bioclip_jax.predict.model import Model

_TEXT_BYTES = 1 << 20
_BLOCK_COLUMNS = 4096
# A shorter vector is none: the published script leaves zeros where it stops early.
_NO_VECTOR = 1e-6
_NORM_TOLERANCE = 1e-3
_PROBES = 16
_LEAST_COSINE = 0.9


def read_names(path: Path) -> TaxaNames:
    """The names in a .json: a list of [[seven ranks, the species epithet last], common name], doubles too.

    It is read piece by piece: a million taxa as Python lists would take a gigabyte. UserError if it is no such list.
    """
    try:
        return TaxaNames.from_rows(_row(entry) for entry in _entries(path))
    except FileNotFoundError:
        raise UserError(f"there is no {path}; it holds the names of the embeddings, fetch it too") from None
    except (ValueError, TypeError, RecursionError) as error:
        raise UserError(f"{path} is no list of [[seven ranks], common name] ({error}); fetch it again") from None


def _row(entry: Any) -> list[str]:
    ranks, common_name = entry
    row = [name or "" for name in (*ranks, common_name)]
    if not isinstance(ranks, list) or len(row) != len(COLUMNS) or not all(type(name) is str for name in row):
        raise ValueError(f"found {json.dumps(entry)[:80]}")
    return row


def _entries(path: Path) -> Iterator[Any]:
    """The members of the list in a JSON file, one by one."""
    decoder, between = json.JSONDecoder(), re.compile(r"[\s,]*")
    with open(path, encoding="utf-8-sig") as file:
        text = file.read(_TEXT_BYTES).lstrip()
        if not text.startswith("["):
            raise ValueError("it does not begin with [")
        place = 1
        while True:
            place = between.match(text, place).end()
            if text.startswith("]", place):
                return
            try:
                entry, place = decoder.raw_decode(text, place)
            except json.JSONDecodeError:
                # Perhaps only the end of this piece.
                more = file.read(_TEXT_BYTES)
                if not more:
                    raise ValueError("it ends too early") from None
                text, place = text[place:] + more, 0
                continue
            yield entry


def map_embeddings(path: Path, names: TaxaNames, dim: int) -> Float[np.ndarray, "dim taxa"]:
    """The .npy [dim, taxa], mapped. UserError if it cannot be read or its shape is not the model's and the names'."""
    try:
        columns = np.load(path, mmap_mode="r")
    except (ValueError, EOFError) as error:
        raise UserError(f"{path} is no readable .npy ({error}); fetch it again") from None
    if columns.ndim != 2 or columns.dtype.kind != "f":
        raise UserError(f"{path} holds {columns.dtype} {list(columns.shape)}; it must be float32 [dim, taxa]")
    if columns.shape[0] != dim:
        raise UserError(
            f"{path} holds vectors of {columns.shape[0]} numbers, the model's have {dim}; take the embeddings that "
            "were published for this model"
        )
    if columns.shape[1] != len(names):
        json_path = path.with_suffix(".json")
        raise UserError(
            f"{path} holds {columns.shape[1]} taxa, {json_path} names {len(names)}; fetch both from the same revision"
        )
    return columns


def check_pairing(
    columns: Float[np.ndarray, "dim taxa"], names: TaxaNames, model: Model, templates: Sequence[str], path: Path
) -> None:
    """UserError if the model embeds some of the names otherwise than `columns` say: they belong to another model,
    or to other names.

    A model that was hardly trained embeds all names alike, so a name must also be nearest to its own column.
    """
    rows = np.random.default_rng(0).permutation(len(names))[: 8 * _PROBES]
    given = np.array([columns[:, place] for place in names.place[rows]], np.float32)
    norms = np.linalg.norm(given, axis=1)
    usable = np.flatnonzero(np.isfinite(norms) & (norms > _NO_VECTOR))[:_PROBES]
    if not len(usable):
        raise UserError(f"{path} holds no embeddings, only zeros; fetch it again")
    rows, given = rows[usable], given[usable] / norms[usable, None]
    made = np.concatenate([vectors for _, vectors in encode_taxa(model, names, rows, templates, "checking the names")])
    cosines = made @ given.T
    cosine = float(cosines.diagonal().mean())
    nearest = float((cosines.diagonal() >= cosines.max(axis=1) - 1e-6).mean())
    if cosine < _LEAST_COSINE or nearest < 0.5:
        raise UserError(
            f"{path} does not fit: of {len(rows)} names, the model's own embeddings have a mean cosine of {cosine:.2f} "
            f"with it, and {nearest:.0%} are nearest to their own column; take the .npy, .json and model of one release"
        )


def published_blocks(
    columns: Float[np.ndarray, "dim taxa"],
    names: TaxaNames,
    model: Model,
    templates: Sequence[str],
    path: Path,
    notes: list[str],
) -> Iterator[Block]:
    """The columns as unit vectors, in the order of the file, then those that are missing in it, made by the model.

    What was mended is told in `notes`.
    """
    row_at = np.argsort(names.place)
    missing, scaled = [], 0
    for start in track(range(0, len(names), _BLOCK_COLUMNS), "converting", -(-len(names) // _BLOCK_COLUMNS)):
        rows = row_at[start : start + _BLOCK_COLUMNS]
        vectors = np.ascontiguousarray(columns[:, start : start + _BLOCK_COLUMNS].T, np.float32)
        if isinstance(columns.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            columns.base.madvise(mmap.MADV_DONTNEED)
        norms = np.linalg.norm(vectors, axis=1)
        present = np.isfinite(norms) & (norms > _NO_VECTOR)
        missing.append(rows[~present])
        rows, vectors, norms = rows[present], vectors[present], norms[present]
        scaled += int((np.abs(norms - 1) > _NORM_TOLERANCE).sum())
        yield rows, vectors / norms[:, None]
    rows = np.sort(np.concatenate(missing))
    if len(rows):
        notes.append(
            f"{len(rows)} of {len(names)} taxa have no embedding in {path}; they were made anew from their names"
        )
        yield from encode_taxa(model, names, rows, templates, "making what is missing")
    if scaled:
        notes.append(f"{scaled} of {len(names)} embeddings in {path} were not of length 1; they were normalised")
