"""How fast predictions are, how much memory they take and what they answer, beside pybioclip with the same weights."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bioclip_jax.errors import UserError

from .predict_material import check_photographs, make_photographs, many_names, photographs_in
from .predict_parts import PREDICTED, Bench, folders, labels, make_model, memory, step, taxa
from .predict_sides import OURS, PEER

PARTS = ("labels", "taxa", "folders", "memory")
# As many as are published for BioCLIP 2.
TAXA = 867_455


def measure_prediction(
    model: str = "ViT-B-16",
    *,
    peer: bool = False,
    full: bool = False,
    parts: Sequence[str] = PARTS,
    taxa_count: int = TAXA,
    image_cosine: float = 0.3,
    many_labels: int = 400,
    images: str | None = None,
    photographs: int = 64,
    memory_images: Sequence[int] = (),
) -> dict[str, Any]:
    """Time predictions of `model` on this machine's CPU or GPU, and with `peer` pybioclip's with the same weights.

    Args: `model`, a MODEL, or an architecture, which gets random weights; `full` also measures what takes the
      peer half an hour, and 20,000 images; `parts`, of PARTS; `taxa_count`, taxa of the synthetic tree
      (SyntheticTaxa); `image_cosine`, of an image's vector to its taxon's; `images`, a folder or the like of
      photographs, else some are made up; `photographs`, how many are timed; `memory_images`, after how many
      memory is read (200 and 2,000).
    Each side runs in processes of its own, one after another where a figure is long, in turns (the median
    counts) where it is short.

    Returns a dict. A time NAME is there as NAME_seconds and NAME_cpu_seconds (of all threads; other load on
    the machine changes it less), with the peer also as peer_NAME_seconds, peer_NAME_cpu_seconds, and the
    peer's divided by ours, NAME_ratio and NAME_cpu_ratio. Which parts give what:

    labels: labels_8_cold, a classifier of 8 labels in a new process with empty caches, loading the model and
      compiling included; labels_8_process, the same from the start of the process, so with its imports;
      labels_8_second, in a second process with the caches of the first; labels_N_cold, of `many_labels` (the
      peer's if `full`, else peer_labels_N_estimated_seconds is the time of its model and N / 8 of that of its
      8 labels); score_difference["labels"].
    taxa: load, model and taxa; head_open, the taxa alone; species and family, the head's part of a
      prediction, an image: all but the image tower, whose vectors are given, images_at_once; species_at_10
      and family_at_10, ours with 10 images at once, the ratio to the peer's as above; subset, the choice of
      1,000 species from a CSV; peak_memory_bytes and peer_peak_memory_bytes of a process that loads all and
      predicts 16 photographs at species and at family (the peer 2 at family), memory_share of the peer's;
      score_difference of those, ["species"], ["family"] and within the subset ["subset_species"],
      ["subset_family"]; share_above_1e-9 of all taxa, mean over synthetic images, which decides the peer's
      time of family; widths, lineages by rank.
    folders: images_per_second and peer_images_per_second, from files to answers over two labels;
      images_ratio; peer_how, the fastest of peer_tried.
    memory: memory_after, bytes by the number of images that one process has predicted at species, of a small
    model.
    Besides: model, taxa, image_cosine, cpus, load_average at the start, device, peer_device, peer_versions. A
    score_difference is the largest |ours - peer's| of any answer. UserError for wrong arguments, and where
    pybioclip is missing or fails.
    """
    unknown = sorted(set(parts) - set(PARTS))
    if unknown:
        raise UserError(f"there is no part {', '.join(unknown)}; choose from {', '.join(PARTS)}")
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
    given = photographs_in(images)[: max(PREDICTED, photographs)] if images else []
    check_photographs(given)
    with tempfile.TemporaryDirectory(prefix="bench_predict.") as folder:
        bench = Bench(
            f"{folder}/model", Path(folder), given or make_photographs(Path(folder) / "photographs"), peer
        )
        bench.result |= {"model": model, "taxa": taxa_count, "image_cosine": image_cosine, **_machine()}
        if peer:
            bench.result["peer_versions"] = _peer_versions()
        with step("a model directory"), bench.side(OURS) as ours:
            found = ours.ask("device")
            make_model(ours, model, bench.model)
        bench.result["device"] = found["device"]
        if peer:
            bench.result["peer_device"] = _peer_device(bench, found["platform"])
        if "labels" in parts:
            labels(bench, names, full)
        if "taxa" in parts:
            taxa(bench, taxa_count, image_cosine)
        if "folders" in parts:
            folders(bench, photographs)
        if "memory" in parts:
            memory(bench, memory_images or ((1_000, 20_000) if full else (200, 2_000)), taxa_count)
        return bench.result


def _peer_versions() -> dict[str, str]:
    try:
        return {name: version(name) for name in ("pybioclip", "torch", "open_clip_torch")}
    except PackageNotFoundError as error:
        raise UserError(f"--peer needs {error.name}; install it: pip install 'bioclip-jax[test]'") from None


def _peer_device(bench: Bench, platform: str) -> str:
    """The peer gets the same kind of device as JAX has; on one that torch does not know, the CPU."""
    if platform != "gpu":
        return bench.peer_device
    bench.peer_device = "cuda"
    with bench.side(PEER) as process:
        return process.ask("device")["device"]


def _machine() -> dict[str, Any]:
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"cpus": cpus, "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None}
