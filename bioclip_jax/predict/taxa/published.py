"""Text embeddings published for BioCLIP: txt_emb_species.npy, with the names in a .json of the same stem."""

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

from .embeddings import Block
from .encode import TOOLBOX, Recipe, encode_taxa
from .names import COLUMNS, TaxaNames

if TYPE_CHECKING:
    from bioclip_jax.predict.model import Model

_TEXT_BYTES = 1 << 20
_BLOCK_COLUMNS = 4096
# Shorter vectors are missing: the published script leaves zeros if it stops early.
_NO_VECTOR = 1e-6
_NORM_TOLERANCE = 1e-3
_PROBES = 16
_MIN_COSINE = 0.9


def read_names(path: Path) -> TaxaNames:
    """Read the names in a .json: a list of [[seven ranks], common name], with duplicates.

    The last rank is the species epithet. Streamed, since a million taxa as Python lists take a gigabyte.
    Raises UserError for anything else.
    """
    try:
        return TaxaNames.from_rows(_row(entry) for entry in _entries(path))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; it has the names of the embeddings, download it") from None
    except (ValueError, TypeError, RecursionError) as error:
        raise UserError(
            f"{path} is not a list of [[seven ranks], common name] ({error}); download it again"
        ) from None


def _row(entry: Any) -> list[str]:
    ranks, common_name = entry
    row = [name or "" for name in (*ranks, common_name)]
    if not isinstance(ranks, list) or len(row) != len(COLUMNS) or not all(type(name) is str for name in row):
        raise ValueError(f"it has the entry {json.dumps(entry)[:80]}")
    return row


def _entries(path: Path) -> Iterator[Any]:
    """Yield the elements of the list in a JSON file."""
    decoder, between = json.JSONDecoder(), re.compile(r"[\s,]*")
    with open(path, encoding="utf-8-sig") as file:
        text = file.read(_TEXT_BYTES).lstrip()
        if not text.startswith("["):
            raise ValueError("it does not begin with [")
        position = 1
        while True:
            position = between.match(text, position).end()
            if text.startswith("]", position):
                return
            try:
                entry, position = decoder.raw_decode(text, position)
            except json.JSONDecodeError:
                # The element may continue in the next chunk.
                more = file.read(_TEXT_BYTES)
                if not more:
                    raise ValueError("it ends too early") from None
                text, position = text[position:] + more, 0
                continue
            yield entry


def map_embeddings(path: Path, names: TaxaNames, dim: int) -> Float[np.ndarray, "dim taxa"]:
    """Map the .npy [dim, taxa]. Raises UserError if it is unreadable or its shape does not match."""
    try:
        columns = np.load(path, mmap_mode="r")
    except (ValueError, EOFError) as error:
        raise UserError(f"{path} is not a readable .npy ({error}); download it again") from None
    if columns.ndim != 2 or columns.dtype.kind != "f":
        raise UserError(f"{path} holds {columns.dtype} {list(columns.shape)}; it must be float32 [dim, taxa]")
    if columns.shape[0] != dim:
        raise UserError(
            f"{path} holds vectors of {columns.shape[0]} numbers, the model's have {dim}; give the "
            "embeddings published for this model"
        )
    if columns.shape[1] != len(names):
        json_path = path.with_suffix(".json")
        raise UserError(
            f"{path} holds {columns.shape[1]} taxa, {json_path} names {len(names)}; download both from the "
            "same revision"
        )
    return columns


def fetch_embeddings(model: Model) -> Path:
    """Download a model's published text embeddings and their names. Raises UserError if there are none."""
    from bioclip_jax.convert import download_pair

    if model.published is None:
        raise UserError(
            f"no text embeddings of {model.source} are published; give a table of taxa, or embeddings"
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
    """Return the recipe of `columns`: `templates`, or TreeOfLife-toolbox's.

    Raises UserError if the model embeds a sample of the names differently by both recipes: `columns` belong
    to another model, or to other names. Since a barely trained model embeds all names alike, each name must
    also be nearest to its own column.
    """
    rows = np.random.default_rng(0).permutation(len(names))[: 8 * _PROBES]
    given = np.array([columns[:, index] for index in names.source_index[rows]], np.float32)
    norms = np.linalg.norm(given, axis=1)
    usable = np.flatnonzero(np.isfinite(norms) & (norms > _NO_VECTOR))[:_PROBES]
    if not len(usable):
        raise UserError(f"{path} holds no embeddings, only zeros; download it again")
    rows, given = rows[usable], given[usable] / norms[usable, None]

    def similarity(recipe: Recipe) -> tuple[float, float]:
        """Return the mean cosine of the names with their own columns, and the share nearest to them."""
        encoded = np.concatenate(
            [vectors for _, vectors in encode_taxa(model, names, rows, recipe, "checking the names")]
        )
        cosines = encoded @ given.T
        own = cosines.diagonal()
        return float(own.mean()), float((own >= cosines.max(axis=1) - 1e-6).mean())

    similarities = {recipe: similarity(recipe) for recipe in (Recipe(tuple(templates)), TOOLBOX)}
    recipe = max(similarities, key=lambda recipe: similarities[recipe][0])
    cosine, nearest = similarities[recipe]
    if cosine < _MIN_COSINE or nearest < 0.5:
        raise UserError(
            f"{path} does not fit the model: its embeddings of {len(rows)} names have a mean cosine of "
            f"{cosine:.2f} with the published ones, and {nearest:.0%} are nearest to their own; "
            "give the .npy, .json and model of one release"
        )
    return recipe


def column_norms(columns: Float[np.ndarray, "dim taxa"]) -> Float32[np.ndarray, " taxa"]:
    """Return the norm of each column, 0 for one with NaN or infinity, which counts as missing."""
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
    """Yield the columns unchanged, as in pybioclip, in the order of the file; zeros for missing ones."""
    row_at = np.argsort(names.source_index)
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
    """Yield the columns as unit vectors, in the order of the file, then encode the missing ones."""
    row_at = np.argsort(names.source_index)
    for rows, vectors in published_blocks(columns, norms, names):
        lengths = norms[names.source_index[rows]]
        present = lengths > 0
        yield rows[present], vectors[present] / lengths[present, None]
    missing = np.sort(row_at[norms == 0])
    if len(missing):
        yield from encode_taxa(model, names, missing, recipe, "encoding missing taxa")


def published_notes(norms: Float32[np.ndarray, " taxa"], path: Path, complete: bool) -> list[str]:
    """Return notes on published embeddings that are missing or not normalized, and their treatment."""
    taxa, missing = len(norms), int((norms == 0).sum())
    scaled = int((np.abs(norms[norms > 0] - 1) > _NORM_TOLERANCE).sum())
    notes = []
    if missing:
        treatment = "they were encoded from their names"
        if not complete:
            treatment = "they cannot be predicted, as in pybioclip; --complete encodes them from their names"
        notes.append(f"{missing:,} of {taxa:,} taxa have no embedding in {path}; {treatment}")
    if scaled:
        treatment = "they were normalized"
        if not complete:
            treatment = "they are used unchanged, as in pybioclip; --complete normalizes them"
        notes.append(f"{scaled:,} of {taxa:,} embeddings in {path} are not of length 1; {treatment}")
    return notes
