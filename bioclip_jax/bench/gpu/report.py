"""The report of bench gpu: Markdown tables for the benchmark guide."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..predict import inference_table
from ..tables import markdown

Records = Mapping[str, Mapping[str, Any]]


def gpu_report(content: Mapping[str, Any]) -> str:
    """Return the report of gpu.json's content; what is missing is called not measured, with the reason."""
    records = content["measurements"]
    sections = [
        _heading(content),
        _ceiling(records),
        _step(records),
        _peer(records),
        _choices(records),
        _checkpoint(records),
        _inference(records),
        _profile(records),
    ]
    return "\n\n".join(sections) + "\n"


def _heading(content: Mapping[str, Any]) -> str:
    machine = content["machine"]
    if not machine:
        return "## Measured on a GPU\n\nNot measured: no device was started."
    versions = ", ".join(f"{name} {version or 'missing'}" for name, version in machine["versions"].items())
    memory = f", {machine['memory_bytes'] / 1e9:.0f} GB for JAX" if machine["memory_bytes"] else ""
    settings = ", ".join(f"{key}={value}" for key, value in content["config"].items() if key != "model")
    pairs = " + ".join(f"{pairs:,}" for pairs in (content["pairs"], content["replay_pairs"]) if pairs)
    done = sum(record["status"] == "measured" for record in content["measurements"].values())
    quick = "**The sizes are those of --quick: the figures mean nothing.**\n\n" if content["quick"] else ""
    return (
        f"## Measured on {machine['devices']} x {machine['device']}\n\n{quick}"
        f"`bioclip-jax bench gpu`, {content['date'][:10]}, {machine['cpus']} CPU cores{memory}. {versions}. "
        f"{done} of {len(content['measurements'])} measurements are done.\n\n"
        f"{content['config']['model']}, {pairs} pairs a device, with {settings}. Batches are synthetic and "
        "on the devices; compile times are not in the speeds."
    )


def _ceiling(records: Records) -> str:
    record = records["ceiling"]
    if record["status"] != "measured":
        return f"**Matrix products:** {_reason(record)}."
    result = record["result"]
    return (
        f"**Matrix products** in {result['dtype']}: {result['model']:.3g} TFLOP/s with the shapes of the "
        f"image tower's blocks, {result['square']:.3g} TFLOP/s square."
    )


_STEP_HEADER = ("", "pairs/s", "s a step", "MFU", "of the products", "peak GB", "compile s")


def _step_cells(result: Mapping[str, Any]) -> list[str]:
    mfu, memory = result["mfu"], result["peak_memory_bytes"]
    return [
        f"{result['pairs_per_second']:,.4g}",
        f"{result['step_seconds']['median']:.3g}",
        "" if mfu is None else f"{mfu:.1%}",
        f"{result['mfu_measured_peak']:.1%}",
        "" if memory is None else f"{memory / 1e9:.1f}",
        f"{result['compile_seconds']:.0f}{' (cached)' if result['compile_cached'] else ''}",
    ]


def _step(records: Records) -> str:
    title = "**The training step**, the earlier settings and the config's, in turns"
    record = records["step"]
    if record["status"] != "measured":
        return f"{title}: {_reason(record)}."
    both = record["result"]
    rows, failed = [], []
    for name, result in both.items():
        if "error" in result:
            failed.append(f"{name} is not measured: {result['error']}.")
        else:
            rows.append([name, *_step_cells(result)])
    parts = [f"{title}:", *([markdown(_STEP_HEADER, rows)] if rows else []), *failed]
    if not failed:
        speed = both["default"]["pairs_per_second"] / both["before"]["pairs_per_second"]
        parts.append(f"The config is {speed:.2f} times as fast. The second peak is that of both.")
    return "\n\n".join(parts)


def _peer(records: Records) -> str:
    record = records["peer"]
    if record["status"] != "measured":
        return f"**open_clip under torch.compile:** {_reason(record)}."
    ours, peer = record["result"]["ours"], record["result"]["peer"]
    how = "compiled" if peer["compiled"] else "not compiled, because torch.compile failed"
    versions = ", ".join(f"{name} {version}" for name, version in peer["versions"].items())
    about = f"{how}; {versions}; {peer['micro_batches']} micro-batches, {peer['precision']}"
    speed = ours["pairs_per_second"] / ours["devices"]
    return (
        f"**open_clip** ({about}, texts of {peer['text_length']} tokens): {peer['pairs_per_second']:,.4g} "
        f"pairs/s on one device; ours, right after it, {speed:,.4g}. Ratio {record['result']['ratio']:.2f}."
    )


def _choices(records: Records) -> str:
    step = records["step"].get("result", {}).get("default", {})
    base = step.get("pairs_per_second")
    rows = [["the config", *_step_cells(step), "1"]] if base else []
    missing = []
    for record in records.values():
        if record["group"] not in ("choices", "deterministic"):
            continue
        if record["status"] != "measured":
            missing.append(f"- {record['title']}: {_reason(record)}")
            continue
        result = record["result"]
        ratio = f"{result['pairs_per_second'] / base:.3f}" if base else ""
        rows.append([record["title"], *_step_cells(result), ratio])
    table = [markdown(("choice", *_STEP_HEADER[1:], "against the config"), rows)] if rows else []
    return "\n\n".join(
        [
            "**Choices,** one at a time, all else as in the config:",
            *table,
            *(["\n".join(missing)] if missing else []),
        ]
    )


def _checkpoint(records: Records) -> str:
    record = records["checkpoint"]
    if record["status"] != "measured":
        return f"**A checkpoint:** {_reason(record)}."
    result = record["result"]

    def largest(name: str) -> float:
        return max(save[name] for save in result["later"])

    return (
        f"**A checkpoint** of {result['bytes'] / 1e9:.1f} GB blocks training for "
        f"{largest('blocked_seconds'):.2f} s (the first, which compiles the checksums, for "
        f"{result['first']['blocked_seconds']:.2f} s), the step after it takes "
        f"{largest('slower_step_seconds'):.2f} s longer, and it is on disk after "
        f"{largest('on_disk_seconds'):.1f} s."
    )


def _inference(records: Records) -> str:
    results, missing = [], []
    for record in records.values():
        if record["group"] == "inference" and record["status"] == "measured":
            results.append(record["result"])
        elif record["group"] == "inference":
            missing.append(f"- {record['title']}: {_reason(record)}")
    parts = ["**Inference**, random weights, JPEGs of 500 x 375:"]
    if results:
        parts.append(inference_table(results))
    if missing:
        parts.append("\n".join(missing))
    return "\n\n".join(parts)


def _profile(records: Records) -> str:
    record = records["profile"]
    if record["status"] != "measured":
        return f"**Costliest kernels of a step:** {_reason(record)}."
    result = record["result"]
    rows = [
        [
            f"`{kernel['name'][:60]}`",
            kernel["operation"],
            f"{kernel['milliseconds']:.1f}",
            str(kernel["calls"]),
        ]
        + [f"{kernel['share']:.1%}"]
        for kernel in result["kernels"]
    ]
    table = markdown(("kernel", "an operation", "ms", "calls", "share"), rows)
    return (
        f"**Costliest kernels of a step** of {result['step_seconds']:.3g} s, traced; all kernels together "
        f"take {result['kernel_seconds']:.3g} s:\n\n{table}"
    )


def _reason(record: Mapping[str, Any]) -> str:
    return (
        f"not measured, {record['reason']}"
        if record["status"] == "missing"
        else (f"not measured: {record['status']}, {record['reason']}")
    )
