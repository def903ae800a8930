"""Write a camera-trap package for others."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioclip_jax.errors import UserError
from bioclip_jax.files import PARTIAL, check_folder, files_below, json_text, write_text
from bioclip_jax.twin.observe.camtrap_dp import (
    MEDIA_FOLDER,
    PROBABILITIES_FILE,
    RELIABILITY_FILE,
    Package,
    check_package,
    write_package,
)

from .grid import CATEGORIES
from .metadata import JPEG, strip_metadata
from .opaque import PRECISE, SHARED, Opaque, make_opaque
from .selection import Selection, select_rows
from .sensitivity import WITHHELD, Sensitivity, folded, package_category, withheld_names
from .shared_descriptor import shared_descriptor
from .sites import check_positions

if TYPE_CHECKING:
    import polars as pl

# Columns of deployments whose words must appear in no text that is shared.
_PLACES = ("deploymentID", "locationID", "locationName", "cameraID", "deploymentGroups")
_SHORTEST_SECRET = 4
_KEY = re.compile(r"[a-z0-9_]{1,40}")


def share_package(
    package: Package,
    folder: Path,
    sensitivity: Sensitivity | None = None,
    *,
    precise: bool = False,
    copy_media: bool = False,
) -> dict[str, Any]:
    """Write a Camtrap DP that others may have, and return what it holds and what was left out.

    All positions are generalized to the category of the most sensitive species (package_category); ids are
    replaced; people, vehicles, set-up images, withheld species and the images of their events are left out,
    and so are names of places, cameras and observers, free text, file names, EXIF data, individuals, other
    resources, and all of the descriptor but licenses, rights holders, publishers, sampling design and taxa.
    Timestamps stay: without them there is no effort and no activity. Whoever knows when a camera was set up
    therefore knows which it is.

    sensitivity: None counts every species as category 2. precise: share positions as recorded, and places,
    cameras, tags and comments with them; people and withheld species are left out all the same. copy_media:
    copy the local images that have a classification, without their metadata (strip_metadata); look at them
    first, since a strip in the picture or the skyline can give the place away.

    Returns {"folder", "category", "degrees" and "uncertainty_m" (null if precise), "precise", "deployments",
    "media", "observations", "images", "left_out": {"people" (observations of people, vehicles and set-up),
    "withheld" (observations), "media", "damaged_images" (of those to copy), "columns", "resources",
    "contributors", "descriptor"}}.
    Raises UserError if the folder is not empty or is the package's own, a deployment has no position, or an
    image to copy is missing.
    """
    sensitivity = sensitivity or Sensitivity()
    folder = Path(folder)
    package = package.without_missing()
    check_shared_folder(folder, package.folder)
    check_positions(package.deployments)
    category = package_category(package, sensitivity)
    withheld = withheld_names(package, sensitivity)
    reveals = _secrets(package, sensitivity, withheld, precise)
    rows = select_rows(package, withheld)
    opaque = make_opaque(package.deployments, rows, category, precise=precise, reveals=reveals)
    images = _images(package, rows, opaque) if copy_media else []
    tables = {
        "deployments": opaque.deployments,
        "media": opaque.media,
        "observations": opaque.observations,
    }
    descriptor = shared_descriptor(package.descriptor, tables, category, precise=precise, reveals=reveals)

    # Beside the shared package, which then takes the files as links.
    with tempfile.TemporaryDirectory(
        prefix=f".{folder.name[:40]}.files{PARTIAL}", dir=folder.parent
    ) as partial:
        staged = Path(partial)
        copied = _copy(images, staged / MEDIA_FOLDER)
        _share_probabilities(package, opaque, staged)
        tables["media"] = _with_files(opaque.media, copied)
        shared = Package(descriptor=descriptor, folder=None, **tables)
        check_package(shared)
        files = {path.relative_to(staged).as_posix(): path for path in files_below(staged)}
        write_package(shared, folder, files=files)
    grid = CATEGORIES[category]
    return {
        "folder": str(folder),
        "category": category,
        "degrees": None if precise else grid.degrees,
        "uncertainty_m": None if precise else grid.uncertainty_m,
        "precise": precise,
        **{name: table.height for name, table in tables.items()},
        "images": len(copied),
        "left_out": {
            "people": rows.people,
            "withheld": rows.withheld,
            "media": package.media.height - opaque.media.height,
            "damaged_images": len(images) - len(copied),
            "columns": _dropped_columns(package, precise),
            "resources": [
                resource["name"]
                for resource in package.descriptor.get("resources", ())
                if resource.get("name") not in tables
            ],
            "contributors": _contributors_left_out(package.descriptor, descriptor),
            "descriptor": sorted(package.descriptor.keys() - descriptor.keys()),
        },
    }


def check_shared_folder(folder: Path, private: Path | None) -> None:
    """Raise UserError unless `folder` is new or empty, and neither in the private package nor around it."""
    check_folder(folder, "the shared package")
    if folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"the shared package {folder} exists and is not empty; name a new folder")
    if private is not None:
        shared, own = folder.resolve(), private.resolve()
        if shared.is_relative_to(own) or own.is_relative_to(shared):
            raise UserError(
                f"the shared package {folder} and the private one {private} overlap; name separate folders"
            )


def _secrets(
    package: Package, sensitivity: Sensitivity, withheld: Iterable[str], precise: bool
) -> Callable[[str], bool]:
    """Return a test of a text: True if it contains a withheld taxon, an observer, or a word of a place."""
    hidden = {taxon for taxon, category in sensitivity.categories.items() if category == WITHHELD}
    hidden |= {folded(name) for name in withheld}
    for entry in package.descriptor.get("taxonomic") or ():
        if isinstance(entry, Mapping) and folded(str(entry.get("scientificName", ""))) in hidden:
            names = entry.get("vernacularNames")
            hidden |= {folded(str(name)) for name in names.values()} if isinstance(names, Mapping) else set()
    hidden |= _words(package.deployments, "setupBy")
    observations = package.observations
    if {"classificationMethod", "classifiedBy"} <= {*observations.columns}:
        hidden |= _words(
            observations.filter(observations["classificationMethod"] != "machine"), "classifiedBy"
        )
    if not precise:
        for column in _PLACES:
            hidden |= _words(package.deployments, column)
    hidden.discard("")
    if not hidden:
        return lambda text: False
    pattern = re.compile("|".join(map(re.escape, sorted(hidden, key=len, reverse=True))))
    return lambda text: bool(pattern.search(folded(text)))


def _words(table: pl.DataFrame, column: str) -> set[str]:
    """The cells of a column and the words in them, without those too short to identify anything."""
    if column not in table.columns:
        return set()
    cells = {folded(cell) for cell in table[column].unique().to_list()}
    words = {word for cell in cells for word in re.findall(r"[^\W\d_]+", cell)}
    return {text for text in cells | words if len(text) >= _SHORTEST_SECRET}


def _images(package: Package, rows: Selection, opaque: Opaque) -> list[tuple[Path, str]]:
    """Local images to copy, with their new mediaID; only those classified, as any other may show people."""
    import polars as pl

    chosen = (
        rows.media.select("mediaID", "filePath", "fileMediatype")
        .join(opaque.media_ids, on="mediaID")
        .filter(
            pl.col("mediaID").is_in(rows.classified.implode())
            & pl.col("fileMediatype").str.starts_with("image/")
            & ~pl.col("filePath").str.contains("://")
        )
    )
    images = []
    for path, media_id in chosen.select("filePath", "id").iter_rows():
        source = (package.folder or Path()) / path
        if not source.is_file():
            raise UserError(
                f"media, {path}: the file is not in {package.folder}; restore it, or share the package "
                "without its images"
            )
        images.append((source, media_id))
    return images


def _copy(images: Iterable[tuple[Path, str]], folder: Path) -> dict[str, str]:
    """Write images without their metadata; return paths in the package by mediaID, without damaged images."""
    copied = {}
    for source, name in images:
        try:
            image = strip_metadata(source.read_bytes())
        except UserError:
            continue
        folder.mkdir(exist_ok=True)
        file = folder / (name + (".jpg" if image.startswith(JPEG) else ".png"))
        file.write_bytes(image)
        copied[name] = f"{folder.name}/{file.name}"
    return copied


def _with_files(media: pl.DataFrame, copied: Mapping[str, str]) -> pl.DataFrame:
    """Media with the paths and types of the files that were copied, which are public."""
    import polars as pl

    if not copied:
        return media
    files = pl.DataFrame({"mediaID": list(copied), "path": list(copied.values())})
    has_file = pl.col("path").is_not_null()
    kind = (
        pl.when(pl.col("path").str.ends_with(".png"))
        .then(pl.lit("image/png"))
        .otherwise(pl.lit("image/jpeg"))
    )
    return (
        media.join(files, on="mediaID", how="left", maintain_order="left")
        .with_columns(
            filePath=pl.coalesce("path", "filePath"),
            filePublic=pl.when(has_file).then(pl.lit("true")).otherwise("filePublic"),
            fileMediatype=pl.when(has_file).then(kind).otherwise("fileMediatype"),
        )
        .drop("path")
    )


def _share_probabilities(package: Package, opaque: Opaque, folder: Path) -> None:
    """Write the probabilities of shared images and species, and the numbers of the reliability table."""
    import polars as pl

    if package.folder is None:
        return
    source = package.folder / PROBABILITIES_FILE
    if source.is_file():
        names = opaque.observations["scientificName"].unique()
        pl.read_parquet(source, columns=["mediaID", "scientificName", "probability"]).filter(
            pl.col("scientificName").is_in(names.implode())
        ).join(opaque.media_ids, on="mediaID").select("scientificName", "probability", mediaID="id").select(
            "mediaID", "scientificName", "probability"
        ).sort("mediaID", "probability", descending=[False, True]).write_parquet(folder / PROBABILITIES_FILE)
    source = package.folder / RELIABILITY_FILE
    if source.is_file():
        numbers = _numbers(json.loads(source.read_text(encoding="utf-8")))
        write_text(folder / RELIABILITY_FILE, json_text(numbers, indent=2) + "\n")


def _numbers(value: Any) -> Any:
    """JSON without its texts, which are paths and names."""
    if isinstance(value, dict):
        return {
            key: _numbers(item)
            for key, item in value.items()
            if _KEY.fullmatch(key) and not isinstance(item, str)
        }
    if isinstance(value, list):
        return [_numbers(item) for item in value if not isinstance(item, str)]
    return value


def _contributors_left_out(private: Mapping[str, Any], shared: Mapping[str, Any]) -> list[str]:
    named = {contributor["title"] for contributor in shared["contributors"]}
    titles = [str(contributor.get("title", "")).strip() for contributor in private.get("contributors") or ()]
    return sorted({title for title in titles if title not in named})


def _dropped_columns(package: Package, precise: bool) -> dict[str, list[str]]:
    return {
        name: [
            column
            for column in table.columns
            if column not in SHARED[name] and not (precise and column in PRECISE[name])
        ]
        for name, table in package.tables.items()
    }
