"""Traffic of a compiled program beside its arithmetic: collectives, gradients among them, and stack copies.

A stack is an array that a loop fills slice by slice, such as the residuals of a tower's blocks, which a scan
keeps for the backward pass.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from .hlo import Array, Instruction, Program, loop_body
from .roofline import Kernel, written_arrays

# Copies of smaller arrays cost next to nothing.
_LARGE_STACK = 64 * 2**20


@dataclass(frozen=True)
class Traffic:
    """Number of calls per step, and the bytes that a device sends or moves in them."""

    calls: int = 0
    bytes: int = 0

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(self.calls + other.calls, self.bytes + other.bytes)


def _total(kernels: Iterable[Kernel]) -> Traffic:
    return sum((Traffic(x.run.times, x.bytes * x.run.times) for x in kernels), Traffic())


def collectives(kernels: Iterable[Kernel]) -> dict[str, Traffic]:
    """Return the collectives by operation and element types, as "all-reduce f32"."""
    kinds: dict[str, Traffic] = {}
    for kernel in kernels:
        if kernel.kind == "collective":
            types = sorted({array.dtype for x in kernel.run.operands for array in x.arrays})
            name = f"{kernel.run.instruction.op.removesuffix('-start')} {'/'.join(types)}"
            kinds[name] = kinds.get(name, Traffic()) + _total([kernel])
    return dict(sorted(kinds.items()))


def gradient_reductions(
    program: Program, kernels: Iterable[Kernel], feature_sizes: Collection[int]
) -> Traffic:
    """Return the collectives that add up gradients of parameters over devices.

    They are the sums that are neither of scalars nor of the loss's arrays, which have one of the sizes in
    `feature_sizes`, see feature_sizes().
    """
    sums = []
    for kernel in kernels:
        if kernel.kind != "collective" or not _adds(program, kernel.run.instruction):
            continue
        arrays = [array for x in kernel.run.operands for array in x.arrays]
        if any(array.size > 8 and array.size not in feature_sizes for array in arrays):
            sums.append(kernel)
    return _total(sums)


def feature_sizes(rows: Iterable[int], embed_dim: int) -> set[int]:
    """Return the sizes of features, and of statistics of their logits, of streams with `rows` rows.

    rows: on a device and on all. XLA joins small collectives, so that sums of the streams' sizes occur too.
    """
    rows = [count for count in rows if count]
    joined = [sum(some) for n in (1, 2) for some in itertools.combinations(rows, n)]
    return {count * width for count in joined for width in (1, 2, embed_dim)}


def _adds(program: Program, collective: Instruction) -> bool:
    if not collective.op.startswith(("all-reduce", "reduce-scatter")):
        return False
    reducer = program.computations.get(collective.called or "")
    return reducer is not None and any(x.op == "add" for x in reducer.values())


def stack_copies(program: Program, kernels: Iterable[Kernel]) -> dict[str, Traffic]:
    """Return the traffic of stacks: "copies" and "fills" of whole ones, and "slices" copied in and out.

    copies: conversions included. fills: whole stacks that are only written, as with zeros before a loop. A
    slice that is itself the whole stack of an inner loop counts as a whole stack. Stacks below 64 MiB do not
    count.
    """
    stacks = _stacks(program)
    copies, fills, slices = [], [], []
    for kernel in kernels:
        if not kernel.copies:
            continue
        written = _written(program, kernel.run.instruction)
        if any(_squeezed(array) in stacks for array in written):
            only_written = kernel.bytes == sum(array.bytes for array in written)
            (fills if only_written else copies).append(kernel)
        elif kernel.kind in ("copy into a stack", "copy out of a stack"):
            slices.append(kernel)
    return {"copies": _total(copies), "fills": _total(fills), "slices": _total(slices)}


def _stacks(program: Program) -> set[Array]:
    """Return the types of the arrays that loops carry and update slice by slice."""
    stacks = set()
    for loop in program.loops():
        body = program.computations[loop_body(loop)]
        updated = {array for x in body.values() for array in _updated(program, x)}
        stacks |= {
            _squeezed(array) for array in updated.intersection(loop.arrays) if array.bytes >= _LARGE_STACK
        }
    return stacks


def _updated(program: Program, instruction: Instruction) -> Iterable[Array]:
    if instruction.op == "dynamic-update-slice":
        return instruction.arrays
    if instruction.op != "fusion":
        return ()
    body = program.computations[instruction.called or ""]
    return [array for x in body.values() if x.op == "dynamic-update-slice" for array in x.arrays]


def _written(program: Program, instruction: Instruction) -> list[Array]:
    """Return what an instruction writes: its output, or the slice that it updates in place."""
    if instruction.op == "fusion":
        body = program.computations[instruction.called or ""]
        return [array for x in written_arrays(body) for array in x.arrays]
    return list(instruction.arrays)


def _squeezed(array: Array) -> Array:
    return Array(array.dtype, tuple(n for n in array.dims if n != 1))
