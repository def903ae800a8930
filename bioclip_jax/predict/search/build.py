"""Build an index of images, add to it and delete from it (`index build`, `index delete`)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioclip_jax.convert import DEFAULT_MODEL, local_path
from bioclip_jax.errors import Interrupted, UserError, first_line
from bioclip_jax.file_kinds import PARQUET_SUFFIXES
from bioclip_jax.locks import lock
from bioclip_jax.predict.embedding import ImageMetadata, block_size, blocks, digests, sample_uuid, unit
from bioclip_jax.predict.input_paths import expand
from bioclip_jax.predict.inputs import ImageFile, find_images
from bioclip_jax.predict.progress import FailureLog, report_truncated, track

from .table import ABOUT_FILE, LOCK_FILE, ImageIndex, check_free, quoted
from .writer import IndexWriter, make_rows

if TYPE_CHECKING:
    from bioclip_jax.predict.model import Model

# Vectors of a Parquet file added at a time.
_BLOCK = 8192


def build_index(
    inputs: Sequence[str | os.PathLike[str]],
    model: str | None,
    output: str | os.PathLike[str],
    *,
    every: float | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Build an index of images in the folder `output`, or add new and changed images to an existing one.

    An image whose content the index holds is skipped, under any name; a changed file replaces its old row. An
    interrupted build keeps the images added so far, and resumes when repeated.

    inputs, every: as find_images, or Parquet files of `embed`, which need no model. options: as load_model;
    transform and precision are by default the index's.
    Returns: {"images": number of inputs, "added", "replaced", "known", "unreadable", "truncated", "count":
      images in the index, "recall": recall at 10 of the approximate index, on 100 of its images, None for
      exact search, "nprobes", "output"}.
    Errors: UserError for invalid arguments (before the model is loaded), for a model or precision other than
      the index's, while another process builds the index, and if no image can be read.
    """
    output = Path(output)
    if not (output / ABOUT_FILE).is_file():
        check_free(output)
    paths = expand(inputs)
    tables = [path for path in paths if _holds_vectors(path)]
    files = [path for path in paths if path not in tables]
    images = find_images(files, every) if files else []
    metadata = ImageMetadata(files, images)
    failures = FailureLog(len(images))
    with _locked(output):
        index = ImageIndex(output) if (output / ABOUT_FILE).is_file() else None
        writer, truncated = IndexWriter(output, index), []
        try:
            if images or model is not None:
                # Imports JAX, once all arguments are checked.
                from bioclip_jax.predict.model import load_model

                model = model or (index.model if index else None) or DEFAULT_MODEL
                transform = options.pop("transform", None) or (index.transform if index else None)
                precision = options.pop("precision", None) or (index.precision if index else "fp32")
                loaded = load_model(model, transform=transform, precision=precision, **options)
                name = None if options.get("pretrained") else _absolute(model)
                writer.set_model(
                    loaded.config.embed_dim,
                    loaded.fingerprint,
                    loaded.source,
                    name,
                    loaded.transform,
                    loaded.precision,
                )
                _add_images(writer, loaded, images, metadata, failures)
                truncated = report_truncated(loaded.embedder.truncated)
            n = len(images)
            for table in tables:
                n += _add_vectors(writer, table)
            counts = writer.finish()
        except KeyboardInterrupt:
            count = writer.flush()
            kept = f"{output} holds {count:,} images; run the same command again to add the rest"
            raise Interrupted(kept if count else "nothing is kept") from None
        reports = {"unreadable": failures.problems, "truncated": truncated, "output": str(output)}
        return {"images": n, **counts, **reports}


def delete_images(
    directory: str | os.PathLike[str], *, paths: Sequence[str] = (), where: str | None = None
) -> dict[str, Any]:
    """Delete images from an index: those at `paths`, or those that match the filter `where`.

    A path may also be a folder or a tar of images. Returns: {"deleted", "count": images left}. Raises
    UserError for a path outside the index, for an invalid filter, and while another process builds the
    index.
    """
    if bool(paths) == (where is not None):
        raise UserError("the images to delete are ambiguous; give either --path or --where")
    with _locked(ImageIndex(directory).directory):
        # Reopened under the lock, since another process may have changed it before.
        index = ImageIndex(directory)
        conditions = []
        for path in paths:
            inside = path.rstrip("/") + "/"
            condition = f"(path = {quoted(path)} OR starts_with(path, {quoted(inside)}))"
            if not index.check_filter(condition):
                raise UserError(
                    f"the index {directory} holds no image {path}; give the path as it was given to build"
                )
            conditions.append(condition)
        return {"deleted": index.delete(where or " OR ".join(conditions)), "count": len(index)}


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Lock the index in `directory` against other processes; the lock ends with this process.

    Creates the folder, and removes it again if no index was created. Raises UserError while another process
    holds the lock, and for an unwritable folder.
    """
    created = not directory.exists()
    with contextlib.ExitStack() as stack:
        try:
            directory.mkdir(exist_ok=True)
            file = stack.enter_context(open(directory / LOCK_FILE, "ab"))
        except OSError as error:
            raise UserError(
                f"the index {directory} cannot be written ({error.strerror}); choose another folder"
            ) from error
        lock(file, f"the index {directory} is being built by another process; wait for it")
        try:
            yield
        finally:
            if not (directory / ABOUT_FILE).exists():
                with contextlib.suppress(OSError):
                    (directory / LOCK_FILE).unlink()
                    if created:
                        directory.rmdir()


def _absolute(model: str) -> str:
    """Return the MODEL, with an absolute path for a directory."""
    path = local_path(model)
    return str(path) if path.is_dir() else model


def _add_images(
    writer: IndexWriter,
    model: Model,
    images: Sequence[ImageFile],
    metadata: ImageMetadata,
    failures: FailureLog,
) -> None:
    for block in blocks(track(range(len(images)), "indexing", len(images)), block_size(model)):
        contents = dict(zip(block, digests([images[index] for index in block])))
        ids = {index: sample_uuid(images[index]) for index in block}
        new = [block[row] for row in writer.select_new(list(ids.values()), list(contents.values()))]
        for indices, features in model.embedder.stream_indexed(
            ((index, images[index]) for index in new), failures
        ):
            rows = make_rows(
                [ids[index] for index in indices],
                [images[index].name for index in indices],
                features,
                metadata.take(indices),
                [contents[index] for index in indices],
            )
            writer.add(rows)


def _origin(about: dict[str, str]) -> dict[str, Any]:
    """Return transform and precision of the vectors in a file of `embed`; older files lack them."""
    return {"transform": about.get("transform"), "precision": about.get("precision", "fp32")}


def _holds_vectors(path: str) -> bool:
    """Check for a Parquet file of `embed`."""
    if not (path.lower().endswith(PARQUET_SUFFIXES) and os.path.isfile(path)):
        return False
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return {"uuid", "emb"} <= set(pq.read_schema(path).names)
    except (pa.ArrowException, OSError) as error:
        raise UserError(
            f"{path} is not a readable Parquet file ({first_line(error)}); write it again"
        ) from error


def _add_vectors(writer: IndexWriter, path: str) -> int:
    """Add the vectors of a Parquet file; return their number."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        about = {name.decode(): value.decode() for name, value in (file.schema_arrow.metadata or {}).items()}
        if "fingerprint" not in about or "path" not in file.schema_arrow.names:
            raise UserError(
                f"{path} lacks the model or the paths of its vectors; write it again with `embed`"
            )
        dim = file.schema_arrow.field("emb").type.list_size
        writer.set_model(dim, about["fingerprint"], about["model"], **_origin(about))
        n = file.metadata.num_rows
        for batch in track(file.iter_batches(_BLOCK), "indexing", -(-n // _BLOCK)):
            ids, paths = batch["uuid"].to_pylist(), batch["path"].to_pylist()
            new = writer.select_new(ids, [None] * len(ids))
            if new:
                chosen = batch.take(new)
                vectors = chosen["emb"].flatten().to_numpy(zero_copy_only=False).reshape(len(new), -1)
                if about.get("normalized") != "true":
                    vectors = unit(vectors)
                others = [name for name in chosen.schema.names if name not in ("uuid", "emb", "path")]
                columns = pa.Table.from_batches([chosen]).select(others)
                writer.add(
                    make_rows([ids[row] for row in new], [paths[row] for row in new], vectors, columns)
                )
        return n
