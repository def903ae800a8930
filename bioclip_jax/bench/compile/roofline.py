"""Roofline of a compiled program: FLOPs and bytes of each kernel, and the time they take at assumed rates.

A kernel takes as long as the slower of its arithmetic and its traffic with device memory, caches ignored.
Source: Williams et al. 2009, "Roofline: an insightful visual performance model for multicore architectures".
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from .hlo import Computation, Instruction, Program, Run, outputs
from .target import Rates

_COLLECTIVE = re.compile("all-|reduce-scatter|collective-|ragged-all-to-all")
_ARITHMETIC = {"add", "multiply", "subtract", "divide", "exponential", "erf", "reduce"}
# Read, or update in place, a part of their first operand.
_PARTIAL = {"dynamic-slice", "slice", "gather", "dynamic-update-slice"}
_SAME_ARRAY = {"bitcast", "convert", "copy", "reshape", "transpose"}
# Smaller arrays inside a fusion, such as biases, do not decide its kind.
_LARGE = 100_000


@dataclass(frozen=True)
class Kernel:
    """Cost of one execution of a run's instruction.

    kind: "gemm TYPE", "attention", "attention backward", "collective", or a kind of fusion or copy. bytes:
    read and written in device memory; of a collective, those that the device sends into it.
    """

    run: Run
    kind: str
    flops: float
    bytes: int

    def seconds(self, rates: Rates) -> float:
        """Return the time of one execution; that of a collective is not known."""
        if self.kind == "collective":
            return 0.0
        return max(self.flops / _flops_rate(self.kind, rates), self.bytes / rates.bandwidth, rates.kernel)

    @property
    def copies(self) -> bool:
        """True if it moves or fills arrays without computing."""
        return self.flops == 0 and self.kind not in _COMPUTING


_COMPUTING = {"fusion with reduction", "elementwise fusion", "collective"}


def _flops_rate(kind: str, rates: Rates) -> float:
    if kind.startswith("gemm"):
        dtype = kind.removeprefix("gemm ")
        return rates.fp8 if dtype.startswith("f8") else rates.fp32 if dtype == "f32" else rates.bf16
    return {"attention": rates.attention, "attention backward": rates.attention_backward}.get(kind, math.inf)


def kernels(program: Program) -> Iterator[Kernel]:
    """Yield the kernels and collectives of one execution of the program."""
    for run in program.runs():
        yield Kernel(run, *_cost(program, run))


def _cost(program: Program, run: Run) -> tuple[str, float, int]:
    instruction = run.instruction
    read = sum(operand.bytes for operand in run.operands)
    moved = read + instruction.bytes
    if "cublas" in instruction.target:
        return _gemm(run, moved)
    if "fmha" in instruction.target:
        return _attention(run, moved)
    if _COLLECTIVE.match(instruction.op):
        return "collective", 0, read
    if instruction.op == "fusion":
        return _fusion(program, instruction)
    return instruction.op, 0, moved


def _gemm(run: Run, moved: int) -> tuple[str, float, int]:
    """A product by cuBLASLt; its other operands are a bias, a summand, or the scales of 8-bit factors."""
    left, right = (operand.arrays[0] for operand in run.operands[:2])
    axes = "".join(
        run.instruction.attribute(rf'"lhs_{which}_dimensions":\[([^\]]*)\]') or ""
        for which in ("contracting", "batch")
    )
    shared = math.prod(left.dims[int(axis)] for axis in re.findall(r"\d+", axes))
    # Its second output is a workspace, which it need not fill.
    workspace = sum(array.bytes for array in run.instruction.arrays[1:] if array.dtype in ("s8", "u8"))
    kind = "gemm f8" if left.dtype.startswith("f8") else f"gemm {left.dtype}"
    return kind, 2 * left.size * right.size / shared, moved - workspace


def _attention(run: Run, moved: int) -> tuple[str, float, int]:
    """cuDNN's attention: two products forward, and five backward, without a discount for a causal mask."""
    batch, tokens, heads, width = run.operands[0].arrays[0].dims
    flops = 4 * batch * heads * tokens**2 * width
    if "Backward" in run.instruction.target:
        return "attention backward", 2.5 * flops, moved
    return "attention", flops, moved


def _fusion(program: Program, fusion: Instruction) -> tuple[str, float, int]:
    body = program.computations[fusion.called or ""]
    moved = fusion_bytes(body)
    nested = (program.computations[x.called] for x in body.values() if x.op == "fusion" and x.called)
    for computation in (body, *nested):
        for instruction in computation.values():
            if instruction.op == "dot":
                return *_dot(computation, instruction), moved
    ops = {x.op for x in body.values()}
    if _ARITHMETIC & {x.op for x in body.values() if x.bytes > _LARGE}:
        return "fusion with reduction" if "reduce" in ops else "elementwise fusion", 0, moved
    kinds = {
        "dynamic-update-slice": "copy into a stack",
        "dynamic-slice": "copy out of a stack",
        "pad": "pad",
    }
    return next((kind for op, kind in kinds.items() if op in ops), "copy, convert or fill"), 0, moved


def _dot(computation: Computation, dot: Instruction) -> tuple[str, float]:
    """A product inside a fusion, which XLA compiles by Triton."""
    left = computation[dot.operands[0]].arrays[0]
    axes = dot.attribute(r"lhs_contracting_dims=\{([\d,]*)\}") or ""
    depth = math.prod(left.dims[int(axis)] for axis in axes.split(",") if axis)
    return f"gemm {left.dtype}", 2 * depth * dot.arrays[0].size


def fusion_bytes(body: Computation) -> int:
    """Return the bytes that a fusion reads and writes; of arrays sliced or updated in place, the slices."""
    users: dict[str, list[Instruction]] = {}
    for instruction in body.values():
        for name in dict.fromkeys(instruction.operands):
            users.setdefault(name, []).append(instruction)
    read = sum(_bytes_read(x, users.get(x.name, [])) for x in body.values() if x.op == "parameter")
    return read + sum(array.bytes for array in written_arrays(body))


def written_arrays(body: Computation) -> list[Instruction]:
    """Return what a fusion writes: its outputs, or the slices that it updates in place."""

    def written(output: Instruction) -> Instruction:
        last = output
        while last.op in _SAME_ARRAY:
            last = body[last.operands[0]]
        return body[last.operands[1]] if last.op == "dynamic-update-slice" else output

    return [written(output) for output in outputs(body)]


def _bytes_read(parameter: Instruction, users: list[Instruction]) -> int:
    if any(user.op not in _PARTIAL or user.operands[0] != parameter.name for user in users):
        return parameter.bytes
    # An update in place reads nothing of what it updates.
    return min(parameter.bytes, sum(user.bytes for user in users if user.op != "dynamic-update-slice"))
