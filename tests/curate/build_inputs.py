"""Small inputs for builds: distinct synthetic photographs, and folders of them with a metadata table."""

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import simplejpeg
from PIL import Image

from bioclip_jax.text import RANKS, Taxon

GENERA = ("Malus", "Pyrus", "Prunus", "Sorbus", "Rosa", "Rubus")


def photograph(number: int, width: int = 160, height: int = 120) -> np.ndarray:
    """Coarse random blots, with enough structure for a perceptual hash."""
    blots = np.random.default_rng(number).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(blots).resize((width, height), Image.Resampling.BICUBIC))


def jpeg(pixels: np.ndarray, quality: int = 90) -> bytes:
    return simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality)


def encoded(pixels: np.ndarray, kind: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def taxon(number: int) -> Taxon:
    genus = GENERA[number % len(GENERA)]
    common = f"rose no. {number}" if number % 2 else ""
    return Taxon(
        "Plantae", "Tracheophyta", "Magnoliopsida", "Rosales", "Rosaceae", genus, f"species{number}", common
    )


def row(filepath: str, labels: Taxon, **columns: str) -> dict[str, str]:
    named = dict(zip((*RANKS, "common_name"), (*labels.lineage(), labels.common_name)))
    return {"filepath": filepath, **named, **columns}


def write_rows(path: Path, rows: Iterable[Mapping[str, str]]) -> Path:
    rows = list(rows)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(name for line in rows for name in line)), restval="")
        writer.writeheader()
        writer.writerows(rows)
    return path


def make_folder(folder: Path, count: int) -> Path:
    """Write `count` valid photographs, photo-000.jpg and so on, and metadata.csv."""
    folder.mkdir(parents=True)
    rows = []
    for number in range(count):
        name = f"photo-{number:03d}.jpg"
        (folder / name).write_bytes(jpeg(photograph(number)))
        rows.append(row(name, taxon(number)))
    write_rows(folder / "metadata.csv", rows)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """Read all files of a built folder except build.json, which holds times, and readers' indexes."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    kept = (path for path in files if path.name != "build.json" and path.suffix != ".index")
    return {str(path.relative_to(folder)): path.read_bytes() for path in kept}
