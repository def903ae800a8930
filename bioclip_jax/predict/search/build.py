"""The verbs `index build` and `index delete`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioclip_jax.convert import DEFAULT_MODEL, local_path
from bioclip_jax.errors import Interrupted, UserError
from bioclip_jax.file_kinds import PARQUET_SUFFIXES
from bioclip_jax.predict.embedding import ImageMetadata, blocks, digests, sample_uuid, unit
from bioclip_jax.predict.inputs import ImageFile, expand, find_images
from bioclip_jax.predict.progress import FailureLog, report_truncated, track

from .adder import Adder
from .lock import locked
from .rows import make_rows
from .table import ABOUT_FILE, ImageIndex, check_free, quoted

if TYPE_CHECKING:
    from bioclip_jax.pipeline.images import ReadOptions
    from bioclip_jax.predict.model import Model

# Vectors of a Parquet file that are added as one version of the table.
_BLOCK = 8192


def build_index(
    inputs: Sequence[str | os.PathLike[str]],
    model: str | None,
    output: str | os.PathLike[str],
    *,
    batch_size: int | None = None,
    device: str | None = None,
    pretrained: str | None = None,
    transform: str | None = None,
    reading: ReadOptions | None = None,
) -> dict[str, Any]:
    """Make an index of images in the folder `output`, or add to the one that is there what it does not hold.

    An image whose content the index holds is left out, whatever it is called; one whose file has changed
    takes its old row's place. A build that is stopped leaves the images that it had added, and goes on when
    it is called again.

    Args: `inputs` as find_images, or Parquet files that `embed` wrote, for which no model is needed; the
      others as load_model.
    Returns: {"images": how many inputs, "added", "replaced", "known", "unreadable", "truncated", "count": how
      many there are now, "recall": that of the approximate index at 10, on 100 of its images, or None where
      search is exact, "nprobes", "output"}.
    Errors: UserError for wrong arguments, before the model is loaded, for a model that is not the index's,
      while another process builds it, and where no image can be read.
    """
    output = Path(output)
    if not (output / ABOUT_FILE).is_file():
        check_free(output)
    paths = expand(inputs)
    tables = [path for path in paths if _holds_vectors(path)]
    files = [path for path in paths if path not in tables]
    images = find_images(files) if files else []
    columns = ImageMetadata(files, images)
    unreadable = FailureLog(len(images))
    with locked(output):
        index = ImageIndex(output) if (output / ABOUT_FILE).is_file() else None
        adder, truncated = Adder(output, index), []
        try:
            if images or model is not None:
                # JAX is loaded once there is something to do.
                from bioclip_jax.predict.model import load_model

                model = model or (index.model if index else None) or DEFAULT_MODEL
                transform = transform or (index.transform if index else None)
                how = {
                    "pretrained": pretrained,
                    "device": device,
                    "batch_size": batch_size,
                    "transform": transform,
                }
                loaded = load_model(model, **how, reading=reading)
                name = None if pretrained else _from_anywhere(model)
                adder.made_by(
                    loaded.config.embed_dim, loaded.fingerprint, loaded.source, name, loaded.transform
                )
                _add_images(adder, loaded, images, columns, unreadable)
                truncated = report_truncated(loaded.embedder.truncated)
            number = len(images)
            for table in tables:
                number += _add_vectors(adder, table)
            counts = adder.finish()
        except KeyboardInterrupt:
            count = adder.keep()
            kept = f"{output} holds {count:,} images; run the same command again to add the rest"
            raise Interrupted(kept if count else "nothing is kept") from None
        told = {"unreadable": unreadable.problems, "truncated": truncated, "output": str(output)}
        return {"images": number, **counts, **told}


def delete_images(
    directory: str | os.PathLike[str], *, paths: Sequence[str] = (), where: str | None = None
) -> dict[str, Any]:
    """Take images out of an index: those at `paths` (or in folders and tars of these names), or that `where` selects.

    Returns: {"deleted", "count": how many are left}. UserError for a path that is not in the index, for a
    wrong filter, and while another process builds it.
    """
    if bool(paths) == (where is not None):
        raise UserError("say which images to take out of the index: either --path or --where")
    with locked(ImageIndex(directory).directory):
        # Opened again, because another process may just have changed it.
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


def _from_anywhere(model: str) -> str:
    """The MODEL, a directory by its absolute path."""
    path = local_path(model)
    return str(path) if path.is_dir() else model


def _add_images(
    adder: Adder, model: Model, images: Sequence[ImageFile], columns: ImageMetadata, bad: FailureLog
) -> None:
    for block in blocks(track(range(len(images)), "indexing", len(images))):
        contents = dict(zip(block, digests([images[place] for place in block])))
        ids = {place: sample_uuid(images[place]) for place in block}
        wanted = [block[number] for number in adder.wanted(list(ids.values()), list(contents.values()))]
        chosen = ((place, images[place]) for place in wanted)
        for places, features in model.embedder.stream_indexed(chosen, bad):
            named = [ids[place] for place in places], [images[place].name for place in places]
            adder.add(
                make_rows(*named, features, columns.take(places), [contents[place] for place in places])
            )


def _holds_vectors(item: str) -> bool:
    """Whether it is a Parquet file as `embed` writes them."""
    if not (item.lower().endswith(PARQUET_SUFFIXES) and os.path.isfile(item)):
        return False
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return {"uuid", "emb"} <= set(pq.read_schema(item).names)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{item} is not a readable Parquet file ({reason}); write it again") from error


def _add_vectors(adder: Adder, item: str) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(item) as file:
        about = {name.decode(): value.decode() for name, value in (file.schema_arrow.metadata or {}).items()}
        if "fingerprint" not in about or "path" not in file.schema_arrow.names:
            raise UserError(
                f"{item} does not say of which model and images its vectors are; write it again with `embed`"
            )
        dim = file.schema_arrow.field("emb").type.list_size
        adder.made_by(dim, about["fingerprint"], about["model"], transform=about.get("transform"))
        number = file.metadata.num_rows
        for batch in track(file.iter_batches(_BLOCK), "indexing", -(-number // _BLOCK)):
            ids, paths = batch["uuid"].to_pylist(), batch["path"].to_pylist()
            wanted = adder.wanted(ids, [None] * len(ids))
            if wanted:
                chosen = batch.take(wanted)
                vectors = chosen["emb"].flatten().to_numpy(zero_copy_only=False).reshape(len(wanted), -1)
                if about.get("normalized") != "true":
                    vectors = unit(vectors)
                others = [name for name in chosen.schema.names if name not in ("uuid", "emb", "path")]
                columns = pa.Table.from_batches([chosen]).select(others)
                adder.add(make_rows([ids[w] for w in wanted], [paths[w] for w in wanted], vectors, columns))
        return number
