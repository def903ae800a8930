"""The world as files: world.toml with its tables and rasters, for `bioclip-jax twin build`."""

import os
from importlib import resources
from pathlib import Path

import numpy as np

from bioclip_jax.datasets.twin_savanna.survey import draw_survey
from bioclip_jax.datasets.twin_savanna.terrain import CELL_M, CRS, NORTH, WEST, draw_terrain
from bioclip_jax.errors import UserError
from bioclip_jax.files import check_folder, replaced_folder

TABLES = ("world.toml", "species.csv", "links.csv", "climate.csv")
SCENARIOS = ("no_lions.toml", "dry_years.toml", "fence.toml")


def write_world(folder: str | os.PathLike[str], *, seed: int = 0) -> Path:
    """Write the savanna into a new folder and return its world.toml; the seed draws the land.

    Beside it are species.csv, links.csv, climate.csv, elevation.tif (m), habitat.tif, water.tif and
    patches.tif, scenarios/ for `twin run`, and a survey for `twin calibrate` with the densities that were
    planted (survey.csv, movement.csv, planted.json). Equal seeds give equal bytes. Raises UserError if the
    folder exists and is not empty.
    """
    folder = Path(folder)
    check_folder(folder)
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder} is not empty; remove it or choose another folder")
    with replaced_folder(folder) as partial:
        source = resources.files(__package__)
        (partial / "scenarios").mkdir()
        for name in (*TABLES, *(f"scenarios/{name}" for name in SCENARIOS)):
            (partial / name).write_bytes(source.joinpath(name).read_bytes())
        for name, text in draw_survey(seed).items():
            (partial / name).write_text(text, encoding="utf-8")
        terrain = draw_terrain(seed)
        _write_raster(partial / "elevation.tif", terrain.elevation.astype(np.float32))
        for name in ("habitat", "water", "patches"):
            _write_raster(partial / f"{name}.tif", getattr(terrain, name))
    return folder / "world.toml"


def _write_raster(path: Path, values: np.ndarray) -> None:
    import rasterio
    from rasterio.transform import from_origin

    profile = {
        "driver": "GTiff",
        "height": values.shape[0],
        "width": values.shape[1],
        "count": 1,
        "dtype": values.dtype,
        "crs": CRS,
        "transform": from_origin(WEST, NORTH, CELL_M, CELL_M),
        "compress": "deflate",
    }
    with rasterio.open(path, "w", **profile) as raster:
        raster.write(values, 1)
