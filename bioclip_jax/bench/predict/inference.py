"""Speed of inference at a precision: a cold classifier, and images from JPEG files and from pixels."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bioclip_jax.predict import PRECISIONS

from .cases import OURS, PREDICTED, Bench, log_step, make_model
from .results import difference, short
from .synthetic import FEW_NAMES, check_photographs, make_photographs, photographs_in

# A process must not reserve most of the device's memory, since others may hold some.
_SHARED = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
# Width and height in pixels, common in data sets.
_PHOTOGRAPH = (500, 375)


def measure_inference(
    model: str = "ViT-L-14",
    precision: str = "bf16",
    *,
    images: str | None = None,
    photographs: int = 2048,
    batch_size: int | None = None,
    turns: int = 3,
) -> dict[str, Any]:
    """Measure inference on this machine's devices.

    model: a MODEL, or an architecture, which gets random weights. images: a folder or other input of
    photographs; None generates some of 500 x 375. photographs: number of timed images. batch_size: None is
    the device's default. turns: passes over them, of which the median counts. The work runs in processes of
    its own, so the caller must leave the devices' memory free.

    Returns "model", "precision", "device", "batch_size", "photographs", and:
      images_per_second, from JPEG files to vectors on the host; tower_images_per_second, from preprocessed
      pixels on the host; decode_images_per_second, from files to pixels by all decoding threads;
      labels_8_cold_seconds, a classifier of 8 labels in a new process with empty caches (load, compile and
      texts); labels_8_second_seconds, the same in a second process with the caches of the first;
      first_image_seconds, the first image of the cold process; programs, compiled until then;
      peak_memory_bytes of the device, None where it is not reported.
    Raises UserError for unreadable images or models.
    """
    paths = photographs_in(images) if images else []
    check_photographs(paths[:PREDICTED])
    with tempfile.TemporaryDirectory(prefix="bench_inference.") as folder:
        bench = Bench(
            f"{folder}/model",
            Path(folder),
            paths or make_photographs(Path(folder) / "photographs", size=_PHOTOGRAPH),
            peer=False,
        )
        with log_step("a model directory"), bench.start(OURS, environment=_SHARED) as ours:
            device = ours.call("device")["device"]
            make_model(ours, model, bench.model)
        figures, _ = _measure(bench, precision, photographs, batch_size, turns)
        return {"model": model, "device": device, **figures}


def measure_precisions(bench: Bench, photographs: int) -> None:
    """Add the figures of both precisions, and the difference of their scores, to the result of `bench`."""
    results, rows = {}, {}
    for precision in PRECISIONS:
        results[precision], rows[precision] = _measure(bench, precision, photographs, None, 3)
    bench.result["precision"] = results | {
        "score_difference": difference(*rows.values()),
        "top1_agreement": top1_agreement(*rows.values()),
    }


def top1_agreement(one: Sequence[dict[str, Any]], other: Sequence[dict[str, Any]]) -> float:
    """Share of images whose first row has the same label in both predictions."""
    best = [{row["file_name"]: row["classification"] for row in reversed(rows)} for rows in (one, other)]
    return short(sum(label == best[1][image] for image, label in best[0].items()) / len(best[0]))


def _measure(
    bench: Bench, precision: str, photographs: int, batch_size: int | None, turns: int
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the figures of a precision, and the predictions of the bench's photographs."""
    files = list(bench.photographs) * (1 + photographs // len(bench.photographs))
    files = files[:photographs]
    shown = list(dict.fromkeys(files))
    loading = {"model": bench.model, "labels": FEW_NAMES, "precision": precision, "batch_size": batch_size}
    figures: dict[str, Any] = {"precision": precision, "photographs": photographs}
    caches = f"inference_{precision}"
    with log_step(f"inference in {precision}"), bench.start(OURS, caches, _SHARED) as ours:
        figures["labels_8_cold_seconds"] = short(ours.call("load_labels", **loading)["seconds"])
        figures["first_image_seconds"] = short(ours.call("predict", images=shown[:1])["seconds"])
        figures["programs"] = ours.call("programs")["programs"]
        # Compiles for whole batches.
        rows = ours.call("predict", images=shown)["rows"]
        ours.call("embed", images=files[:1024])
        for name, task in (
            ("images", "embed"),
            ("tower_images", "embed_pixels"),
            ("decode_images", "decode"),
        ):
            seconds = [ours.call(task, images=files)["seconds"] for _ in range(turns)]
            figures[f"{name}_per_second"] = short(photographs / statistics.median(seconds))
        figures |= ours.call("device_memory")
    with log_step(f"8 labels again in {precision}"), bench.start(OURS, caches, _SHARED) as ours:
        figures["labels_8_second_seconds"] = short(ours.call("load_labels", **loading)["seconds"])
    return figures, rows
