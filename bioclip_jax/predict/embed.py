"""The verb `embed`: vectors of images or texts as NumPy, Parquet or JSON."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32

from bioclip_jax.convert import model_files
from bioclip_jax.errors import Interrupted, UserError
from bioclip_jax.files import check_not_read, check_output
from bioclip_jax.predict.embedding import (
    Batch,
    ImageMetadata,
    check_format,
    rows_path,
    stream_vectors,
    write_batches,
)

from .capture import CaptureColumns, check_added
from .input_paths import expand
from .inputs import ImageFile, Skipped, find_images
from .progress import FailureLog, report_truncated
from .vector_cache import VectorCache

if TYPE_CHECKING:
    from .model import Model

# Image indices, and one vector for each.
_Embedded = tuple[list[int], Float32[np.ndarray, "rows embed_dim"]]

# Texts that are encoded together.
_TEXTS_PER_BATCH = 4096


def embed_files(
    inputs: Sequence[str | os.PathLike[str]],
    model: str | None = None,
    output: Path | None = None,
    *,
    texts: Sequence[str] = (),
    format: str | None = None,
    normalize: bool | None = None,
    cache: bool = False,
    every: float | None = None,
    add: str | Sequence[str] = (),
    **loading: Any,
) -> dict[str, Any]:
    """Write the vectors of the images of `inputs` (as find_images) or of `texts`, in their order.

    output, format: as check_format and write_batches; Parquet includes the ImageMetadata of `inputs`.
    normalize: unit vectors, or the image tower's projections. None normalizes for .npy and Parquet, as
    pybioclip's create_image_features, but not for JSON, as pybioclip's command. Text vectors are unit
    vectors. cache: keep image vectors on disk and reuse them. every: as find_images. add: columns of
    EXIF in Parquet, as PredictOptions. loading: keyword arguments of load_model.

    Returns {"images" or "texts": their number, "embed_dim", "normalized", "output", "unreadable",
    "truncated"}, for images "skipped", the number of files of other kinds by suffix, and for .npy "rows", the
    file that names its rows. Unreadable images are reported on standard error and skipped; in .npy they are
    rows of NaN, so that row i is input i.
    Raises UserError for invalid arguments, before the model is loaded, and if no image is readable.
    """
    output = None if output is None else Path(output)
    format = check_format(format, output)
    check_output(output)
    added = check_added(add)
    if added and format != "parquet":
        raise UserError("--add puts columns into Parquet; name a .parquet with --output")
    if texts and inputs:
        raise UserError("images and texts cannot be embedded together; run the command once for each")
    if texts and format == "pybioclip":
        raise UserError(
            "pybioclip's JSON holds images only; write texts to a .npy, .parquet or .json with --output"
        )
    if texts and normalize is False:
        raise UserError("text vectors are always unit vectors; drop --no-normalize")
    if normalize and format == "pybioclip":
        raise UserError(
            "pybioclip's JSON cannot mark vectors as unit vectors; drop --normalize, or give --format json"
        )
    normalize = bool(texts) or (format in ("npy", "parquet") if normalize is None else normalize)
    paths = [] if texts else expand(inputs)
    skipped = Skipped()
    images = find_images(paths, every, skipped) if paths else []
    reads = {
        "an input": itertools.chain(paths, (image.path for image in images)),
        "part of the model": model_files(model),
    }
    row_names = rows_path(output) if format == "npy" else None
    check_not_read({"--output": output, "the names of the rows": row_names}, reads)
    skipped.report()
    metadata = ImageMetadata(paths, images) if images and format == "parquet" else None

    # Importing JAX takes seconds, so options and inputs are checked first.
    from .model import load_model

    loaded = load_model(model, **loading)
    failures = FailureLog(len(images))
    if texts:
        batches = _text_batches(loaded, texts)
    else:
        stream = stream_vectors(
            loaded,
            images,
            failures,
            VectorCache() if cache else None,
            normalize=normalize,
            results_on_stdout=output is None,
        )
        if format == "npy":
            stream = _with_nan_rows(stream, len(images), loaded.config.embed_dim)
        batches = _image_batches(stream, images, metadata, CaptureColumns(added))
    about = {"model": loaded.source, "normalized": normalize}
    if format != "pybioclip":
        about |= {"fingerprint": loaded.fingerprint, "precision": loaded.precision}
    if images and format != "pybioclip":
        about["transform"] = loaded.transform
    try:
        rows = write_batches(batches, format, output, about)
    except KeyboardInterrupt:
        raise Interrupted(
            "finished vectors are in the cache; run the same command again to resume"
            if cache
            else "nothing is kept; use --cache to make a run resumable"
        ) from None
    return {
        "texts" if texts else "images": len(texts or images),
        **({} if texts else {"skipped": skipped.by_kind}),
        "embed_dim": loaded.config.embed_dim,
        "normalized": normalize,
        "output": None if output is None else str(output),
        **({} if rows is None else {"rows": str(rows)}),
        "unreadable": failures.problems,
        "truncated": report_truncated(loaded.embedder.truncated),
    }


def _image_batches(
    stream: Iterable[_Embedded],
    images: Sequence[ImageFile],
    metadata: ImageMetadata | None,
    capture: CaptureColumns,
) -> Iterator[Batch]:
    for indices, vectors in stream:
        part = [images[index] for index in indices]
        columns = None if metadata is None else capture.append_to_table(metadata.take(indices), part)
        yield Batch(part, vectors, columns)


def _with_nan_rows(stream: Iterable[_Embedded], total: int, dim: int) -> Iterator[_Embedded]:
    """Insert a row of NaN for each of `total` indices that the stream lacks."""
    start = 0
    for indices, vectors in stream:
        stop = indices[-1] + 1
        filled = np.full((stop - start, dim), np.nan, np.float32)
        filled[np.subtract(indices, start)] = vectors
        yield list(range(start, stop)), filled
        start = stop
    if start < total:
        yield list(range(start, total)), np.full((total - start, dim), np.nan, np.float32)


def _text_batches(model: Model, texts: Sequence[str]) -> Iterator[Batch]:
    for start in range(0, len(texts), _TEXTS_PER_BATCH):
        chunk = list(texts[start : start + _TEXTS_PER_BATCH])
        yield Batch(chunk, model.encode_text(chunk))


def read_texts(path: Path) -> list[str]:
    """Read the non-blank lines of a text file. Raises UserError if it is unreadable or has none."""
    try:
        texts = [line.strip() for line in Path(path).read_text(encoding="utf-8-sig").splitlines()]
    except FileNotFoundError:
        raise UserError(
            f"the file of texts {path} does not exist; give a file with one text per line"
        ) from None
    except (UnicodeDecodeError, IsADirectoryError) as error:
        raise UserError(f"the file of texts {path} is not UTF-8 text; write one text per line") from error
    texts = [text for text in texts if text]
    if not texts:
        raise UserError(f"the file of texts {path} holds no text; write one per line")
    return texts
