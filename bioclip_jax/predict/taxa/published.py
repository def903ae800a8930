"""Text embeddings as they are published for BioCLIP: txt_emb_species.npy, and the names beside it in .json."""

from __future__ import annotations

import json
import mmap
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Float32

from bioclip_jax.convert import PUBLISHED
from bioclip_jax.errors import UserError
from bioclip_jax.predict.progress import track

from .encode import TOOLBOX, Recipe, encode_taxa
from .head import Block
from .names import COLUMNS, TaxaNames

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

    It is read piece by piece: a million taxa as Python lists would take a gigabyte. UserError if it is no
    such list.
    """
    try:
        return TaxaNames.from_rows(_row(entry) for entry in _entries(path))
    except FileNotFoundError:
        raise UserError(f"there is no {path}; it holds the names of the embeddings, fetch it too") from None
    except (ValueError, TypeError, RecursionError) as error:
        raise UserError(
            f"{path} is no list of [[seven ranks], common name] ({error}); fetch it again"
        ) from None


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
        raise UserError(f"{path} is not a readable .npy ({error}); fetch it again") from None
    if columns.ndim != 2 or columns.dtype.kind != "f":
        raise UserError(f"{path} holds {columns.dtype} {list(columns.shape)}; it must be float32 [dim, taxa]")
    if columns.shape[0] != dim:
        raise UserError(
            f"{path} holds vectors of {columns.shape[0]} numbers, the model's have {dim}; take the "
            f"embeddings that "
            "were published for this model"
        )
    if columns.shape[1] != len(names):
        json_path = path.with_suffix(".json")
        raise UserError(
            f"{path} holds {columns.shape[1]} taxa, {json_path} names {len(names)}; fetch both from the "
            f"same revision"
        )
    return columns


def fetch_embeddings(model: Model) -> Path:
    """The published text embeddings of a model, fetched with their names. UserError where none are published."""
    from bioclip_jax.convert import download_pair

    if model.published is None:
        raise UserError(
            f"no text embeddings of {model.source} are published; name a table of taxa, or embeddings"
        )
    published = PUBLISHED[model.published]
    return download_pair(published.dataset, [f"embeddings/{stem}" for stem in published.embeddings])


def check_pairing(
    columns: Float[np.ndarray, "dim taxa"],
    names: TaxaNames,
    model: Model,
    templates: Sequence[str],
    path: Path,
) -> Recipe:
    """The recipe that `columns` were made by: `templates`, or TreeOfLife-toolbox's.

    UserError if the model embeds some of the names otherwise than `columns` say by either: they belong to
    another model, or to other names. A model that was hardly trained embeds all names alike, so a name must
    also be nearest to its own column.
    """
    rows = np.random.default_rng(0).permutation(len(names))[: 8 * _PROBES]
    given = np.array([columns[:, place] for place in names.place[rows]], np.float32)
    norms = np.linalg.norm(given, axis=1)
    usable = np.flatnonzero(np.isfinite(norms) & (norms > _NO_VECTOR))[:_PROBES]
    if not len(usable):
        raise UserError(f"{path} holds no embeddings, only zeros; fetch it again")
    rows, given = rows[usable], given[usable] / norms[usable, None]

    def likeness(recipe: Recipe) -> tuple[float, float]:
        """The mean cosine of each name with its own column, and the share of names that are nearest to it."""
        made = np.concatenate(
            [vectors for _, vectors in encode_taxa(model, names, rows, recipe, "checking the names")]
        )
        cosines = made @ given.T
        own = cosines.diagonal()
        return float(own.mean()), float((own >= cosines.max(axis=1) - 1e-6).mean())

    found = {recipe: likeness(recipe) for recipe in (Recipe(tuple(templates)), TOOLBOX)}
    recipe = max(found, key=lambda recipe: found[recipe][0])
    cosine, nearest = found[recipe]
    if cosine < _LEAST_COSINE or nearest < 0.5:
        raise UserError(
            f"{path} does not fit: of {len(rows)} names, the model's own embeddings have a mean cosine of "
            f"{cosine:.2f} "
            f"with it, and {nearest:.0%} are nearest to their own column; take the .npy, .json and model of "
            f"one release"
        )
    return recipe


def column_norms(columns: Float[np.ndarray, "dim taxa"]) -> Float32[np.ndarray, " taxa"]:
    """The length of each column, 0 for one that holds NaN or infinity: there, no vector was published."""
    norms = np.empty(columns.shape[1], np.float32)
    for start in range(0, len(norms), _BLOCK_COLUMNS):
        norms[start : start + _BLOCK_COLUMNS] = np.linalg.norm(_block(columns, start), axis=1)
    return np.where(np.isfinite(norms) & (norms > _NO_VECTOR), norms, 0)


def _block(columns: Float[np.ndarray, "dim taxa"], start: int) -> Float32[np.ndarray, "rows dim"]:
    vectors = np.ascontiguousarray(columns[:, start : start + _BLOCK_COLUMNS].T, np.float32)
    if isinstance(columns.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        columns.base.madvise(mmap.MADV_DONTNEED)
    return vectors


def published_blocks(
    columns: Float[np.ndarray, "dim taxa"], norms: Float32[np.ndarray, " taxa"], names: TaxaNames
) -> Iterator[Block]:
    """The columns as they are, as pybioclip uses them, in the order of the file; zeros where none was published."""
    row_at = np.argsort(names.place)
    for start in track(range(0, len(names), _BLOCK_COLUMNS), "converting", -(-len(names) // _BLOCK_COLUMNS)):
        present = norms[start : start + _BLOCK_COLUMNS, None] > 0
        yield row_at[start : start + _BLOCK_COLUMNS], np.where(present, _block(columns, start), np.float32(0))


def completed_blocks(
    columns: Float[np.ndarray, "dim taxa"],
    norms: Float32[np.ndarray, " taxa"],
    names: TaxaNames,
    model: Model,
    recipe: Recipe,
) -> Iterator[Block]:
    """The columns as unit vectors, in the order of the file, then those that are missing in it, made by the model."""
    row_at = np.argsort(names.place)
    for rows, vectors in published_blocks(columns, norms, names):
        lengths = norms[names.place[rows]]
        present = lengths > 0
        yield rows[present], vectors[present] / lengths[present, None]
    missing = np.sort(row_at[norms == 0])
    if len(missing):
        yield from encode_taxa(model, names, missing, recipe, "making what is missing")


def notes_on(norms: Float32[np.ndarray, " taxa"], path: Path, complete: bool) -> list[str]:
    """Notes for people on published embeddings that are missing or not of length 1, and what becomes of them."""
    taxa, missing = len(norms), int((norms == 0).sum())
    scaled = int((np.abs(norms[norms > 0] - 1) > _NORM_TOLERANCE).sum())
    notes = []
    if missing:
        told = (
            "they were made from their names"
            if complete
            else ("they cannot be predicted, as in pybioclip; --complete makes them from their names")
        )
        notes.append(f"{missing:,} of {taxa:,} taxa have no embedding in {path}; {told}")
    if scaled:
        told = (
            "they were normalized"
            if complete
            else ("they are used as they are, as in pybioclip; --complete normalizes them")
        )
        notes.append(f"{scaled:,} of {taxa:,} embeddings in {path} are not of length 1; {told}")
    return notes
