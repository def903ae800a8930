"""A small savanna for tests: seven species, two patches, and rasters in UTM 36 south."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bioclip_jax.twin.world import Grid, write_raster

SPECIES = """\
name,common_name,kind,mass_g,family,diet_plants,diet_vertebrates,diet_invertebrates,density_per_km2,citation
Themeda triandra,red grass,producer,1,Poaceae,,,,,test
Vachellia tortilis,umbrella thorn,producer,500000,Fabaceae,,,,,test
Macrotermes michaelseni,termite,invertebrate,0.05,Termitidae,1,0,0,1000000,test
Equus quagga,plains zebra,endotherm,250000,Equidae,1,0,0,10,test
Giraffa camelopardalis,giraffe,endotherm,900000,Giraffidae,1,0,0,1,test
Orycteropus afer,aardvark,endotherm,55000,Orycteropodidae,0,0,1,0.1,test
Panthera leo,lion,endotherm,160000,Felidae,0,1,0,0.1,test
"""
LINKS = """\
sourceTaxonName,interactionTypeName,targetTaxonName,referenceCitation
Equus quagga,eats,Themeda triandra,test
Giraffa camelopardalis,eats,Vachellia tortilis,test
Macrotermes michaelseni,eats,Themeda triandra,test
Macrotermes michaelseni,eatenBy,Orycteropus afer,test
Panthera leo,preysOn,Equus quagga,test
Panthera leo,preysOn,Giraffa camelopardalis,test
"""
CLIMATE = "month,rain_mm,temperature_c\n" + "".join(
    f"{month},{rain},{20 + month % 4}\n"
    for month, rain in enumerate((80, 90, 120, 150, 80, 20, 5, 10, 20, 40, 80, 100), 1)
)
WORLD = """\
name = "small savanna"
start = 2020-01-01
species = "species.csv"
links = "links.csv"

[[patches]]
name = "west"
value = 1

[[patches]]
name = "east"
value = 2

[rasters]
patches = "patches.tif"
elevation = "elevation.tif"
habitat = "habitat.tif"
legend = { 1 = "grassland", 2 = "woodland" }
water = "water.tif"

[climate]
months = "climate.csv"
rain_cv = 0.3

[[barriers]]
name = "fence"
points = [[-2.5, 35.045], [-2.1, 35.045]]
"""
# Within reach of Serengeti: 40 x 60 cells of 250 m, 10 x 15 km.
GRID = Grid(720_000, 9_750_000, 250, 250, 40, 60, "EPSG:32736")


def elevation() -> np.ndarray:
    """A plane: 3 m up per 100 m east, 4 m per 100 m north."""
    x, y = np.meshgrid(GRID.x - GRID.west, GRID.y - GRID.y[-1])
    return 1200 + 0.03 * x + 0.04 * y


def write_world(folder: Path) -> Path:
    """Write WORLD.toml and its files into a folder."""
    for name, text in {
        "species.csv": SPECIES,
        "links.csv": LINKS,
        "climate.csv": CLIMATE,
        "WORLD.toml": WORLD,
    }.items():
        (folder / name).write_text(text)
    patches = np.zeros((40, 60), np.uint8)
    patches[:, :20], patches[:, 20:] = 1, 2
    patches[:5] = 0
    habitat = np.ones((40, 60), np.uint8)
    habitat[:, 30:] = 2
    water = np.zeros((40, 60), np.uint8)
    water[20, :] = 1
    write_raster(folder / "patches.tif", patches, GRID)
    write_raster(folder / "elevation.tif", elevation(), GRID)
    write_raster(folder / "habitat.tif", habitat, GRID)
    write_raster(folder / "water.tif", water, GRID)
    return folder / "WORLD.toml"
