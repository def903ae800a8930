"""A Runge-Kutta step in log biomass that conserves mass to rounding."""

from __future__ import annotations

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class State(eqx.Module):
    """State of the patches; compartments are the species, then the nutrient pools.

    log_biomass: of kg/km²; not meaningful where biomass is 0. biomass: kg/km², 0 once and for all where a
    species is extinct. ledger: kg/km² by entry since the start. step_days: length of the last steps, from
    which the next interval's first is guessed.
    """

    log_biomass: Float[Array, "patches compartments"]
    biomass: Float[Array, "patches compartments"]
    ledger: Float[Array, "patches entries"]
    step_days: Float[Array, ""]


class ConservingTsit5(diffrax.AbstractAdaptiveSolver):
    """Tsitouras' 5(4) method (2011, Comput. Math. Appl. 62:770), stages in log B, update in B.

    The stages of the method for log B are positive by construction. The new biomass is B + h Σ b_s dB/dt at
    these stages, the method applied to B beside log B, so that it has the same order; each flow enters what
    it leaves and what it reaches with the same weights, so that sums over compartments hold to rounding at
    any tolerance. exp(log B + h Σ b_s d log B/dt) would conserve mass only within the tolerance.

    extinction: kg/km² below which a compartment becomes 0, with its remnant booked as `extinction_entry`.
    """

    extinction: Float[Array, "patches compartments"]
    extinction_entry: int = eqx.field(static=True)

    term_structure = diffrax.AbstractTerm
    interpolation_cls = diffrax.LocalLinearInterpolation

    def order(self, terms: Any) -> int:
        """Order of the method, for the step sizes."""
        return 5

    def init(self, terms: Any, t0: Any, t1: Any, y0: State, args: Any) -> State:
        """Slopes at a state."""
        return terms.vf(t0, y0, args)

    def func(self, terms: Any, t0: Any, y0: State, args: Any) -> State:
        """Slopes at a state."""
        return terms.vf(t0, y0, args)

    def step(
        self, terms: Any, t0: Any, t1: Any, y0: State, args: Any, solver_state: State, made_jump: Any
    ) -> tuple[State, State, dict, State, Any]:
        """Return the state after a step, its error, and the slopes at its end."""
        tableau = diffrax.Tsit5.tableau
        days = t1 - t0
        slopes = [solver_state]
        for weights, c in zip(tableau.a_lower[:-1], tableau.c[:-1]):
            stage = y0.log_biomass + days * _combine([slope.log_biomass for slope in slopes], weights)
            slopes.append(terms.vf(t0 + c * days, _with_log(y0, stage), args))
        weights = tableau.b_sol[:-1]
        biomass = y0.biomass + days * _combine([slope.biomass for slope in slopes], weights)
        ledger = y0.ledger + days * _combine([slope.ledger for slope in slopes], weights)

        alive = y0.biomass > 0
        failed = alive & (biomass <= 0)
        lost = alive & (biomass < self.extinction)
        ledger = ledger.at[:, self.extinction_entry].add(-jnp.where(lost, biomass, 0.0).sum(-1))
        kept = alive & ~lost & ~failed
        log_biomass = jnp.where(kept, jnp.log(jnp.where(kept, biomass, 1.0)), y0.log_biomass)
        biomass = jnp.where(kept, biomass, 0.0)
        # A rejected step is cut short by its last time; its length says nothing of the next.
        step = jax.lax.stop_gradient(jnp.maximum(days, y0.step_days / 2))
        y1 = State(log_biomass, biomass, ledger, step)
        slopes.append(terms.vf(t1, y1, args))
        error = days * _combine([slope.log_biomass for slope in slopes], tableau.b_error)
        error = jnp.where(failed, jnp.inf, jnp.where(kept, error, 0.0))
        y_error = State(error, *(jnp.zeros_like(leaf) for leaf in (biomass, ledger, step)))
        return y1, y_error, {"y0": y0, "y1": y1}, slopes[-1], diffrax.RESULTS.successful


def _combine(slopes: list[Array], weights: Any) -> Array:
    return sum(float(weight) * slope for weight, slope in zip(weights, slopes) if weight)


def _with_log(state: State, log_biomass: Array) -> State:
    return State(log_biomass, state.biomass, state.ledger, state.step_days)
