"""Adaptive Runge-Kutta steps in log biomass that conserve mass to rounding, for many members at once.

A loop of our own around diffrax's tableau: members on the last axis let XLA sum over links in vectors, where
vmap would put them first; and diffrax's loop under vmap takes 3.5 µs a step and member beside the equations
(two shared cores). Explicit: implicit methods would factorize a Jacobian per member; none has been measured.
"""

from __future__ import annotations

from typing import NamedTuple

import diffrax
import equinox.internal as eqxi
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .model import Community
from .rates import LEDGER, Environment, Fluxes, fluxes, ledger_entries, net_change

# The factor of a step's length is safety · (tolerance / error)^(1/5), within bounds.
_SAFETY, _SHORTEN, _LENGTHEN = 0.93, 0.2, 10.0
# A stage further from the step's start than e^±this is wrong anyway, and must not overflow.
_FARTHEST = 20.0


# The tableau but for the last stage, which is the state after the step: rows of weights of earlier stages.
_STAGES = np.array([np.pad(row, (0, 5 - len(row))) for row in ((), *diffrax.Tsit5.tableau.a_lower[:-1])])
_MEAN, _ERROR = diffrax.Tsit5.tableau.b_sol[:-1], diffrax.Tsit5.tableau.b_error


class State(NamedTuple):
    """State of the patches; compartments are the species, then the nutrient pools.

    log_biomass: of kg/km²; not meaningful where biomass is 0. biomass: kg/km², 0 once and for all where a
    species is extinct; [patches, compartments, members]. ledger: kg/km² by entry since the start [patches,
    entries, members]. step_days: length to try next [members].
    """

    log_biomass: Array
    biomass: Array
    ledger: Array
    step_days: Array


class _Progress(NamedTuple):
    """Carry of the loop over steps; flux: at the state; the other arrays are by member."""

    day: Array
    state: State
    flux: Fluxes
    steps: Array


def advance(
    community: Community,
    environment: Environment,
    state: State,
    days: Float[Array, "*members"],
    *,
    extinction: Float[Array, "patches compartments members"],
    tolerance: float,
    max_steps: int,
    checkpoints: int | None,
) -> tuple[State, Int[Array, " members"], Bool[Array, " members"]]:
    """Return the state after some days, the steps that were tried, and which members got there.

    extinction: kg/km² below which a compartment becomes 0. tolerance: of the largest relative error of
    biomass per step. checkpoints: states that reverse mode keeps (default: by max_steps); 0 for a loop that
    only forward mode can differentiate.
    """

    def unfinished(now: _Progress) -> Array:
        return (now.day < days) & (now.steps < max_steps)

    def body(now: _Progress) -> _Progress:
        running, left = unfinished(now), days - now.day
        planned = now.state.step_days
        tried = jnp.minimum(planned, left)
        state, flux, error = _step(community, environment, now.state, now.flux, tried, extinction)
        error = jax.lax.stop_gradient(error) / tolerance
        accepted = running & (error <= 1)
        following = tried * _factor(error)
        # An accepted step that the end has cut short says nothing against the planned length.
        following = jnp.where(accepted & (tried < planned), jnp.maximum(planned, following), following)
        kept, kept_flux = jax.tree.map(
            lambda new, old: jnp.where(accepted, new, old), (state, flux), (now.state, now.flux)
        )
        return _Progress(
            day=jnp.where(accepted, jnp.where(tried < left, now.day + tried, days), now.day),
            state=kept._replace(step_days=jnp.where(running, following, planned)),
            flux=kept_flux,
            steps=now.steps + running,
        )

    members = state.step_days.shape
    start = _Progress(
        day=jnp.zeros(members, days.dtype),
        state=state,
        flux=fluxes(community, environment, state.log_biomass, state.biomass > 0)[0],
        steps=jnp.zeros(members, int),
    )
    options = {"kind": "lax"} if checkpoints == 0 else {"kind": "checkpointed", "checkpoints": checkpoints}
    end = eqxi.while_loop(lambda now: unfinished(now).any(), body, start, max_steps=max_steps, **options)
    return end.state, end.steps, end.day >= days


def _factor(error: Float[Array, " members"]) -> Float[Array, " members"]:
    """Return the factor of a step's length after an error in units of the tolerance.

    Without the proportional part of PI control, which took a quarter more steps through monthly weather.
    """
    return jnp.clip(_SAFETY * jnp.maximum(error, 1e-10) ** -0.2, _SHORTEN, _LENGTHEN)


def _relative(community: Community, environment: Environment, flux: Fluxes, alive: Array) -> Array:
    """Return d log B/dt, 1/day."""
    change = net_change(community, environment, flux, alive)
    return jnp.where(alive, change / jnp.where(alive, flux.biomass, 1.0), 0.0)


def _step(
    community: Community,
    environment: Environment,
    state: State,
    flux: Fluxes,
    days: Float[Array, " members"],
    extinction: Float[Array, "patches compartments members"],
) -> tuple[State, Fluxes, Float[Array, " members"]]:
    """Return the state after a step, the fluxes there, and the largest relative error by member.

    Tsitouras' 5(4) method (2011, Comput. Math. Appl. 62:770), stages in log B, update in B. The stages are
    positive by construction. The new biomass is B + h Σ b_s dB/dt at the stages, the method applied to B
    beside log B, so that it has the same order; each flux enters what it leaves and what it reaches with the
    same weights, so that sums over compartments hold to rounding at any tolerance. exp(log B + h Σ b_s
    d log B/dt) would conserve mass only within the tolerance.
    """
    alive = state.biomass > 0

    def following(carry: tuple, row: tuple) -> tuple:
        # From stage to stage; fluxes are carried, since XLA computes again what several things are made of.
        flux, slopes, mean, wrong = carry
        number, share, doubt, weights = row
        slope = _relative(community, environment, flux, alive)
        slopes = slopes.at[number].set(slope, mode="promise_in_bounds")
        mean = jax.tree.map(lambda so_far, new: so_far + share * new, mean, flux)
        wrong = wrong + doubt * slope * flux.biomass
        change = days * _combine(slopes, weights)
        log_biomass = state.log_biomass + jnp.clip(change, -_FARTHEST, _FARTHEST)
        return (fluxes(community, environment, log_biomass, alive)[0], slopes, mean, wrong), None

    # Later stages have a weight of 0 in the sums, and stand for 0.
    slopes = jnp.zeros((len(_STAGES) - 1, *state.biomass.shape))
    rows = (
        jnp.arange(len(_STAGES) - 1),
        jnp.array(_MEAN[:-1]),
        jnp.array(_ERROR[:-2]),
        jnp.array(_STAGES[1:]),
    )
    carry = (flux, slopes, jax.tree.map(jnp.zeros_like, flux), jnp.zeros_like(state.biomass))
    (flux, _, mean, wrong), _ = jax.lax.scan(following, carry, rows)
    wrong = wrong + _ERROR[-2] * net_change(community, environment, flux, alive)
    mean = jax.tree.map(lambda so_far, new: so_far + _MEAN[-1] * new, mean, flux)
    biomass = state.biomass + days * net_change(community, environment, mean, alive)
    booked = ledger_entries(community, environment, mean, alive)

    failed = alive & ~(biomass > 0)
    lost = alive & (biomass < extinction)
    kept = alive & ~lost & ~failed
    remnant = -jnp.where(lost, biomass, 0.0).sum(axis=1)
    zero = jnp.zeros_like(remnant)
    booked = {name: days * entry for name, entry in booked.items()} | {"extinction": remnant}
    ledger = state.ledger + jnp.stack([booked.get(name, zero) for name in LEDGER], axis=1)
    biomass = jnp.where(kept, biomass, 0.0)
    log_biomass = jnp.where(kept, jnp.log(jnp.where(kept, biomass, 1.0)), state.log_biomass)
    flux, _ = fluxes(community, environment, log_biomass, kept)
    wrong = wrong + _ERROR[-1] * net_change(community, environment, flux, kept)

    # Of biomass, which is what goes on; log biomass that changes steadily would have no error.
    error = jnp.where(kept, days * wrong / jnp.where(kept, biomass, 1.0), 0.0)
    # The largest, not the mean: absent species would dilute a mean, and a maximum has no order of summation.
    error = jnp.where(failed, jnp.inf, jnp.abs(error)).max(axis=(0, 1))
    error = jnp.where(jnp.isnan(error), jnp.inf, error)
    return State(log_biomass, biomass, ledger, state.step_days), flux, error


def _combine(slopes: Float[Array, "stages ..."], weights: Float[Array, " stages"]) -> Float[Array, "..."]:
    # Written out, since XLA's own sums over a few large rows are slow.
    return sum(weights[stage] * slopes[stage] for stage in range(len(_STAGES) - 1))
