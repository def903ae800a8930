"""The index on disk: a folder with a LanceDB table of images, and index.json, which describes it."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32

from bioclip_jax.errors import UserError
from bioclip_jax.files import atomic_write, check_folder
from bioclip_jax.predict.results import plain_text

if TYPE_CHECKING:
    import pyarrow as pa

ABOUT_FILE = "index.json"
# Held by the process that changes the index.
LOCK_FILE = ".lock"
# Ranks and names of a row, as in predictions; "" for unknown.
LINEAGE = (
    "kingdom",
    "phylum",
    "class",
    "order",
    "family",
    "genus",
    "species_epithet",
    "species",
    "common_name",
)

_TABLE = "images"
# LanceDB's errors about its files, as opposed to the arguments.
_FILE_ERROR = re.compile(r"LanceError\(IO\)|Not found: ")
# Candidates of the approximate index per result, which are re-ranked by exact distance.
_REFINE = 20
# Age up to which old versions of the table are kept for other readers.
KEPT = datetime.timedelta(hours=1)


class ImageIndex:
    """Images by their vectors: id (UUID), path, vector, LINEAGE, sha256, and further columns of the source.

    directory: folder of the index. about: content of index.json: the vectors' model ("fingerprint"; "model",
    the MODEL to load it, an absolute path for a directory; "source", its origin), "transform" ("model",
    "pybioclip", None if unknown), "precision" ("fp32", "bf16"), "dim", "count" after the last change; and for
    an approximate index, the number of partitions to search ("nprobes") and its recall at 10 ("recall").

    Every change commits one version of the table, so that readers always see a consistent one, also after a
    process was killed.
    """

    def __init__(self, directory: str | os.PathLike[str], fingerprint: str | None = None) -> None:
        """Open the index in a folder.

        Raises UserError if there is none, or if it belongs to a model other than that of `fingerprint`.
        """
        self.directory = Path(directory)
        try:
            self.about: dict[str, Any] = json.loads((self.directory / ABOUT_FILE).read_text(encoding="utf-8"))
            self.fingerprint: str = self.about["fingerprint"]
            self.table = _connect(self.directory).open_table(_TABLE)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{directory} is not an index of images; build one with `index build`") from error
        if fingerprint is not None:
            given = {"fingerprint": fingerprint, "source": "the model given"}
            check_same_model(self.directory, self.about, given)

    @classmethod
    def create(
        cls,
        directory: str | os.PathLike[str],
        dim: int,
        *,
        fingerprint: str,
        model: str | None,
        source: str,
        transform: str | None = None,
        precision: str = "fp32",
    ) -> ImageIndex:
        """Create an empty index. Raises UserError if the folder is not empty, or cannot be created."""
        import pyarrow as pa

        directory = Path(directory)
        check_free(directory)
        schema = pa.schema(
            [("id", pa.string()), ("path", pa.string()), ("vector", pa.list_(pa.float32(), dim))]
            + [(name, pa.string()) for name in LINEAGE]
            + [("sha256", pa.string())]
        )
        about = {"fingerprint": fingerprint, "model": model, "source": source, "transform": transform}
        about |= {"precision": precision, "dim": dim, "count": 0}
        partial = directory.with_name(f".{directory.name}.{os.getpid()}.partial")
        try:
            _connect(partial).create_table(_TABLE, schema=schema)
            (partial / ABOUT_FILE).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
            directory.mkdir(exist_ok=True)
            # ABOUT_FILE comes last: it marks a complete index.
            for name in (f"{_TABLE}.lance", ABOUT_FILE):
                os.replace(partial / name, directory / name)
        except OSError as error:
            raise UserError(
                f"the index {directory} cannot be created ({error.strerror}); choose another folder"
            ) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return cls(directory)

    def __len__(self) -> int:
        return self.table.count_rows()

    @property
    def transform(self) -> str | None:
        """Name of the image transform behind the vectors, None if unknown."""
        return self.about.get("transform")

    @property
    def precision(self) -> str:
        """Arithmetic behind the vectors; "fp32" in an index from before it was recorded."""
        return self.about.get("precision", "fp32")

    @property
    def model(self) -> str | None:
        """MODEL of the vectors, None if unknown. Raises UserError if its directory is gone."""
        model = self.about["model"]
        if model is not None and os.path.isabs(model) and not os.path.isdir(model):
            raise UserError(
                f"the model {model} of the index {self.directory} does not exist; give it with --model"
            )
        return model

    def model_for(self, model: str | None = None) -> str:
        """Return `model`, or the MODEL that built the index. Raises UserError if neither is known."""
        model = model or self.model
        if model is None:
            raise UserError(
                f"the index {self.directory} was built from vectors of {self.about['source']}; "
                "give that model with --model"
            )
        return model

    @property
    def columns(self) -> list[str]:
        """Columns that a filter can use."""
        return [name for name in self.table.schema.names if name != "vector"]

    def known(self) -> dict[str, str | None]:
        """Return the SHA-256 of each image's content by id, None if unknown."""
        table = self.values(["id", "sha256"])
        return dict(zip(table["id"].to_pylist(), table["sha256"].to_pylist()))

    def values(self, columns: Sequence[str]) -> pa.Table:
        """Return some columns of all images. Raises UserError for a damaged index."""
        with self.damage_as_error():
            return self.table.search().select(list(columns)).limit(max(1, len(self))).to_arrow()

    def add(self, rows: pa.Table, replace: bool = False) -> None:
        """Add images, or `replace` those of their ids. New columns are null for other images.

        Raises UserError for values that do not fit a column's type, and for a damaged index.
        """
        import pyarrow as pa

        new = [
            field.with_nullable(True) for field in rows.schema if field.name not in self.table.schema.names
        ]
        if new:
            with self.damage_as_error():
                self.table.add_columns(pa.schema(new))
        schema = self.table.schema
        columns = []
        for field in schema:
            try:
                given = field.name in rows.column_names
                columns.append(
                    rows[field.name].cast(field.type) if given else pa.nulls(len(rows), field.type)
                )
            except pa.ArrowException as error:
                raise UserError(
                    f"the column {field.name!r} of the index {self.directory} holds {field.type}, "
                    f"and the new values do not fit ({error}); rename the column in your table"
                ) from error
        rows = pa.table(columns, schema=schema)
        with self.damage_as_error():
            if replace:
                self.table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all().execute(
                    rows
                )
            else:
                self.table.add(rows)

    def delete(self, where: str) -> int:
        """Delete the images that match a filter (as check_filter); return their number."""
        self.check_filter(where)
        with self.damage_as_error():
            deleted = self.table.delete(f"({where})").num_deleted_rows
        self.write_about(count=len(self))
        return deleted

    def check_filter(self, where: str) -> int:
        """Return the number of images that match an SQL condition over the columns.

        Raises UserError for an invalid condition.
        """
        try:
            # LanceDB ignores the rest of a condition after its longest valid part, except in parentheses.
            if _is_unbalanced(where):
                raise ValueError("unbalanced parentheses")
            return self.table.count_rows(f"({where})")
        except (ValueError, RuntimeError, OSError) as error:
            if _FILE_ERROR.search(str(error)):
                raise self._damage(error) from error
            reason = str(error).splitlines()[0].removeprefix("Invalid input, ").split(". Valid fields")[0]
            raise UserError(
                f"the filter {where!r} is not valid ({reason.split(', /')[0]}); "
                f"write SQL such as family = 'Rosaceae', over the columns {', '.join(self.columns)}"
            ) from error

    def search(
        self,
        vectors: Float32[np.ndarray, "queries dim"],
        k: int = 10,
        *,
        where: str | None = None,
        exact: bool = False,
        nprobes: int | None = None,
        columns: Sequence[str] | None = None,
    ) -> list[list[dict[str, Any]]]:
        """Return each vector's k nearest images, best first: `columns` (None: all) and "score", the cosine.

        where: filter (as check_filter). With it, with `exact`, or for a small index, search is exact;
        otherwise it covers the `nprobes` nearest partitions (None: as in index.json).
        """
        if where is not None:
            self.check_filter(where)
        nprobes = nprobes or self.about.get("nprobes")
        exact = exact or where is not None or nprobes is None
        results = []
        for vector in np.asarray(vectors, np.float32):
            query = self.table.search(vector, vector_column_name="vector").distance_type("cosine").limit(k)
            query = query.select([*(columns or self.columns), "_distance"])
            if where is not None:
                query = query.where(f"({where})", prefilter=True)
            query = query.bypass_vector_index() if exact else query.nprobes(nprobes).refine_factor(_REFINE)
            with self.damage_as_error():
                rows = query.to_list()
            results.append([row | {"score": 1 - row.pop("_distance")} for row in rows])
        return results

    @contextlib.contextmanager
    def damage_as_error(self) -> Iterator[None]:
        """Turn errors of LanceDB in reading or writing its files into a UserError."""
        try:
            yield
        except (RuntimeError, OSError) as error:
            raise self._damage(error) from error

    def _damage(self, error: Exception) -> UserError:
        # Each layer of LanceDB wraps the message of the one below, and appends a source location.
        reason = (
            str(error)
            .splitlines()[0]
            .split(", /")[0]
            .split("Wrapped error: ")[-1]
            .removeprefix("lance error: ")
        )
        if "No space left" in str(error):
            return UserError(f"the disk of the index {self.directory} is full; free some space and try again")
        return UserError(f"the index {self.directory} is damaged ({reason}); build it again")

    def write_about(self, **values: Any) -> None:
        """Update index.json."""
        self.about |= values
        with atomic_write(self.directory / ABOUT_FILE) as path:
            path.write_text(json.dumps(self.about, indent=2) + "\n", encoding="utf-8")


def check_free(directory: Path) -> None:
    """Raise UserError if an index cannot be created at `directory`."""
    if directory.exists() and (
        not directory.is_dir() or any(path.name != LOCK_FILE for path in directory.iterdir())
    ):
        raise UserError(f"{directory} exists and is not an index of images; choose a new or an empty folder")
    check_folder(directory, "the index")


def check_same_model(directory: Path, held: dict[str, Any], given: dict[str, Any]) -> None:
    """Raise UserError if "fingerprint" or "transform" (if both are known) of an index and `given` differ.

    held: the index's `about`. Both have a "source" for the message.
    """
    if given["fingerprint"] != held["fingerprint"]:
        own, other = (f"{about['source']} ({about['fingerprint'][:12]})" for about in (held, given))
        raise UserError(
            f"the index {directory} holds vectors of {own}, not of {other}; use that model, or build "
            f"another index"
        )
    own, other = held.get("transform"), given.get("transform")
    if own and other and own != other:
        raise UserError(
            f"the index {directory} holds vectors of images under the transform {own}, not {other}; "
            f"give --transform {own}, or build another index"
        )


def quoted(text: str) -> str:
    """Return a text as a quoted literal of a filter."""
    return "'" + plain_text(text).replace("'", "''") + "'"


def _is_unbalanced(where: str) -> bool:
    """Check for a parenthesis closed before it is opened, outside of literals."""
    depth = 0
    for character in re.sub(r"'[^']*'|`[^`]*`|\"[^\"]*\"", "", where):
        depth += (character == "(") - (character == ")")
        if depth < 0:
            return True
    return False


def _connect(directory: Path) -> Any:
    try:
        import lancedb
    except ModuleNotFoundError as error:
        raise UserError(
            "an index of images needs LanceDB; install it with: pip install 'bioclip-jax[search]'"
        ) from error
    # An open reader sees every later version.
    return lancedb.connect(directory, read_consistency_interval=datetime.timedelta(seconds=0))
