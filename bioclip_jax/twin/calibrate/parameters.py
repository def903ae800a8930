"""Parameters that a calibration may change, and their effect on a community."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bioclip_jax.twin.community import Community

from .priors import BY_KIND, COMMUNITY_KINDS

# Fields that some kinds scale, all of a community at once.
_GLOBAL = {"metabolism": "metabolism", "handling": "handling", "interference": "interference"}


@dataclass(frozen=True)
class Parameter:
    """A quantity with a normal prior on the log scale; subject: a species, or empty for the community's."""

    kind: str
    subject: str
    center: float
    sd: float

    @property
    def name(self) -> str:
        """Kind and subject, as in "capture: Panthera leo"."""
        return f"{self.kind}: {self.subject}" if self.subject else self.kind


def community_parameters(
    community: Community,
    biomass: Float[Array, "patches species"],
    kinds: Collection[str] = COMMUNITY_KINDS,
) -> tuple[Parameter, ...]:
    """Return the parameters of `kinds` that can have an effect on the community.

    Species without biomass at the start have none; a factor of rates that are all 0 is none.
    """
    present = np.asarray(biomass).sum(axis=0) > 0
    producer = np.array(community.producer)
    eats = np.isin(np.arange(community.n_species), community.consumer)
    subjects: Mapping[str, Sequence[bool]] = {
        "initial": present,
        "capture": present & eats,
        "growth": present & producer & (np.asarray(community.growth) > 0),
        "capacity": present & producer & (np.asarray(community.inverse_capacity) > 0),
    }
    parameters = []
    for kind in COMMUNITY_KINDS:
        prior = BY_KIND[kind]
        if kind not in kinds:
            continue
        if kind in subjects:
            names = [name for name, has in zip(community.names, subjects[kind], strict=True) if has]
            parameters += [Parameter(kind, name, prior.center, prior.sd) for name in names]
        elif kind == "hill" or np.asarray(getattr(community, kind)).any():
            parameters.append(Parameter(kind, "", prior.center, prior.sd))
    return tuple(parameters)


def apply_parameters(
    names: Sequence[str],
    values: Float[Array, " parameters"],
    community: Community,
    biomass: Float[Array, "patches species"],
) -> tuple[Community, Float[Array, "patches species"]]:
    """Return the community and its biomass at the start under log-factors of named parameters.

    Names of other kinds, which belong to the observations, have no effect. Differentiable in values.
    Raises KeyError for a species that the community lacks.
    """
    index = {name: number for number, name in enumerate(community.names)}
    factors: dict[str, Array] = {}
    for number, name in enumerate(names):
        kind, _, subject = name.partition(": ")
        if kind not in COMMUNITY_KINDS:
            continue
        if not subject:
            factors[kind] = values[number]
            continue
        by_species = factors.get(kind, jnp.zeros(community.n_species, jnp.result_type(float)))
        factors[kind] = by_species.at[index[subject]].set(values[number])
    changed = {
        field: getattr(community, field) * jnp.exp(factors[kind])
        for kind, field in _GLOBAL.items()
        if kind in factors
    }
    capture = community.capture
    if "hill" in factors:
        hill = community.hill * jnp.exp(factors["hill"])
        # At the reference biomass an animal clears as much as before: b B^q stays.
        reference = jnp.maximum(biomass.mean(axis=0), 1e-12)[jnp.array(community.resource, int)]
        capture = capture * reference ** (community.hill - hill)
        changed["hill"] = hill
    if "capture" in factors:
        capture = capture * jnp.exp(factors["capture"])[jnp.array(community.consumer, int)]
    changed["capture"] = capture
    if "growth" in factors:
        changed["growth"] = community.growth * jnp.exp(factors["growth"])
    if "capacity" in factors:
        changed["inverse_capacity"] = community.inverse_capacity * jnp.exp(-factors["capacity"])
    fields = tuple(changed)
    community = eqx.tree_at(
        lambda one: [getattr(one, field) for field in fields], community, [changed[field] for field in fields]
    )
    if "initial" in factors:
        biomass = biomass * jnp.exp(factors["initial"])
    return community, biomass
