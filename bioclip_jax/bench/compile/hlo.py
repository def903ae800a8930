"""Parser of XLA's optimized HLO text: computations, instructions, and how often an execution runs each."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

# Bytes of an element. Tokens and opaque types have no size.
_ITEM_BYTES = {
    "pred": 1, "s8": 1, "u8": 1, "f8e4m3fn": 1, "f8e5m2": 1, "f8e4m3": 1, "f8e4m3fnuz": 1, "f8e5m2fnuz": 1,
    "f8e4m3b11fnuz": 1, "f8e3m4": 1, "f8e8m0fnu": 1, "s16": 2, "u16": 2, "bf16": 2, "f16": 2, "s32": 4,
    "u32": 4, "f32": 4, "s64": 8, "u64": 8, "f64": 8, "c64": 8, "c128": 16,
}  # fmt: skip
_ARRAY = re.compile(rf"\b({'|'.join(_ITEM_BYTES)})\[([\d,]*)\]")
_COMPUTATION = re.compile(r"(ENTRY )?%([\w.\-]+) \(.*\{\s*$")
_INSTRUCTION = re.compile(r"\s+(ROOT )?%([\w.\-]+) = (\(.*?\)|\S+) ([a-z][\w\-]*)\(")
_NAME = re.compile(r"%([\w.\-]+)")
# Take no time: they name or regroup buffers, or end what another instruction has started.
_FREE = {
    "parameter",
    "get-tuple-element",
    "tuple",
    "bitcast",
    "constant",
    "partition-id",
    "replica-id",
    "after-all",
}


@dataclass(frozen=True)
class Array:
    """An array's element type, such as "bf16", and dimensions."""

    dtype: str
    dims: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.dims)

    @property
    def bytes(self) -> int:
        """Size in bytes."""
        return self.size * _ITEM_BYTES[self.dtype]


@dataclass(frozen=True)
class Instruction:
    """One instruction. shape: its output as text; operands: names; attributes: what follows the operands."""

    name: str
    op: str
    shape: str
    operands: tuple[str, ...]
    attributes: str
    root: bool = False

    @functools.cached_property
    def arrays(self) -> tuple[Array, ...]:
        """The arrays of the output, those of a tuple in order."""
        return tuple(
            Array(dtype, tuple(int(n) for n in dims.split(",") if n))
            for dtype, dims in _ARRAY.findall(self.shape)
        )

    @property
    def bytes(self) -> int:
        """Bytes of the output."""
        return sum(array.bytes for array in self.arrays)

    def attribute(self, pattern: str) -> str | None:
        """Return the first group of a regular expression in the attributes, or None."""
        match = re.search(pattern, self.attributes)
        return match[1] if match else None

    @property
    def called(self) -> str | None:
        """The computation that a fusion, call or asynchronous start runs."""
        return self.attribute(r"\b(?:calls|to_apply)=%([\w.\-]+)")

    @property
    def target(self) -> str:
        """The function of a custom call, else an empty string."""
        return self.attribute(r'custom_call_target="([^"]*)"') or ""

    @property
    def source(self) -> str:
        """Path of the operation in the traced Python program."""
        return self.attribute(r'op_name="([^"]*)"') or ""

    @property
    def trips(self) -> int | None:
        """Number of iterations of a while loop, None if the compiler does not know it."""
        count = self.attribute(r'known_trip_count":\{"n":"(\d+)"')
        return None if count is None else int(count)


Computation = dict[str, Instruction]  # by name, in order


@dataclass(frozen=True)
class Run:
    """An instruction of a computation, and how often one execution of the program runs it."""

    computation: Computation
    instruction: Instruction
    times: int

    @property
    def operands(self) -> list[Instruction]:
        """The instructions whose outputs it takes."""
        return [self.computation[name] for name in self.instruction.operands if name in self.computation]


@dataclass(frozen=True)
class Program:
    """Computations by name, and the name of the entry."""

    computations: dict[str, Computation]
    entry: str

    @classmethod
    def parse(cls, text: str) -> Program:
        """Parse the text of a compiled module. Raises ValueError if it has no entry computation."""
        computations: dict[str, Computation] = {}
        entry, current = None, None
        for line in text.splitlines():
            if head := _COMPUTATION.match(line):
                current = computations[head[2]] = {}
                entry = head[2] if head[1] else entry
            elif current is not None and (instruction := _parse_instruction(line)):
                current[instruction.name] = instruction
        if entry is None:
            raise ValueError("the text is not an HLO module: it has no ENTRY computation")
        return cls(computations, entry)

    def runs(self, name: str | None = None, times: int = 1) -> Iterator[Run]:
        """Yield the instructions that take time, those of loops as often as the loops iterate.

        Fusions are one instruction. A loop of unknown length counts once, and each branch of a conditional.
        """
        computation = self.computations[name or self.entry]
        for instruction in computation.values():
            if instruction.op == "while":
                yield from self.runs(loop_body(instruction), times * (instruction.trips or 1))
            elif instruction.op in ("call", "async-start"):
                yield from self.runs(instruction.called, times)
            elif instruction.op == "conditional":
                for branch in _branches(instruction):
                    yield from self.runs(branch, times)
            elif instruction.op not in _FREE and not instruction.op.endswith("-done"):
                yield Run(computation, instruction, times)

    def loops(self) -> list[Instruction]:
        """Return the while loops of all computations."""
        return [x for body in self.computations.values() for x in body.values() if x.op == "while"]


def loop_body(loop: Instruction) -> str:
    """Return the name of a while loop's body."""
    name = loop.attribute(r"\bbody=%([\w.\-]+)")
    if name is None:
        raise ValueError(f"the loop {loop.name} has no body")
    return name


def outputs(computation: Computation) -> list[Instruction]:
    """Return the instructions whose arrays are the outputs of a computation, which may be a tuple."""
    last = next(x for x in computation.values() if x.root)
    return [computation[name] for name in last.operands] if last.op == "tuple" else [last]


def _parse_instruction(line: str) -> Instruction | None:
    match = _INSTRUCTION.match(line)
    if match is None:
        return None
    # Operands may hold parentheses of their own, as the types of tuples.
    depth, end = 1, match.end()
    while depth and end < len(line):
        depth += {"(": 1, ")": -1}.get(line[end], 0)
        end += 1
    operands = _NAME.findall(line[match.end() : end - 1])
    return Instruction(match[2], match[4], match[3], tuple(operands), line[end:], root=bool(match[1]))


def _branches(conditional: Instruction) -> list[str]:
    listed = conditional.attribute(r"branch_computations=\{([^}]*)\}")
    pair = re.findall(r"(?:true|false)_computation=%([\w.\-]+)", conditional.attributes)
    return _NAME.findall(listed) if listed else pair
