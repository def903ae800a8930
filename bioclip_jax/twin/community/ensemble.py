"""Simulation of many communities: chunks of members on every device, the same bytes on any number of them."""

from __future__ import annotations

import functools
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from bioclip_jax.errors import UserError

from .model import PARAMETER_AXES, Community
from .rates import CONDITION_AXES, Conditions
from .trajectory import Trajectory, check_inputs, simulate_members


def simulate_ensemble(
    community: Community,
    biomass: Float[np.ndarray, "*members patches species"],
    conditions: Conditions,
    days: Float[np.ndarray, " intervals"],
    **options: Any,
) -> Trajectory:
    """Simulate the members of an ensemble and return NumPy arrays with a leading axis of members.

    As simulate_chunks, with its options, all members at once.
    """
    chunks = simulate_chunks(community, biomass, conditions, days, **options)
    return jax.tree.map(lambda *parts: np.concatenate(parts), *chunks)


def simulate_chunks(
    community: Community,
    biomass: Float[np.ndarray, "*members patches species"],
    conditions: Conditions,
    days: Float[np.ndarray, " intervals"],
    *,
    nutrients: Float[np.ndarray, "*members patches nutrients"] | None = None,
    tolerance: float = 1e-6,
    max_steps: int = 4096,
    chunk: int = 64,
    skip: int = 0,
) -> Iterator[Trajectory]:
    """Yield the trajectories of `chunk` members at a time, in order, with a leading axis of members.

    Each array of the community, of the conditions, the biomass and the nutrients may have a leading axis of
    members; those without one are shared by all. days, tolerance, max_steps: as of simulate. chunk: members
    that a device simulates at a time. A member's result does not depend on the number of devices or members,
    but its last digits do on the chunk. skip: chunks to leave out at the start, such as those that an
    interrupted run has written. Raises UserError for inputs that cannot be, and if a member takes more than
    max_steps.
    """
    supply = np.asarray(community.supply)
    if nutrients is None:
        patches = community.area_km2.shape[-1]
        nutrients = np.broadcast_to(supply[..., None, :], (*supply.shape[:-1], patches, supply.shape[-1]))
    check_inputs(community, biomass, conditions, nutrients, days)
    inputs = (community, biomass, conditions, nutrients)
    ranks = (
        _ranks(community, PARAMETER_AXES),
        2,
        _ranks(conditions, {name: ("intervals", *axes) for name, axes in CONDITION_AXES.items()}),
        2,
    )
    n_members = _count_members(inputs, ranks)
    batched = jax.tree.map(lambda leaf, rank: np.ndim(leaf) > rank, inputs, ranks)
    devices = _workers()

    def run(first: int, device: jax.Device) -> Trajectory:
        members = np.arange(first, first + chunk)
        present = members < n_members
        members = np.where(present, members, 0)
        part = jax.tree.map(lambda leaf, some: _members_last(leaf, some, members), inputs, batched)
        with jax.enable_x64(True):
            part = jax.device_put((part, present, np.asarray(days, float)), device)
            trajectory = jax.tree.map(np.asarray, _simulate_chunk(*part, tolerance, max_steps))
        trajectory = jax.tree.map(lambda leaf: np.ascontiguousarray(np.moveaxis(leaf, -1, 0)), trajectory)
        return _checked(jax.tree.map(lambda leaf: leaf[: present.sum()], trajectory), first, max_steps)

    with ThreadPoolExecutor(len(devices)) as pool:
        waiting: deque[Future[Trajectory]] = deque()
        try:
            for number, first in enumerate(range(skip * chunk, n_members, chunk)):
                if len(waiting) == len(devices):
                    yield waiting.popleft().result()
                waiting.append(pool.submit(run, first, devices[number % len(devices)]))
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _workers() -> list[jax.Device]:
    """Return the device of each thread: all accelerators, or a thread per core for the first CPU device.

    All CPU devices have the same cores, and each would compile a program of its own.
    """
    devices = jax.devices()
    return devices if devices[0].platform != "cpu" else devices[:1] * (os.cpu_count() or 1)


# A program for one device: one for several is compiled to other code, whose last digits differ.
@functools.partial(jax.jit, static_argnums=(3, 4))
def _simulate_chunk(inputs: Any, present: Any, days: Any, tolerance: float, max_steps: int) -> Trajectory:
    """Return the trajectories of a chunk, members last, on the device of its arrays."""
    community, biomass, conditions, nutrients = inputs
    # What fills the last chunk is a member without species, which takes few steps.
    biomass = jnp.where(present, biomass, 0.0)
    options = {"tolerance": tolerance, "max_steps": max_steps, "checkpoints": 0}
    return simulate_members(community, biomass, conditions, nutrients, days, **options)


def _members_last(leaf: Any, batched: bool, members: Int[np.ndarray, " rows"]) -> Float[np.ndarray, "..."]:
    """Return the members of an array on its last axis, or one that stands for all."""
    leaf = np.asarray(leaf, float)
    return np.moveaxis(leaf[members], 0, -1) if batched else leaf[..., None]


def _ranks(module: Any, axes: dict[str, tuple[str, ...]]) -> Any:
    """Return a copy of a module with the number of axes of each of its arrays, members excluded."""
    names = list(axes)
    return eqx.tree_at(
        lambda one: [getattr(one, name) for name in names], module, [len(axes[name]) for name in names]
    )


def _count_members(inputs: Any, ranks: Any) -> int:
    """Return the size of the leading axis of those arrays that have one."""
    counts = set()
    for leaf, rank in zip(jax.tree.leaves(inputs), jax.tree.leaves(ranks)):
        extra = np.ndim(leaf) - rank
        if extra not in (0, 1):
            raise ValueError(
                f"an array has {np.ndim(leaf)} axes where {rank}, or one more of members, belong"
            )
        counts |= {np.shape(leaf)[0]} if extra else set()
    if len(counts) != 1:
        raise ValueError(f"an ensemble needs arrays with one number of members, not {sorted(counts)}")
    return counts.pop()


def _checked(trajectory: Trajectory, first: int, max_steps: int) -> Trajectory:
    """Return the trajectories of members from `first` on, all of which reached the end."""
    if not trajectory.succeeded.all():
        member = first + int(np.argmin(trajectory.succeeded))
        raise UserError(
            f"member {member} of the ensemble takes more than {max_steps} steps in an interval; its rates "
            "are too far apart, or its tolerance is too small"
        )
    return trajectory
