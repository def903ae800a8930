"""Members of an ensemble: parameters, weather and noise, each simulated without and with every scenario."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from bioclip_jax.twin.calibrate import ParameterDraws, apply_parameters, community_parameters
from bioclip_jax.twin.community import (
    Blueprint,
    Community,
    Conditions,
    blueprint_of,
    ledger_residual,
    simulate_chunks,
)
from bioclip_jax.twin.world import Twin

from .events import Scenario
from .interventions import Interventions, interventions
from .randomness import normals
from .timeline import Timeline
from .weather import Noise, environmental_noise, rain_factors, seasons

# Name of the runs without a scenario.
BASELINE = "baseline"
# Members that a device simulates at a time. Results depend on it, in their last digits.
CHUNK = 32


class Chunk(NamedTuple):
    """Members of a branch; biomass in kg/km², residuals of the mass ledger relative to all that flowed."""

    biomass: Float[np.ndarray, "members times patches species"]
    ledger_residual: Float[np.ndarray, " members"]
    steps: Int[np.ndarray, " members"]


@dataclass(frozen=True)
class Ensemble:
    """All that the members of a run have in common.

    scenarios: branches beside the baseline. draws: of the parameters, used in turn; None draws each member's
    from the priors.
    """

    twin: Twin
    timeline: Timeline
    scenarios: tuple[Scenario, ...] = ()
    seed: int = 0
    noise: Noise = Noise()
    draws: ParameterDraws | None = None
    tolerance: float = 1e-6

    @property
    def branches(self) -> tuple[str, ...]:
        """The baseline, then the scenarios."""
        return (BASELINE, *(scenario.name for scenario in self.scenarios))

    @cached_property
    def blueprint(self) -> Blueprint:
        """Blueprint of the twin's community, before parameters are drawn.

        Raises UserError for a twin without balance, and for draws of other species.
        """
        with jax.enable_x64(True):
            blueprint = blueprint_of(self.twin)
        if self.draws is not None:
            self.draws.check(blueprint.community.names)
        return blueprint

    def parameter_draws(self, members: Int[np.ndarray, " members"]) -> ParameterDraws:
        """Return the draws of members: of the posterior in turn, or from the priors.

        A prior draw for a species depends on its name alone.
        """
        if self.draws is not None:
            return replace(self.draws, values=self.draws.values[members % len(self.draws)])
        parameters = community_parameters(self.blueprint)
        names = tuple(parameter.name for parameter in parameters)
        drawn = normals(self.seed, "parameters", members, names)[:, :, 0]
        center, sd = (np.array([getattr(one, key) for one in parameters]) for key in ("center", "sd"))
        return ParameterDraws(names, center + sd * drawn)

    def parameters(
        self, members: Int[np.ndarray, " members"]
    ) -> tuple[Community, Float[np.ndarray, "members patches species"]]:
        """Return communities with a leading axis of members, and their biomass at the start."""
        draws = self.parameter_draws(members)
        with jax.enable_x64(True):
            applied = _apply(draws.names, jnp.asarray(draws.values), self.blueprint)
        return jax.tree.map(np.asarray, applied)

    @cached_property
    def _interventions(self) -> list[Interventions]:
        community = self.blueprint.community
        return [interventions(one, self.twin, community, self.timeline) for one in (None, *self.scenarios)]

    def conditions(self, members: Int[np.ndarray, " members"], branch: int) -> Conditions:
        """Return the conditions of a branch by interval; rain and noise have a leading axis of members."""
        return self._conditions(members, self._interventions[branch])

    def conditions_with(self, members: Int[np.ndarray, " members"], scenario: Scenario | None) -> Conditions:
        """Return the conditions of a scenario that is no branch, as conditions; None is the baseline.

        Its events begin and end at edges of the timeline.
        """
        changes = interventions(scenario, self.twin, self.blueprint.community, self.timeline)
        return self._conditions(members, changes)

    def _conditions(self, members: Int[np.ndarray, " members"], changes: Interventions) -> Conditions:
        rain, temperature = seasons(self.twin, self.timeline)
        drawn = rain_factors(self.twin.climate, self.seed, members, self.timeline)[:, self.timeline.months]
        names = self.blueprint.community.names
        noise = environmental_noise(self.noise, self.seed, members, names, self.timeline)
        given, warm = changes.rain_given, changes.temperature_given
        return Conditions(
            rain=np.where(np.isnan(given), rain * drawn * changes.rain_factor, given),
            temperature_k=np.where(np.isnan(warm), temperature + changes.warming, warm),
            noise=np.broadcast_to(noise[:, :, None], (*noise.shape[:2], len(self.twin.patches), len(names))),
            **{name: getattr(changes, name) for name in ("harvest", "capacity", "open", "keep", "add")},
        )

    def simulate(self, n_members: int, branch: int, skip: int = 0) -> Iterator[Chunk]:
        """Simulate the members of a branch, CHUNK at a time; skip: chunks that exist already."""
        members = np.arange(n_members)
        trajectories = simulate_chunks(
            *self.parameters(members),
            self.conditions(members, branch),
            self.timeline.days,
            tolerance=self.tolerance,
            chunk=CHUNK,
            skip=skip,
        )
        for trajectory in trajectories:
            with jax.enable_x64(True):
                residual = jax.vmap(ledger_residual)(jax.tree.map(jnp.asarray, trajectory))[0]
            # Single precision is finer than the solver's tolerance.
            kept = trajectory.biomass[:, self.timeline.kept].astype(np.float32)
            yield Chunk(kept, np.asarray(residual).max(axis=1), trajectory.steps)


@functools.partial(jax.jit, static_argnums=0)
def _apply(
    names: tuple[str, ...], values: Float[Array, "members parameters"], blueprint: Blueprint
) -> tuple[Community, Float[Array, "members patches species"]]:
    return jax.vmap(lambda one: apply_parameters(names, one, blueprint))(values)
