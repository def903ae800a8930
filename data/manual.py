"""Base class of the builders over a publisher's own download, and helpers to read its files."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from bioclip_jax.errors import UserError
from bioclip_jax.file_kinds import is_hidden_path, is_image
from bioclip_jax.tables import read_table, table_rows
from bioclip_jax.text import RANKS, Taxon

# The rank class is `cls`, as in the reference's tables, because `class` is the label.
RANK_FEATURES = tuple("cls" if rank == "class" else rank for rank in RANKS)

Row = dict[str, Any]


class ManualBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Builder over files that the user has downloaded into the folder NAME of TFDS's manual_dir.

    Every example has image (the file's bytes), key, class (the label), the ranks RANK_FEATURES and
    common_name ("" if unknown), and FEATURES. Examples are in the publisher's order. Subclasses implement
    `read`.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First version."}
    # Content of the folder and its source, which follow "it needs" in errors.
    MANUAL_DOWNLOAD_INSTRUCTIONS: ClassVar[str]
    # Names that identify manual_dir itself as the folder, if it contains one of them.
    LOOK_FOR: ClassVar[tuple[str, ...]] = ()
    HOMEPAGE: ClassVar[str] = ""
    LICENSE: ClassVar[str] = "See the publisher."
    # Further features: str, or the type of a number.
    FEATURES: ClassVar[Mapping[str, type]] = {}

    def read(self, root: Path) -> Mapping[str, Iterable[Row]]:
        """Read the rows of each split.

        A row has image (a path or bytes), key, and features; missing texts are "". Raises UserError if the
        labels cannot be read.
        """
        raise NotImplementedError

    def missing(self, path: Path) -> UserError:
        """The error for a missing path."""
        return UserError(f"{self.name}: {path} is missing; it needs {self.MANUAL_DOWNLOAD_INSTRUCTIONS}")

    def require(self, path: Path) -> Path:
        """Return `path`, or raise UserError if it does not exist."""
        if not path.exists():
            raise self.missing(path)
        return path

    def table(self, path: Path, *columns: str) -> list[dict[str, str]]:
        """Read the rows of a CSV with the given columns. Raises UserError if one is missing."""
        try:
            table = read_table(self.require(path), known=columns)
        except UserError as problem:
            raise UserError(f"{self.name}: {problem}, or download it again") from None
        if absent := [column for column in columns if column not in table.column_names]:
            raise UserError(
                f"{self.name}: {path} has no column {', '.join(absent)}, only "
                f"{', '.join(table.column_names)}; "
                f"it needs {self.MANUAL_DOWNLOAD_INSTRUCTIONS}"
            )
        return list(table_rows(table))

    def pairs(self, path: Path) -> dict[str, str]:
        """Read the lines "KEY VALUE" of a text file, in order."""
        pairs = {}
        for number, line in enumerate(self.lines(path), 1):
            parts = line.split(None, 1)
            if len(parts) != 2:
                raise UserError(
                    f"{self.name}: line {number} of {path} is {line!r}, not two values; download it again"
                )
            pairs[parts[0]] = parts[1]
        return pairs

    def lines(self, path: Path) -> list[str]:
        """Read the non-empty lines of a text file, stripped."""
        try:
            text = self.require(path).read_text("utf-8")
        except UnicodeDecodeError as error:
            raise UserError(f"{self.name}: {path} is not text ({error}); download it again") from None
        return [line.strip() for line in text.split("\n") if line.strip()]

    def _info(self) -> tfds.core.DatasetInfo:
        text = {name: tfds.features.Text() for name in ("key", "class", *RANK_FEATURES, "common_name")}
        further = {
            name: tfds.features.Text() if kind is str else tfds.features.Scalar(kind)
            for name, kind in self.FEATURES.items()
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.__doc__,
            features=tfds.features.FeaturesDict({"image": tfds.features.Image(), **text, **further}),
            homepage=self.HOMEPAGE or None,
            license=self.LICENSE,
            # The few-shot protocol draws from a class in the publisher's order.
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        root = self._root(dl_manager)
        splits = self.read(root)
        for split, rows in splits.items():
            if isinstance(rows, list):
                self.check(split, rows, root)
        return {split: self._generate_examples(rows) for split, rows in splits.items()}

    def _generate_examples(self, rows: Iterable[Row]) -> Iterator[tuple[int, Row]]:
        empty = dict.fromkeys(("class", *RANK_FEATURES, "common_name"), "")
        empty |= {name: "" for name, kind in self.FEATURES.items() if kind is str}
        for number, row in enumerate(rows):
            image = row["image"]
            yield number, empty | row | {"image": image.read_bytes() if isinstance(image, Path) else image}

    def _root(self, dl_manager) -> Path:
        try:
            folder = Path(dl_manager.manual_dir)
        except AssertionError as error:  # it is missing or empty; the message names it
            problem = str(error).partition(". ")[0]
            needs = f"it needs {self.MANUAL_DOWNLOAD_INSTRUCTIONS}, in the folder {self.name} there"
            raise UserError(f"{self.name}: {problem}; {needs}") from None
        named = folder / self.name
        if not named.is_dir() and any((folder / name).exists() for name in self.LOOK_FOR):
            return folder
        return self.require(named)

    def check(self, split: str, rows: list[Row], root: Path) -> None:
        """Raise UserError if a split has no rows, or if images are missing."""
        if not rows:
            needs = f"it needs {self.MANUAL_DOWNLOAD_INSTRUCTIONS}"
            raise UserError(f"{self.name}: {root} holds no images for {split}; {needs}")
        paths = [row["image"] for row in rows if isinstance(row["image"], Path)]
        missing = [str(path) for path in paths if not path.is_file()]
        if missing:
            raise UserError(
                f"{self.name}: {len(missing):,} of the {len(rows):,} images for {split} are missing: "
                f"{', '.join(missing[:3])}{', …' if len(missing) > 3 else ''}; complete the download"
            )


def taxon_features(taxon: Taxon) -> dict[str, str]:
    """The ranks and the common name of a taxon as features."""
    return dict(zip(RANK_FEATURES, taxon.lineage())) | {"common_name": taxon.common_name}


def first_file(name: str, *folders: Path) -> Path:
    """Path of the file `name` in the first of the folders that has it, else in the first folder.

    Raises UserError for a name outside the folders, because a downloaded table must not reach other files.
    """
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise UserError(
            f"a table names the image {name}, which is not inside {folders[0]}; correct the table"
        )
    paths = [folder / name for folder in folders]
    return next((path for path in paths if path.is_file()), paths[0])


def images_by_class(folder: Path) -> Iterator[tuple[str, Path]]:
    """Iterate over (class, image) of a folder with one subfolder per class, in ImageFolder's order."""
    for subfolder in sorted(path for path in folder.iterdir() if path.is_dir()):
        for image in sorted(subfolder.rglob("*")):
            if is_image(image) and not is_hidden_path(image.relative_to(subfolder).as_posix()):
                yield subfolder.name, image


def images_by_name(folder: Path) -> dict[str, Path]:
    """Map base names to the images anywhere under a folder, without ambiguous names."""
    images: dict[str, Path | None] = {}
    for path in folder.rglob("*"):
        if is_image(path) and not is_hidden_path(path.relative_to(folder).as_posix()):
            images[path.name] = None if path.name in images else path
    return {name: path for name, path in images.items() if path is not None}
