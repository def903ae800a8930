"""Small tars of JPEGs, of good and bad samples."""

import io
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from bioclip_jax.text import Taxon, captions_from_taxon

GENERA = ("Malus", "Pyrus", "Prunus", "Citrus", "Rosa")


def picture(number: int, size: tuple[int, int] = (96, 80), mode: str = "RGB") -> Image.Image:
    """A smooth picture, different for each number."""
    width, height = size
    y, x = np.mgrid[0:height, 0:width] / max(size)
    channels = [
        np.sin(x * (number + 3) + channel + np.cos(y * 5 + number)) * 110 + 128 for channel in range(3)
    ]
    return Image.fromarray(np.stack(channels, -1).astype(np.uint8)).convert(mode)


def encoded(image: Image.Image, kind: str = "JPEG", **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def good_sample(number: int) -> dict[str, bytes | str]:
    """A TreeOfLife sample in webdataset's form."""
    taxon = Taxon(
        "Plantae", "Tracheophyta", "Magnoliopsida", "Rosales", "Rosaceae", GENERA[number % 5], f"sp{number}"
    )
    captions = {f"{name}.txt": text for name, text in captions_from_taxon(taxon).items()}
    return {"__key__": f"sample-{number:04d}", "jpg": encoded(picture(number), quality=90), **captions}


def write_tar(path: Path, samples: Sequence[Mapping[str, bytes | str]]) -> Path:
    """Write samples as webdataset does."""
    import webdataset  # imports torch, which some subprocesses do without

    path.parent.mkdir(parents=True, exist_ok=True)
    with webdataset.TarWriter(str(path), encoder=False) as writer:
        for sample in samples:
            writer.write(
                {k: v.encode() if k != "__key__" and isinstance(v, str) else v for k, v in sample.items()}
            )
    return path


def plain_tar(path: Path, files: dict[str, bytes], format: int = tarfile.PAX_FORMAT) -> Path:
    """Write a tar of these files without webdataset."""
    with tarfile.open(path, "w", format=format) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path
