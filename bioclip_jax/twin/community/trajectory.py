"""Simulation of a community through intervals of constant conditions."""

from __future__ import annotations

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .model import Community
from .rates import BIOMASS_ENTRIES, LEDGER, NUTRIENT_ENTRIES, Conditions, derivatives, environment
from .solver import ConservingTsit5, State


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
    tolerance: relative error of each biomass per step. max_steps: of an interval.
    """
    if nutrients is None:
        nutrients = jnp.broadcast_to(community.supply, (community.n_patches, community.n_nutrients))
    n = community.n_species
    extinction = community.extinction_kg / community.area_km2[:, None]
    extinction = jnp.concatenate([extinction, jnp.zeros_like(nutrients)], axis=1)
    solver = ConservingTsit5(extinction, LEDGER.index("extinction"))
    controller = diffrax.PIDController(
        rtol=0.0, atol=tolerance, norm=_largest_error, pcoeff=0.4, icoeff=0.3, dcoeff=0.0
    )
    adjoint = diffrax.RecursiveCheckpointAdjoint(checkpoints=checkpoints)

    def field(_: Array, state: State, rates: object) -> State:
        relative, change, ledger = derivatives(community, rates, state.log_biomass, state.biomass > 0)
        return State(relative, change, ledger, jnp.zeros_like(state.step_days))

    term = diffrax.ODETerm(field)

    def interval(carry: tuple, inputs: tuple) -> tuple:
        state, steps, succeeded = carry
        now, length = inputs
        state = _intervene(state, now, n)
        solution = diffrax.diffeqsolve(
            term,
            solver,
            t0=0.0,
            t1=length,
            dt0=jnp.minimum(state.step_days, length),
            y0=state,
            args=environment(community, now),
            saveat=diffrax.SaveAt(t1=True),
            stepsize_controller=controller,
            adjoint=adjoint,
            max_steps=max_steps,
            throw=False,
        )
        state = jax.tree.map(lambda leaf: leaf[0], solution.ys)
        succeeded &= solution.result == diffrax.RESULTS.successful
        return (state, steps + solution.stats["num_steps"], succeeded), (state.biomass, state.ledger)

    start = _start(jnp.concatenate([biomass, nutrients], axis=1))
    carry, (path, ledger) = jax.lax.scan(
        interval, (start, jnp.asarray(0), jnp.asarray(True)), (conditions, days)
    )
    path = jnp.concatenate([start.biomass[None], path])
    return Trajectory(path[..., :n], path[..., n:], ledger, carry[1], carry[2])


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


def _start(biomass: Float[Array, "patches compartments"]) -> State:
    present = biomass > 0
    log_biomass = jnp.where(present, jnp.log(jnp.where(present, biomass, 1.0)), 0.0)
    ledger = jnp.zeros((len(biomass), len(LEDGER)), biomass.dtype)
    return State(log_biomass, biomass, ledger, jnp.asarray(0.1, biomass.dtype))


def _intervene(state: State, conditions: Conditions, n: int) -> State:
    """Return the state after the removals and introductions at the start of an interval."""
    before = state.biomass[:, :n]
    kept = before * conditions.keep
    after = kept + conditions.add
    ledger = state.ledger.at[:, LEDGER.index("harvest")].add((kept - before).sum(-1))
    ledger = ledger.at[:, LEDGER.index("introduction")].add(conditions.add.sum(-1))
    biomass = jnp.concatenate([after, state.biomass[:, n:]], axis=1)
    present = biomass > 0
    log_biomass = jnp.where(present, jnp.log(jnp.where(present, biomass, 1.0)), state.log_biomass)
    return State(log_biomass, biomass, ledger, state.step_days)


def _largest_error(scaled: State) -> Float[Array, ""]:
    # The largest, not the mean: absent species would dilute a mean, and a maximum has no order of summation.
    return jnp.max(jnp.abs(scaled.log_biomass))
