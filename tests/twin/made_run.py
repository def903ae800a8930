"""A run of a small twin whose places have names and positions that no page may tell."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from made_twin import LION, PATCHES, made_twin

from bioclip_jax.twin.scenario import RunOptions, run_twin
from bioclip_jax.twin.view import ExportOptions, export_page
from bioclip_jax.twin.world import Barrier, Twin, write_twin

PLACES = ("Kopje Zindari", "Mbalageta Ford", "Tunza Ridge")
POSITIONS = ((-2.331234, 34.834171), (-2.298765, 34.912345), (-2.35, 35.004567))
CAMERAS = ("CT-0417-Q", "Waterhole_cam_9")
TWIN_NAME = "Ndutwani conservancy"
FENCE = "Old Swarzi fence"
MEMBERS, YEARS = 8, 2
# Short scenes: pages are tested, not herds.
OPTIONS = ExportOptions(scene_seconds=4.0)

SCENARIOS = {
    "lions.toml": f"""
name = "no lions"
[[events]]
kind = "remove"
species = "{LION}"
date = 2030-02-01
""",
    "drought.toml": f"""
name = "drought at {PLACES[0]}"
description = "Half of the rain."
[[events]]
kind = "rain"
factor = 0.5
patches = ["{PLACES[0]}"]
start = 2030-02-01
""",
}
DEPLOYMENTS = "deploymentID,locationName,latitude,longitude,deploymentStart,deploymentEnd\n" + "".join(
    f"{camera},{place},{latitude},{longitude},2030-01-01T00:00:00Z,2030-02-01T00:00:00Z\n"
    for camera, place, (latitude, longitude) in zip(CAMERAS, PLACES, POSITIONS)
)


class Exported(NamedTuple):
    """Folder with twin, run, scenarios and deployments.csv; the page and the result of its export."""

    folder: Path
    page: Path
    result: dict[str, Any]


def secret_twin() -> Twin:
    """The small twin with planted names and positions."""
    twin = made_twin()
    patches = tuple(
        replace(patch, name=name, latitude=latitude, longitude=longitude, x_m=1111.25 * i, y_m=-777.125 * i)
        for i, (patch, name, (latitude, longitude)) in enumerate(zip(twin.patches, PLACES, POSITIONS), 1)
    )
    assert len(patches) == len(PATCHES)
    species = tuple(
        replace(one, common_name="Tunza Ridge hare", citations={"mass_g": f"Measured at {PLACES[1]}"})
        if one.name == "Lepus capensis"
        else one
        for one in twin.species
    )
    barriers = (Barrier(FENCE, ((-2.312345, 34.7), (-2.312345, 34.8))),)
    return replace(twin, name=TWIN_NAME, patches=patches, species=species, barriers=barriers)


def export_small_world(folder: Path) -> Exported:
    """Write the twin, simulate it with two scenarios, and export its page."""
    (folder / "twin").mkdir()
    write_twin(folder / "twin", secret_twin())
    (folder / "deployments.csv").write_text(DEPLOYMENTS)
    for name, text in SCENARIOS.items():
        (folder / name).write_text(text)
    scenarios = [folder / name for name in SCENARIOS]
    run_twin(folder / "twin", folder / "run", scenarios, RunOptions(members=MEMBERS, years=YEARS))
    page = folder / "page.html"
    options = replace(OPTIONS, deployments=folder / "deployments.csv")
    return Exported(folder, page, export_page(folder / "run", page, options))
