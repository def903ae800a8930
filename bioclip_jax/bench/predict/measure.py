"""Speed, memory and scores of predictions, against pybioclip with the same weights."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bioclip_jax.errors import UserError

from .cases import (
    OURS,
    PEER,
    PREDICTED,
    Bench,
    log_step,
    make_model,
    measure_folders,
    measure_labels,
    measure_memory_growth,
    measure_taxa,
)
from .inference import measure_precisions
from .synthetic import PUBLISHED_TAXA, check_photographs, make_photographs, many_names, photographs_in

PARTS = ("labels", "taxa", "folders", "memory")
# Measured on request only: bfloat16 is slow on a CPU.
PRECISION = "precision"


def measure_prediction(
    model: str = "ViT-B-16",
    *,
    peer: bool = False,
    full: bool = False,
    parts: Sequence[str] = PARTS,
    taxa_count: int = PUBLISHED_TAXA,
    image_cosine: float = 0.3,
    many_labels: int = 400,
    images: str | None = None,
    photographs: int = 64,
    memory_images: Sequence[int] = (),
) -> dict[str, Any]:
    """Measure predictions of `model` on this machine's CPU or GPU, and with `peer` pybioclip's.

    model: a MODEL, or an architecture, which gets random weights. full: include what takes the peer half an
    hour, and 20,000 images. parts: of PARTS, or "precision". taxa_count: size of the tree of SyntheticTaxa.
    image_cosine: of an image's vector to its taxon's. many_labels: labels of the larger classifier. images: a
    folder or other input of photographs; None generates some. photographs: number of timed photographs.
    memory_images: numbers of images after which memory is read (200 and 2,000).

    Each side runs in processes of its own, one side after the other for long figures, alternating (median)
    for short ones.

    Returns a dict. A time NAME gives NAME_seconds and NAME_cpu_seconds (of all threads, less sensitive to
    other load), with the peer also peer_NAME_seconds, peer_NAME_cpu_seconds, and the peer's divided by ours,
    NAME_ratio and NAME_cpu_ratio. By part:

    labels: labels_8_cold, a classifier of 8 labels in a new process with empty caches, including loading and
      compiling the model; labels_8_process, the same from the start of the process, including imports;
      labels_8_second, in a second process with the caches of the first; labels_N_cold, of `many_labels` (the
      peer's if `full`, else peer_labels_N_estimated_seconds, its time for the model plus N / 8 of that for 8
      labels); score_difference["labels"].
    taxa: load, of model and taxa; head_open, of the taxa alone; species and family, per image, without the
      image tower: the vectors are given, images_at_once; species_at_10 and family_at_10, ours with 10 images
      at once, ratios as above; subset, the choice of 1,000 species from a CSV; peak_memory_bytes and
      peer_peak_memory_bytes of a process that loads everything and predicts 16 photographs at species and at
      family (the peer 2 at family), memory_share of the peer's; score_difference of those, ["species"],
      ["family"], and within the subset ["subset_species"], ["subset_family"]; share_above_1e-9 of all taxa,
      mean over synthetic images, which determines the peer's time at family; widths, lineages by rank.
    folders: images_per_second and peer_images_per_second, from files to predictions over two labels;
      images_ratio; peer_how, the fastest of peer_tried.
    memory: memory_after, bytes by the number of images that one process has predicted, of a small model.
    precision (only if named in `parts`): "precision", measure_inference's figures in "bf16" and "fp32", and
      score_difference and top1_agreement between them, over the labels of the first part.

    Besides: model, taxa, image_cosine, cpus, load_average at the start, device, peer_device, peer_versions. A
    score_difference is the largest |ours - peer's| of any prediction. Raises UserError for invalid
    arguments, and if pybioclip is missing or fails.
    """
    unknown = sorted(set(parts) - {*PARTS, PRECISION})
    if unknown:
        raise UserError(f"unknown part {', '.join(unknown)}; choose from {', '.join((*PARTS, PRECISION))}")
    for name, number, least in (
        ("taxa", taxa_count, 10),
        ("labels", many_labels, 1),
        ("photographs", photographs, 1),
    ):
        if number < least:
            raise UserError(f"{number} {name} are too few to measure; give at least {least}")
    if not 0 < image_cosine < 1:
        raise UserError(f"the image cosine is {image_cosine}; it must be above 0 and below 1")
    names = many_names(many_labels)
    paths = photographs_in(images)[: max(PREDICTED, photographs)] if images else []
    check_photographs(paths)
    with tempfile.TemporaryDirectory(prefix="bench_predict.") as folder:
        paths = paths or make_photographs(Path(folder) / "photographs")
        bench = Bench(f"{folder}/model", Path(folder), paths, peer)
        bench.result |= {"model": model, "taxa": taxa_count, "image_cosine": image_cosine, **_machine()}
        if peer:
            bench.result["peer_versions"] = _peer_versions()
        with log_step("a model directory"), bench.start(OURS) as ours:
            device = ours.call("device")
            make_model(ours, model, bench.model)
        bench.result["device"] = device["device"]
        if peer:
            bench.result["peer_device"] = _peer_device(bench, device["platform"])
        if "labels" in parts:
            measure_labels(bench, names, full)
        if "taxa" in parts:
            measure_taxa(bench, taxa_count, image_cosine)
        if "folders" in parts:
            measure_folders(bench, photographs)
        if "memory" in parts:
            counts = memory_images or ((1_000, 20_000) if full else (200, 2_000))
            measure_memory_growth(bench, counts, taxa_count)
        if PRECISION in parts:
            measure_precisions(bench, photographs)
        return bench.result


def _peer_versions() -> dict[str, str]:
    try:
        return {name: version(name) for name in ("pybioclip", "torch", "open_clip_torch")}
    except PackageNotFoundError as error:
        raise UserError(
            f"--peer needs {error.name}; install the peers: pip install 'bioclip-jax[test]'"
        ) from None


def _peer_device(bench: Bench, platform: str) -> str:
    """Give the peer the kind of device that JAX has, or the CPU if torch does not support it."""
    if platform != "gpu":
        return bench.peer_device
    bench.peer_device = "cuda"
    with bench.start(PEER) as process:
        return process.call("device")["device"]


def _machine() -> dict[str, Any]:
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"cpus": cpus, "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None}
