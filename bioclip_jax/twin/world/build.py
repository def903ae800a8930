"""Build a twin from WORLD.toml: read and check everything, then write the folder at once."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bioclip_jax.errors import UserError, listing
from bioclip_jax.files import check_folder, file_sha256, replaced_folder

from .climate_table import read_climate
from .food_web import draw_food_web
from .links import PRODUCERS_EAT, UNKNOWN_TAXA, Link, LinkTable, read_link_table
from .patches import make_patches, read_rasters, terrain_layers, world_extent
from .raster import write_raster
from .species import Species, read_species
from .trophic import check_fed, trophic_levels
from .twin import FILE, Twin, write_twin
from .world_file import World, read_world

# All that a twin's folder holds; --overwrite deletes nothing else.
_FILES = (FILE, "species.csv", "links.csv", "food_web.png", "slope.tif", "water_distance.tif")
_SHOWN = 5


def build_twin(
    world_toml: str | os.PathLike[str], output: str | os.PathLike[str], *, overwrite: bool = False
) -> dict[str, Any]:
    """Write the twin of a WORLD.toml into a new folder, which appears when it is complete.

    The folder holds what read_twin reads, the figure food_web.png and, with the rasters that they need,
    slope.tif (degrees) and water_distance.tif (m). Equal inputs give equal bytes.

    Returns {"output", "name", "species": kinds by name, "links": {"observed", "inferred", "skipped"},
    "trophic_levels": by species, "patches": areas in km² by name, "warnings"}.

    Raises UserError for anything wrong in the inputs, and for an output that exists (overwrite: that is not
    a twin's).
    """
    output = Path(output)
    _check_output(output, overwrite)
    world = read_world(world_toml)
    species = read_species(world.species)
    table = LinkTable(()) if world.links is None else read_link_table(world.links, species)
    links = _with_inferred(species, table.links, world)
    check_fed(species, links, can_infer=world.infer is None)
    rasters = read_rasters(world)
    layers = terrain_layers(rasters)
    patches = make_patches(world, rasters, layers)
    grid = next((raster.grid for raster in rasters.values()), None)
    names = [patch.name for patch in patches]
    twin = Twin(
        name=world.name,
        species=species,
        links=links,
        patches=patches,
        climate=read_climate(world.months, names, world.rain_cv, world.rain_autocorrelation),
        start=world.start,
        barriers=world.barriers,
        extent=world_extent(patches, grid),
        provenance={
            "inputs": {
                role: {"file": path.name, "sha256": file_sha256(path)} for role, path in world.inputs.items()
            },
            "inferred_links": None if world.infer is None else dict(world.infer),
        },
    )
    warnings = [*_species_warnings(species, links), *_link_warnings(table), *_place_warnings(twin)]
    with replaced_folder(output) as folder:
        write_twin(folder, twin)
        draw_food_web(folder / "food_web.png", species, links)
        for name, values in layers.items():
            write_raster(folder / f"{name}.tif", values.astype("float32"), grid)
    inferred = sum(link.inferred for link in links)
    return {
        "output": str(output),
        "name": twin.name,
        "species": {one.name: one.kind for one in species},
        "links": {
            "observed": len(links) - inferred,
            "inferred": inferred,
            "skipped": dict(table.skipped),
        },
        "trophic_levels": dict(
            zip((one.name for one in species), map(float, trophic_levels(species, links).round(3)))
        ),
        "patches": {patch.name: round(patch.area_km2, 6) for patch in patches},
        "warnings": warnings,
    }


def _with_inferred(species: Sequence[Species], links: Sequence[Link], world: World) -> tuple[Link, ...]:
    """The links and, if the world asks for them, the inferred ones, in the species' order."""
    if world.infer is None or all(one.kind == "producer" for one in species):
        return tuple(links)
    from threadpoolctl import threadpool_limits

    from .proximity import infer_links

    order = {one.name: index for index, one in enumerate(species)}
    # The matrices of the fits are so small that threads only wait for each other.
    with threadpool_limits(1):
        both = [*links, *infer_links(species, links, **world.infer)]
    return tuple(sorted(both, key=lambda link: (order[link.consumer], order[link.resource])))


def _species_warnings(species: Sequence[Species], links: Sequence[Link]) -> Iterator[str]:
    uncited = [f"{one.name} ({', '.join(one.uncited)})" for one in species if one.uncited]
    if uncited:
        numbers = sum(len(one.uncited) for one in species)
        yield f"{numbers:,} numbers of {len(uncited):,} species have no citation: {listing(uncited, _SHOWN)}"
    without = [one.name for one in species if one.reference_biomass is None]
    if without:
        yield f"{len(without):,} species have neither density nor biomass: {listing(without, _SHOWN)}"
    eaten = {link.resource for link in links}
    uneaten = [one.name for one in species if one.kind == "producer" and one.name not in eaten]
    if uneaten:
        yield f"nobody eats {listing(uneaten, _SHOWN)}"


def _link_warnings(table: LinkTable) -> Iterator[str]:
    for reason, count in table.skipped.items():
        if reason == UNKNOWN_TAXA:
            most = sorted(table.unknown.items(), key=lambda item: (-item[1], item[0]))
            names = [name or "(no name)" for name, _ in most]
            yield f"skipped {count:,} {reason}: {listing(names, _SHOWN)}"
        elif reason == PRODUCERS_EAT:
            yield f"skipped {count:,} {reason}"


def _place_warnings(twin: Twin) -> Iterator[str]:
    for barrier in twin.barriers:
        if not all(twin.extent.holds(*point) for point in barrier.points):
            yield f"the barrier {barrier.name} leaves the map"
        if len(twin.patches) > 1 and not twin.separated_by(barrier.points).any():
            yield f"the barrier {barrier.name} separates no patches"


def _check_output(output: Path, overwrite: bool) -> None:
    """Raise UserError for a folder that cannot be made, or is not to be replaced."""
    check_folder(output)
    if not output.is_dir() or not any(output.iterdir()):
        return
    others = sorted(path.name for path in output.iterdir() if path.name not in _FILES)
    if not (output / FILE).is_file() or others:
        kept = others[0] if others else next(output.iterdir()).name
        raise UserError(f"{output} holds {kept}, which is not part of a twin; name a new or empty folder")
    if not overwrite:
        raise UserError(f"{output} is a twin already; name another folder, or give --overwrite")
