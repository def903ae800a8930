"""The verb `embed`: one vector an image, or a text, as NumPy, Parquet or JSON."""

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

from .inputs import ImageFile, expand, find_images
from .progress import FailureLog, report_truncated

if TYPE_CHECKING:
    from bioclip_jax.pipeline.images import ReadOptions

    from .model import Model

# Places among the images, and their vectors.
_Vectors = tuple[list[int], Float32[np.ndarray, "rows embed_dim"]]

# Texts that are encoded together.
_TEXTS = 4096


def embed_files(
    inputs: Sequence[str | os.PathLike[str]],
    model: str | None = None,
    output: Path | None = None,
    *,
    texts: Sequence[str] = (),
    format: str | None = None,
    normalize: bool | None = None,
    cache: bool = False,
    batch_size: int | None = None,
    device: str | None = None,
    pretrained: str | None = None,
    transform: str | None = None,
    reading: ReadOptions | None = None,
) -> dict[str, Any]:
    """Write the vectors of the images that `inputs` name (as find_images), or those of `texts`, in their order.

    Args: `model`, `batch_size`, `device`, `pretrained`, `transform` and `reading` as load_model; `output` and
      `format` as check_format and write_batches. `normalize`: unit vectors, or vectors as the tower projects
      them; None takes the latter for JSON, as pybioclip's command, and unit vectors for .npy and Parquet, as
      its create_image_features. Texts have unit vectors. Parquet takes along what the inputs' tables say of
      the images (as ImageMetadata). `cache`: vectors of images are kept on disk, and looked up there.
    Returns: {"images" or "texts": how many, "embed_dim", "normalized", "output", "unreadable", "truncated"},
      and for .npy "rows", the file beside it that names its rows. An image that cannot be read is named on
      standard error and skipped; in .npy it has a row of NaN, so that row i is input i.
    Errors: UserError for wrong arguments, before the model is loaded, and where no image can be read.
    """
    output = None if output is None else Path(output)
    format = check_format(format, output)
    check_output(output)
    if texts and inputs:
        raise UserError("there are images and texts to embed; give one kind a run")
    if texts and format == "pybioclip":
        raise UserError(
            "pybioclip's JSON holds images only; write texts to a .npy, .parquet or .json with --output"
        )
    if texts and normalize is False:
        raise UserError("the vectors of texts are unit vectors; leave --no-normalize out")
    if normalize and format == "pybioclip":
        raise UserError(
            "pybioclip's JSON cannot say that its vectors are unit vectors; leave --normalize out, or give "
            "--format json"
        )
    normalize = bool(texts) or (format in ("npy", "parquet") if normalize is None else normalize)
    paths = [] if texts else expand(inputs)
    images = find_images(paths) if paths else []
    read = {"an input": itertools.chain(paths, (image.path for image in images))}
    read["part of the model"] = model_files(model)
    beside = rows_path(output) if format == "npy" else None
    check_not_read({"--output": output, "the names of the rows": beside}, read)
    columns = ImageMetadata(paths, images) if images and format == "parquet" else None

    # JAX is loaded once there is something to do.
    from .model import load_model

    how = {"pretrained": pretrained, "device": device, "batch_size": batch_size, "transform": transform}
    loaded = load_model(model, **how, reading=reading)
    unreadable = FailureLog(len(images))
    if texts:
        batches = _of_texts(loaded, texts)
    else:
        how = {"normalize": normalize, "results_on_stdout": output is None}
        batches = _of_images(loaded, images, unreadable, columns, cache, format, how)
    about = {"model": loaded.source, "normalized": normalize}
    if format != "pybioclip":
        about["fingerprint"] = loaded.fingerprint
    if images and format != "pybioclip":
        about["transform"] = loaded.transform
    try:
        rows = write_batches(batches, format, output, about)
    except KeyboardInterrupt:
        kept = (
            "the vectors made so far are in the cache; run the same command again to resume" if cache else ""
        )
        raise Interrupted(kept or "nothing is kept; with --cache a run can be resumed") from None
    return {
        "texts" if texts else "images": len(texts or images),
        "embed_dim": loaded.config.embed_dim,
        "normalized": normalize,
        "output": None if output is None else str(output),
        **({} if rows is None else {"rows": str(rows)}),
        "unreadable": unreadable.problems,
        "truncated": report_truncated(loaded.embedder.truncated),
    }


def _of_images(
    model: Model,
    images: Sequence[ImageFile],
    unreadable: FailureLog,
    columns: ImageMetadata | None,
    cache: bool,
    format: str,
    how: dict[str, bool],
) -> Iterator[Batch]:
    vectors = None
    if cache:
        from .vector_cache import VectorCache

        vectors = VectorCache()
    streamed = stream_vectors(model, images, unreadable, vectors, **how)
    if format == "npy":
        streamed = _without_gaps(streamed, len(images), model.config.embed_dim)
    for places, features in streamed:
        known = None if columns is None else columns.take(places)
        yield Batch([images[place] for place in places], features, known)


def _without_gaps(streamed: Iterable[_Vectors], total: int, dim: int) -> Iterator[_Vectors]:
    """`streamed` with a row of NaN for each of the `total` places that is not in it."""
    start = 0
    for places, features in streamed:
        stop = places[-1] + 1
        filled = np.full((stop - start, dim), np.nan, np.float32)
        filled[np.subtract(places, start)] = features
        yield list(range(start, stop)), filled
        start = stop
    if start < total:
        yield list(range(start, total)), np.full((total - start, dim), np.nan, np.float32)


def _of_texts(model: Model, texts: Sequence[str]) -> Iterator[Batch]:
    for start in range(0, len(texts), _TEXTS):
        chunk = list(texts[start : start + _TEXTS])
        yield Batch(chunk, model.encode_text(chunk))


def read_texts(path: Path) -> list[str]:
    """The lines of a text file, blank ones left out. UserError if it cannot be read or has none."""
    try:
        texts = [line.strip() for line in Path(path).read_text(encoding="utf-8-sig").splitlines()]
    except FileNotFoundError:
        raise UserError(f"the file of texts {path} does not exist; give one with a text a line") from None
    except (UnicodeDecodeError, IsADirectoryError) as error:
        raise UserError(f"the file of texts {path} is not UTF-8 text; write one text a line") from error
    texts = [text for text in texts if text]
    if not texts:
        raise UserError(f"the file of texts {path} holds no text; write one a line")
    return texts
