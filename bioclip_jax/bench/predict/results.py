"""Results of bench predict: clocks by name, score differences, and the Markdown tables."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from bioclip_jax.errors import UserError

from ..tables import markdown

Clock = dict[str, float]

# Keys of measure_inference's result and their names in its table, in order.
_INFERENCE_ROWS = {
    "images_per_second": "images/s, JPEG files to vectors",
    "tower_images_per_second": "images/s, pixels on the host to vectors",
    "decode_images_per_second": "images/s, JPEG files to pixels, no tower",
    "labels_8_cold_seconds": "classifier of 8 labels, cold (s)",
    "labels_8_second_seconds": "the same in a second process (s)",
    "first_image_seconds": "the first image after that, cold (s)",
    "programs": "programs compiled, cold",
    "peak_memory_bytes": "peak memory of the device (GB)",
}


def clocks(name: str, ours: Clock, peer: Clock | None = None) -> dict[str, float]:
    """Entries NAME_seconds and NAME_cpu_seconds, and with a peer's clock peer_NAME_... and NAME_ratio."""
    entries = {}
    for unit, ratio in (("seconds", "ratio"), ("cpu_seconds", "cpu_ratio")):
        entries[f"{name}_{unit}"] = short(ours[unit])
        if peer is not None:
            entries[f"peer_{name}_{unit}"] = short(peer[unit])
            entries[f"{name}_{ratio}"] = short(peer[unit] / ours[unit])
    return entries


def medians(clocks: Sequence[Clock]) -> Clock:
    """Clock of the medians."""
    return {unit: statistics.median(clock[unit] for clock in clocks) for unit in clocks[0]}


def short(value: float) -> float:
    """Round to four significant digits."""
    return float(f"{value:.4g}")


def prediction_table(result: dict[str, Any]) -> str:
    """Result of measure_prediction as Markdown: our times, the peer's, and the peer's divided by ours."""
    rows, peered = [], "peer_device" in result
    for key, value in result.items():
        if not key.endswith("_seconds") or key.endswith("_cpu_seconds") or key.startswith("peer_"):
            continue
        name = key.removesuffix("_seconds")
        peer = _seconds(result.get(f"peer_{key}"))
        estimated = result.get(f"peer_{name.removesuffix('_cold')}_estimated_seconds")
        if peer == "-" and estimated is not None:
            peer = f"{_seconds(estimated)} (estimated)"
        ratios = [result.get(f"{name}_{kind}") for kind in ("ratio", "cpu_ratio")]
        rows.append([name.replace("_", " "), _seconds(value), peer, *map(_times, ratios)])
    if "images_per_second" in result:
        speeds = [
            f"{result[key]:.3g}/s" if key in result else "-"
            for key in ("images_per_second", "peer_images_per_second")
        ]
        rows.append(["photographs", *speeds, _times(result.get("images_ratio")), "-"])
    if "peak_memory_bytes" in result:
        sizes = [
            f"{result[key] / 1e9:.2f} GB" if key in result else "-"
            for key in ("peak_memory_bytes", "peer_peak_memory_bytes")
        ]
        share = result.get("memory_share")
        rows.append(["peak memory", *sizes, _times(share and 1 / share), "-"])
    lines = [markdown(["", "bioclip_jax", "pybioclip", "ratio", "of CPU time"], rows)] if rows else []
    if "device" in result:
        lines.append(
            "On " + result["device"] + (f", pybioclip on {result['peer_device']}" if peered else "") + "."
        )
    for rank, at_once in result.get("images_at_once", {}).items():
        by_peer = f", {at_once['peer']} by pybioclip" if peered else ""
        lines.append(f"At {rank}, {at_once['ours']} images at once{by_peer}.")
    if "share_above_1e-9" in result:
        lines.append(f"{result['share_above_1e-9']:.1%} of {result['taxa']} taxa are above 1e-9.")
    if "score_difference" in result:
        differences = ", ".join(f"{name} {value:.1e}" for name, value in result["score_difference"].items())
        lines.append(f"Largest difference of a score: {differences}.")
    if "memory_after" in result:
        after = ", ".join(
            f"{int(size) / 1e6:.0f} MB after {count}" for count, size in result["memory_after"].items()
        )
        lines.append(f"Memory by images predicted: {after}.")
    if "precision" in result:
        both = result["precision"]
        lines.append(inference_table([both["bf16"], both["fp32"]]))
        lines.append(
            f"bf16 and fp32: largest difference of a score {both['score_difference']:.1e}, same best label "
            f"for {both['top1_agreement']:.1%}."
        )
    return "\n\n".join(lines)


def inference_table(results: Sequence[dict[str, Any]]) -> str:
    """Markdown table of measure_inference's figures, one column for each result."""

    def cell(key: str, value: float | None) -> str:
        if value is None:
            return "-"
        return f"{value / 1e9 if key.endswith('_bytes') else value:.4g}"

    header = ["", *(f"{result.get('model', '')} {result['precision']}".strip() for result in results)]
    rows = [[name, *(cell(key, result[key]) for result in results)] for key, name in _INFERENCE_ROWS.items()]
    return markdown(header, rows)


def difference(ours: Sequence[dict[str, Any]], peer: Sequence[dict[str, Any]]) -> float:
    """Largest |ours - peer's| score of any prediction.

    A prediction that one side lacks counts with the lowest score of that side, its upper bound. Raises
    UserError if the images differ.
    """
    by_image = [_scores_by_image(rows) for rows in (ours, peer)]
    if by_image[0].keys() != by_image[1].keys():
        raise UserError("the two sides predicted different images; report this")
    largest = 0.0
    for image, our_scores in by_image[0].items():
        peer_scores = by_image[1][image]
        for name in our_scores.keys() | peer_scores.keys():
            our_score = our_scores.get(name, min(our_scores.values()))
            peer_score = peer_scores.get(name, min(peer_scores.values()))
            largest = max(largest, abs(our_score - peer_score))
    return float(f"{largest:.3g}")


def _scores_by_image(rows: Iterable[dict[str, Any]]) -> dict[str, dict[tuple[str, ...], float]]:
    images: dict[str, dict[tuple[str, ...], float]] = {}
    for row in rows:
        values = dict(row)
        name, score = values.pop("file_name"), values.pop("score")
        images.setdefault(name, {})[tuple(values[key] for key in sorted(values))] = score
    return images


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{1000 * value:.3g} ms" if value < 1 else f"{value:.3g} s"


def _times(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g} x"
