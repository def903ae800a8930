"""Accuracy per event and per frame, on bursts of degraded frames of labeled photographs or drawings."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from bioclip_jax.errors import UserError
from bioclip_jax.intervals import bootstrap_interval

if TYPE_CHECKING:
    from PIL import Image

_FRAMES = (3, 9)
_GAP, _FRAME_SECONDS, _EVENT_MINUTES = 60.0, 2, 30
_START = datetime(2026, 5, 1, 4, 30)
_CAMERA, _ORIGINAL = 0x8769, 0x9003
# Ways of answering, in the order of the table.
WAYS = {
    "frames": "each frame alone",
    "confident_frame": "the most confident frame of an event",
    "vote": "the vote of an event's frames",
    "events": "--events, pooled",
}


def measure_bursts(
    data: str,
    model: str,
    *,
    bursts: int = 300,
    severity: float = 0.5,
    seed: int = 0,
    tfds_dir: str | None = None,
    subset: str | None = None,
) -> dict[str, Any]:
    """Name the species of planted bursts, frame by frame and by event.

    data: labeled images, as open_source. model: a MODEL with taxa. bursts: number of images that are drawn,
    each of which becomes a burst of 3 to 8 frames: moved partly out of the frame, blurred, darkened and
    noisy, each to another degree. severity: of this, from 0 (copies) to 1. subset: as predict's.

    Returns {"bursts", "frames" (their number), "accuracy": {way: {"value", "interval"}}, "gain" (of events
    over frames), "gain_over_confident_frame"}; intervals are bootstraps over bursts, since the frames of one
    are not independent. Raises UserError for data without labels.
    """
    from bioclip_jax.predict import predict_files

    with tempfile.TemporaryDirectory(prefix="bench_bursts.") as folder:
        truth = _write_bursts(data, Path(folder), bursts, severity, seed, tfds_dir)
        options = {"k": 1, "events": _GAP, "as_result": True, "subset": subset}
        result = predict_files([folder], model, **options)
    frames: dict[str, list[Mapping[str, Any]]] = {}
    for row in result["frames"]:
        frames.setdefault(Path(row["file_name"]).parent.name, []).append(row)
    pooled = {Path(row["file_name"]).parent.name: row for row in result["predictions"]}
    names = sorted(truth)
    right = {way: np.zeros(len(names)) for way in WAYS}
    for index, name in enumerate(names):
        alone = [row["species"] == truth[name] for row in frames[name]]
        confident = max(frames[name], key=lambda row: row["score"])
        right["frames"][index] = np.mean(alone)
        right["confident_frame"][index] = confident["species"] == truth[name]
        right["vote"][index] = _vote(frames[name]) == truth[name]
        right["events"][index] = pooled[name]["species"] == truth[name]
    sizes = np.array([len(frames[name]) for name in names], float)
    weights = {way: sizes if way == "frames" else np.ones(len(names)) for way in WAYS}
    return {
        "bursts": len(names),
        "frames": int(sizes.sum()),
        "accuracy": {way: _mean(right[way], weights[way]) for way in WAYS},
        "gain": _difference(right, weights, "frames"),
        "gain_over_confident_frame": _difference(right, weights, "confident_frame"),
    }


def bursts_table(result: Mapping[str, Any]) -> str:
    """Format a result for people, in percent."""
    lines = [f"{result['bursts']:,} bursts, {result['frames']:,} frames"]
    figures = {title: result["accuracy"][way] for way, title in WAYS.items()}
    figures |= {"gain over frames": result["gain"]}
    figures |= {"gain over the most confident frame": result["gain_over_confident_frame"]}
    for title, figure in figures.items():
        low, high = figure["interval"]
        lines.append(f"{title:40s} {100 * figure['value']:5.1f} % ({100 * low:.1f} to {100 * high:.1f})")
    return "\n".join(lines)


def _vote(rows: list[Mapping[str, Any]]) -> str:
    """Return the species of most frames; of several, the one with the highest sum of scores."""
    species = {row["species"] for row in rows}
    votes = {name: [row["score"] for row in rows if row["species"] == name] for name in species}
    return max(votes, key=lambda name: (len(votes[name]), sum(votes[name]), name))


def _mean(values: Float[np.ndarray, " n"], weights: Float[np.ndarray, " n"]) -> dict[str, Any]:
    def mean(counts: Any) -> float:
        return float((counts * weights * values).sum() / (counts * weights).sum())

    return {"value": mean(np.ones(len(values))), "interval": bootstrap_interval(mean, len(values))}


def _difference(right: Mapping[str, Any], weights: Mapping[str, Any], other: str) -> dict[str, Any]:
    def mean(counts: Any, way: str) -> float:
        return float((counts * weights[way] * right[way]).sum() / (counts * weights[way]).sum())

    def difference(counts: Any) -> float:
        return mean(counts, "events") - mean(counts, other)

    n = len(right["events"])
    return {"value": difference(np.ones(n)), "interval": bootstrap_interval(difference, n)}


def _write_bursts(
    data: str, folder: Path, bursts: int, severity: float, seed: int, tfds_dir: str | None
) -> dict[str, str]:
    """Write a folder for each burst; return the species of each by the folder's name."""
    from PIL import Image

    from bioclip_jax.pipeline.sources import open_source

    source = open_source(data, split="test", tfds_dir=tfds_dir)
    rng = np.random.default_rng(seed)
    truth: dict[str, str] = {}
    for number, index in enumerate(rng.permutation(len(source))[:bursts].tolist()):
        sample = source[index]
        if sample.taxon is None or not sample.taxon.species:
            raise UserError(f"{data}: {sample.key} has no species; give images with their ranks")
        name = f"burst{number:05}"
        truth[name] = f"{sample.taxon.genus} {sample.taxon.species}"
        (folder / name).mkdir()
        with Image.open(io.BytesIO(sample.image)) as image:
            picture = image.convert("RGB")
        start = _START + timedelta(minutes=_EVENT_MINUTES * number)
        for frame in range(int(rng.integers(*_FRAMES))):
            tags = Image.Exif()
            time = start + timedelta(seconds=_FRAME_SECONDS * frame)
            tags.get_ifd(_CAMERA)[_ORIGINAL] = f"{time:%Y:%m:%d %H:%M:%S}"
            path = folder / name / f"{frame}.jpg"
            degrade(picture, severity, rng).save(path, "JPEG", quality=int(rng.integers(40, 90)), exif=tags)
    return truth


def degrade(picture: Image.Image, severity: float, rng: np.random.Generator) -> Image.Image:
    """Return a frame of a camera trap: partly out of the frame, blurred, dark, noisy, at random degrees."""
    from PIL import Image, ImageFilter

    width, height = picture.size
    pixels = np.asarray(picture)
    background = tuple(int(value) for value in np.median(pixels.reshape(-1, 3), axis=0))
    frame = Image.new("RGB", picture.size, background)
    across, down = (rng.normal(0, 0.25 * severity, 2).clip(-0.6, 0.6) * (width, height)).astype(int).tolist()
    frame.paste(picture, (across, down))
    radius = severity * float(rng.exponential(0.006)) * min(width, height)
    frame = frame.filter(ImageFilter.GaussianBlur(radius))
    light = float(rng.uniform(1 - 0.85 * severity, 1.0))
    noise = rng.normal(0, severity * float(rng.uniform(2, 25)), pixels.shape)
    return Image.fromarray((np.asarray(frame) * light + noise).clip(0, 255).astype(np.uint8))
