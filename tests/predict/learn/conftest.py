"""Photographs of five species, colors with noise, as a labeled folder and as one folder for each class."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from species_pictures import EACH, FAMILIES, SPECIES, picture


@pytest.fixture(scope="session")
def labeled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with metadata.csv: ranks, a color, a place, and a species in capitals."""
    folder = tmp_path_factory.mktemp("labeled")
    with open(folder / "metadata.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["filepath", "kingdom", "family", "genus", "species", "common_name", "color", "place"]
        )
        for number in range(EACH * len(SPECIES)):
            index = number % len(SPECIES)
            genus, epithet = SPECIES[index]
            picture(index, number).save(folder / f"{number}.png")
            color = f"Color {index}" if number % 4 else f"  color  {index} "
            row = [
                f"{number}.png",
                "Animalia",
                FAMILIES[genus],
                genus,
                epithet,
                "",
                color,
                f"site {number // 15}",
            ]
            writer.writerow(row)
    return folder


@pytest.fixture(scope="session")
def class_folders(labeled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same pictures, one folder for each species."""
    folder = tmp_path_factory.mktemp("classes")
    for number in range(EACH * len(SPECIES)):
        genus, epithet = SPECIES[number % len(SPECIES)]
        below = folder / f"{genus}_{epithet}" / "card 1"
        below.mkdir(parents=True, exist_ok=True)
        (below / f"{number}.png").write_bytes((labeled / f"{number}.png").read_bytes())
    return folder
