"""Simulation of a community through intervals of constant conditions."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from bioclip_jax.errors import UserError

from .model import Community
from .rates import BIOMASS_ENTRIES, LEDGER, NUTRIENT_ENTRIES, Conditions, environment
from .solver import State, advance

_BY_SPECIES = ("harvest", "capacity", "open", "keep", "add")
_NOT_NEGATIVE = ("rain", *_BY_SPECIES)


class Trajectory(eqx.Module):
    """Biomass at the times between intervals, first the start.

    biomass, nutrients: kg/km². ledger: kg/km² by entry of LEDGER since the start, at the ends of intervals.
    steps: of the solver. succeeded: False if an interval took more steps than allowed; what follows is void.
    """

    biomass: Float[Array, "times patches species"]
    nutrients: Float[Array, "times patches nutrients"]
    ledger: Float[Array, "intervals patches entries"]
    steps: Int[Array, ""]
    succeeded: Bool[Array, ""]


def simulate(
    community: Community,
    biomass: Float[Array, "patches species"],
    conditions: Conditions,
    days: Float[Array, " intervals"],
    *,
    nutrients: Float[Array, "patches nutrients"] | None = None,
    tolerance: float = 1e-6,
    max_steps: int = 4096,
    checkpoints: int | None = None,
) -> Trajectory:
    """Simulate a community; pure, for jax.jit, jax.vmap and jax.grad, with x64 enabled.

    biomass: at the start, kg/km²; 0 for absent species. conditions: with a leading axis of intervals.
    days: length of each interval. nutrients: at the start (default: their supply).
    tolerance: relative error of each biomass per step. max_steps: of an interval. checkpoints: states in an
    interval that reverse mode keeps; 0 for forward mode in place of reverse mode. Raises UserError for inputs
    that cannot be, unless they are traced.
    """
    if nutrients is None:
        nutrients = jnp.broadcast_to(community.supply, (community.n_patches, community.n_nutrients))
    check_inputs(community, biomass, conditions, nutrients, days)
    inputs = jax.tree.map(
        lambda leaf: jnp.asarray(leaf)[..., None], (community, biomass, conditions, nutrients)
    )
    options = {"tolerance": tolerance, "max_steps": max_steps, "checkpoints": checkpoints}
    return jax.tree.map(lambda leaf: leaf[..., 0], simulate_members(*inputs, days, **options))


def simulate_members(
    community: Community,
    biomass: Float[Array, "patches species members"],
    conditions: Conditions,
    nutrients: Float[Array, "patches nutrients members"],
    days: Float[Array, " intervals"],
    *,
    tolerance: float = 1e-6,
    max_steps: int = 4096,
    checkpoints: int | None = None,
) -> Trajectory:
    """Simulate members along the last axis of all arrays, where 1 stands for all; otherwise as simulate."""
    n = community.n_species
    leaves = jax.tree.leaves((community, biomass, conditions, nutrients))
    members = max(leaf.shape[-1] for leaf in leaves)
    start = _start(_with_members(biomass, members), _with_members(nutrients, members))
    extinction = community.extinction_kg / community.area_km2[:, None]
    extinction = jnp.pad(extinction, ((0, 0), (0, community.n_nutrients), (0, 0)))

    def interval(carry: tuple, inputs: tuple) -> tuple:
        state, steps, succeeded = carry
        now, length = inputs
        state, more, arrived = advance(
            community,
            environment(community, now),
            _intervene(state, now, n),
            # After a failure nothing is worth the steps.
            jnp.where(succeeded, length, 0.0),
            extinction=extinction,
            tolerance=tolerance,
            max_steps=max_steps,
            checkpoints=checkpoints,
        )
        return (state, steps + more, succeeded & arrived), (state.biomass, state.ledger)

    carry = (start, jnp.zeros(members, int), jnp.ones(members, bool))
    carry, (path, ledger) = jax.lax.scan(interval, carry, (conditions, days))
    path = jnp.concatenate([start.biomass[None], path])
    return Trajectory(path[:, :, :n], path[:, :, n:], ledger, carry[1], carry[2])


def check_inputs(
    community: Community, biomass: Any, conditions: Conditions, nutrients: Any, days: Any
) -> None:
    """Raise UserError for inputs that no community can have; traced ones have no values to check."""
    limits = {
        "biomass": (biomass, 0.0, "at least 0"),
        "nutrients": (nutrients, np.nextafter(0, 1), "above 0"),
        "days": (days, np.nextafter(0, 1), "above 0"),
        **{name: (getattr(conditions, name), 0.0, "at least 0") for name in _NOT_NEGATIVE},
        "temperature_k": (conditions.temperature_k, 100.0, "in kelvin"),
        "noise": (conditions.noise, -np.inf, "finite"),
    }
    for name, (values, least, wanted) in limits.items():
        if isinstance(values, jax.core.Tracer):
            continue
        values = np.asarray(values, float)
        wrong = ~(np.isfinite(values) & (values >= least))
        if wrong.any():
            place = tuple(int(index) for index in np.argwhere(wrong)[0])
            of_species = name in ("biomass", "noise", *_BY_SPECIES) and f" ({community.names[place[-1]]})"
            where = f"{name}[{', '.join(map(str, place))}]{of_species or ''}"
            raise UserError(f"{where} is {values[place]:g}; it must be {wanted}")


def ledger_residual(
    trajectory: Trajectory,
) -> tuple[Float[Array, " patches"], Float[Array, " patches"]]:
    """Return what the ledger leaves unexplained of biomass and nutrients, relative to all that flowed."""
    residuals = []
    for amount, entries in (
        (trajectory.biomass, BIOMASS_ENTRIES),
        (trajectory.nutrients, NUTRIENT_ENTRIES),
    ):
        booked = trajectory.ledger[-1][:, entries]
        start, end = amount[0].sum(-1), amount[-1].sum(-1)
        turned_over = jnp.abs(booked).sum(-1) + start + end
        residuals.append(jnp.abs(end - start - booked.sum(-1)) / jnp.where(turned_over > 0, turned_over, 1.0))
    return residuals[0], residuals[1]


def _start(
    biomass: Float[Array, "patches species members"], nutrients: Float[Array, "patches nutrients members"]
) -> State:
    biomass = jnp.concatenate([biomass, nutrients], axis=1)
    ledger = jnp.zeros((len(biomass), len(LEDGER), biomass.shape[-1]), biomass.dtype)
    step_days = jnp.full(biomass.shape[-1], 0.1, biomass.dtype)
    return State(_log(biomass, jnp.zeros_like(biomass)), biomass, ledger, step_days)


def _log(biomass: Array, otherwise: Array) -> Array:
    present = biomass > 0
    return jnp.where(present, jnp.log(jnp.where(present, biomass, 1.0)), otherwise)


def _with_members(leaf: Float[Array, "*axes one"], members: int) -> Float[Array, "*axes members"]:
    return jnp.broadcast_to(leaf, (*leaf.shape[:-1], members))


def _intervene(state: State, conditions: Conditions, n: int) -> State:
    """Return the state after the removals and introductions at the start of an interval."""
    before = state.biomass[:, :n]
    kept = before * conditions.keep
    after = kept + conditions.add
    ledger = state.ledger.at[:, LEDGER.index("harvest")].add((kept - before).sum(1))
    ledger = ledger.at[:, LEDGER.index("introduction")].add(conditions.add.sum(1))
    biomass = jnp.concatenate([after, state.biomass[:, n:]], axis=1)
    return State(_log(biomass, state.log_biomass), biomass, ledger, state.step_days)
