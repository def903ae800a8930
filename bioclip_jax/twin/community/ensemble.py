"""Simulation of many communities: chunks of members on every device, the same bytes on any number of them."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Float

from bioclip_jax.errors import UserError

from .model import PARAMETER_AXES, Community
from .rates import CONDITION_AXES, Conditions
from .trajectory import Trajectory, simulate


def simulate_ensemble(
    community: Community,
    biomass: Float[np.ndarray, "*members patches species"],
    conditions: Conditions,
    days: Float[np.ndarray, " intervals"],
    *,
    nutrients: Float[np.ndarray, "*members patches nutrients"] | None = None,
    tolerance: float = 1e-6,
    max_steps: int = 4096,
    chunk: int = 64,
) -> Trajectory:
    """Simulate the members of an ensemble and return NumPy arrays with a leading axis of members.

    Each array of the community, of the conditions, the biomass and the nutrients may have a leading axis of
    members; those without one are shared by all. days, tolerance, max_steps: as of simulate. chunk: members
    that a device simulates at a time. A member's result does not depend on the number of devices or members,
    but its last digits do on the chunk. Raises UserError if a member takes more than max_steps.
    """
    chunks = simulate_chunks(
        community,
        biomass,
        conditions,
        days,
        nutrients=nutrients,
        tolerance=tolerance,
        max_steps=max_steps,
        chunk=chunk,
    )
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
    """Simulate as simulate_ensemble, but yield the trajectories of `chunk` members at a time, in order.

    skip: chunks to leave out at the start, such as those that an interrupted run has written; the others are
    as they would have been.
    """
    supply = np.asarray(community.supply)
    if nutrients is None:
        patches = community.area_km2.shape[-1]
        nutrients = np.broadcast_to(supply[..., None, :], (*supply.shape[:-1], patches, supply.shape[-1]))
    inputs = (community, biomass, conditions, nutrients)
    ranks = (
        _ranks(community, PARAMETER_AXES),
        2,
        _ranks(conditions, {name: ("intervals", *axes) for name, axes in CONDITION_AXES.items()}),
        2,
    )
    n_members = _count_members(inputs, ranks)
    mesh = Mesh(np.array(jax.devices()), "members")
    rows = chunk * mesh.size

    def of_rows(leaf: Any, rank: int, members: np.ndarray) -> np.ndarray:
        leaf = np.asarray(leaf, float)
        return leaf[members] if leaf.ndim > rank else np.broadcast_to(leaf, (len(members), *leaf.shape))

    for first in range(skip * chunk, n_members, rows):
        members = np.arange(first, first + rows)
        present = members < n_members
        part = jax.tree.map(lambda *leaf: of_rows(*leaf, np.where(present, members, 0)), inputs, ranks)  # noqa: B023
        # What fills the last chunk is a member without species, which takes few steps.
        part = eqx.tree_at(lambda one: one[1], part, part[1] * present[:, None, None])
        with jax.enable_x64(True):
            part = jax.device_put(part, NamedSharding(mesh, PartitionSpec("members")))
            trajectory = _program(mesh, tolerance, max_steps)(*part, np.asarray(days, float))
        trajectory = jax.tree.map(np.asarray, trajectory)
        for start in range(0, min(rows, n_members - first), chunk):
            end = min(start + chunk, n_members - first)
            yield _checked(jax.tree.map(lambda leaf: leaf[start:end], trajectory), first + start, max_steps)  # noqa: B023


@functools.lru_cache
def _program(mesh: Mesh, tolerance: float, max_steps: int) -> Any:
    """Return the jitted simulation of a chunk on each device."""

    def chunk(
        community: Community, biomass: Any, conditions: Conditions, nutrients: Any, days: Any
    ) -> Trajectory:
        def member(community: Community, biomass: Any, conditions: Conditions, nutrients: Any) -> Trajectory:
            return simulate(
                community,
                biomass,
                conditions,
                days,
                nutrients=nutrients,
                tolerance=tolerance,
                max_steps=max_steps,
            )

        return jax.vmap(member)(community, biomass, conditions, nutrients)

    split, whole = PartitionSpec("members"), PartitionSpec()
    specs = (split, split, split, split, whole)
    return jax.jit(jax.shard_map(chunk, mesh=mesh, in_specs=specs, out_specs=split, check_vma=False))


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
