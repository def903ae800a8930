"""The index on disk: a folder with a LanceDB table of images, and what is known of it as a whole."""

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
# The ranks and names of a row, as the predictions have them; "" where unknown.
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
# What LanceDB says where a file of its own is at fault, and not the call.
_OF_A_FILE = re.compile(r"LanceError\(IO\)|Not found: ")
# The approximate index finds this many times k by its rough distances, and orders them by the exact ones.
_REFINE = 20
# Other readers may hold a version that old.
KEPT = datetime.timedelta(hours=1)


class ImageIndex:
    """Images by their vectors. A row has id (UUID), path, vector, LINEAGE, sha256, and what else the source says.

    directory: where it lies. about: index.json: the fingerprint of the model that made the vectors
    ("fingerprint"), how to load it ("model", a directory by its absolute path), where it came from
    ("source"), its "transform" of images ("model", "pybioclip", or None where that is not known), "dim", and
    "count" as the last change left it; and if there is an approximate index, how many of its partitions a
    search reads ("nprobes"), and which share of the ten nearest it then finds ("recall").

    Every change is one version of the table: readers, and a process that is killed, leave and find a whole
    one.
    """

    def __init__(self, directory: str | os.PathLike[str], fingerprint: str | None = None) -> None:
        """Opens the index in a folder. UserError if there is none, or it is not of the model with `fingerprint`."""
        self.directory = Path(directory)
        try:
            self.about: dict[str, Any] = json.loads((self.directory / ABOUT_FILE).read_text(encoding="utf-8"))
            self.fingerprint: str = self.about["fingerprint"]
            self.table = _connect(self.directory).open_table(_TABLE)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{directory} is no index of images; make one with `index build`") from error
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
    ) -> ImageIndex:
        """A new index without images. UserError if the folder holds anything, or cannot be made."""
        import pyarrow as pa

        directory = Path(directory)
        check_free(directory)
        schema = pa.schema(
            [("id", pa.string()), ("path", pa.string()), ("vector", pa.list_(pa.float32(), dim))]
            + [(name, pa.string()) for name in LINEAGE]
            + [("sha256", pa.string())]
        )
        about = {"fingerprint": fingerprint, "model": model, "source": source, "transform": transform}
        about |= {"dim": dim, "count": 0}
        beside = directory.with_name(f".{directory.name}.{os.getpid()}.partial")
        try:
            _connect(beside).create_table(_TABLE, schema=schema)
            (beside / ABOUT_FILE).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
            directory.mkdir(exist_ok=True)
            # Until ABOUT_FILE is there, the folder is no index.
            for name in (f"{_TABLE}.lance", ABOUT_FILE):
                os.replace(beside / name, directory / name)
        except OSError as error:
            raise UserError(
                f"the index {directory} cannot be made ({error.strerror}); name another folder"
            ) from error
        finally:
            shutil.rmtree(beside, ignore_errors=True)
        return cls(directory)

    def __len__(self) -> int:
        return self.table.count_rows()

    @property
    def transform(self) -> str | None:
        """The transform of the images behind the vectors, by its name; None where that is not known."""
        return self.about.get("transform")

    @property
    def model(self) -> str | None:
        """The MODEL that made the vectors; None where they came without it. UserError where it is there no more."""
        model = self.about["model"]
        if model is not None and os.path.isabs(model) and not os.path.isdir(model):
            raise UserError(
                f"the model {model} of the index {self.directory} is not there any more; say where it is "
                f"with --model"
            )
        return model

    def model_for(self, model: str | None = None) -> str:
        """The MODEL to use with the index: the one that is named, or else the one that built it.

        UserError where neither is known, or the one that built it is gone.
        """
        model = model or self.model
        if model is None:
            raise UserError(
                f"the index {self.directory} was built from vectors of {self.about['source']}; "
                "name that model with --model"
            )
        return model

    @property
    def columns(self) -> list[str]:
        """The columns that a filter may name."""
        return [name for name in self.table.schema.names if name != "vector"]

    def known(self) -> dict[str, str | None]:
        """The SHA-256 of each image's content, or None where it is not known, by id."""
        found = self.values(["id", "sha256"])
        return dict(zip(found["id"].to_pylist(), found["sha256"].to_pylist()))

    def values(self, columns: Sequence[str]) -> pa.Table:
        """Some columns of all images. UserError where the index is damaged."""
        with self.undamaged():
            return self.table.search().select(list(columns)).limit(max(1, len(self))).to_arrow()

    def add(self, rows: pa.Table, replace: bool = False) -> None:
        """Add images; `replace`: instead of those that have their ids. Columns that are new here become null in others.

        UserError for a column whose values do not fit the type that it has, and where the index is damaged.
        """
        import pyarrow as pa

        new = [
            field.with_nullable(True) for field in rows.schema if field.name not in self.table.schema.names
        ]
        if new:
            with self.undamaged():
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
        with self.undamaged():
            if replace:
                self.table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all().execute(
                    rows
                )
            else:
                self.table.add(rows)

    def delete(self, where: str) -> int:
        """Take out the images that a filter (as check_filter) names. Returns how many there were."""
        self.check_filter(where)
        with self.undamaged():
            deleted = self.table.delete(f"({where})").num_deleted_rows
        self.write_about(count=len(self))
        return deleted

    def check_filter(self, where: str) -> int:
        """How many images an SQL condition over the columns selects. UserError where it is none."""
        try:
            # LanceDB reads as much of a condition as makes sense, and passes over the rest. Not so in
            # brackets.
            if _closes_too_much(where):
                raise ValueError("it closes a bracket that it has not opened")
            return self.table.count_rows(f"({where})")
        except (ValueError, RuntimeError, OSError) as error:
            if _OF_A_FILE.search(str(error)):
                raise self._damage(error) from error
            reason = str(error).splitlines()[0].removeprefix("Invalid input, ").split(". Valid fields")[0]
            raise UserError(
                f"the filter {where!r} cannot be used ({reason.split(', /')[0]}); "
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
        """The k nearest images of each vector, best first: their `columns` (None: all), and "score", the cosine.

        `where`: only those that this filter (as check_filter) selects. With it, with `exact`, and while the
        index is small, every vector is compared; else the `nprobes` nearest partitions (None: as the index
        says).
        """
        if where is not None:
            self.check_filter(where)
        nprobes = nprobes or self.about.get("nprobes")
        exact = exact or where is not None or nprobes is None
        found = []
        for vector in np.asarray(vectors, np.float32):
            query = self.table.search(vector, vector_column_name="vector").distance_type("cosine").limit(k)
            query = query.select([*(columns or self.columns), "_distance"])
            if where is not None:
                query = query.where(f"({where})", prefilter=True)
            query = query.bypass_vector_index() if exact else query.nprobes(nprobes).refine_factor(_REFINE)
            with self.undamaged():
                rows = query.to_list()
            found.append([row | {"score": 1 - row.pop("_distance")} for row in rows])
        return found

    @contextlib.contextmanager
    def undamaged(self) -> Iterator[None]:
        """What LanceDB cannot read or write in the block becomes a UserError."""
        try:
            yield
        except (RuntimeError, OSError) as error:
            raise self._damage(error) from error

    def _damage(self, error: Exception) -> UserError:
        # Each layer of LanceDB wraps what the one below says, and the place in its source follows.
        reason = (
            str(error)
            .splitlines()[0]
            .split(", /")[0]
            .split("Wrapped error: ")[-1]
            .removeprefix("lance error: ")
        )
        if "No space left" in str(error):
            return UserError(
                f"the disk of the index {self.directory} is full; make room, and call this again"
            )
        return UserError(f"the index {self.directory} is damaged ({reason}); build it again")

    def write_about(self, **values: Any) -> None:
        """Change index.json."""
        self.about |= values
        with atomic_write(self.directory / ABOUT_FILE) as path:
            path.write_text(json.dumps(self.about, indent=2) + "\n", encoding="utf-8")


def check_free(directory: Path) -> None:
    """UserError if the folder of an index cannot be made at `directory`."""
    if directory.exists() and (
        not directory.is_dir() or any(path.name != LOCK_FILE for path in directory.iterdir())
    ):
        raise UserError(
            f"{directory} is there and is no index of images; name another folder, or one that is empty"
        )
    check_folder(directory, "the index")


def check_same_model(directory: Path, held: dict[str, Any], given: dict[str, Any]) -> None:
    """UserError where the "fingerprint" of `given`, or a "transform" that both state, is not that of the index.

    Each states its "source".
    """
    if given["fingerprint"] != held["fingerprint"]:
        made_by, other = (f"{about['source']} ({about['fingerprint'][:12]})" for about in (held, given))
        raise UserError(
            f"the index {directory} holds vectors of {made_by}, not of {other}; use that model, or build "
            f"another index"
        )
    made_by, other = held.get("transform"), given.get("transform")
    if made_by and other and made_by != other:
        raise UserError(
            f"the index {directory} holds vectors of images under the transform {made_by}, not {other}; "
            f"give --transform {made_by}, or build another index"
        )


def quoted(text: str) -> str:
    """A text as a filter writes it."""
    return "'" + plain_text(text).replace("'", "''") + "'"


def _closes_too_much(where: str) -> bool:
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
    # A reader that stays open sees what others add.
    return lancedb.connect(directory, read_consistency_interval=datetime.timedelta(seconds=0))
