"""Parameters that a calibration may change, and their effect on a community."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bioclip_jax.twin.community import Blueprint, Community

from .priors import BY_KIND, COMMUNITY_KINDS


@dataclass(frozen=True)
class Parameter:
    """A quantity with a normal prior on the log scale; subject: a species, or empty for the community's."""

    kind: str
    subject: str
    center: float
    sd: float

    @property
    def name(self) -> str:
        """Kind and subject, as in "equilibrium: Panthera leo"."""
        return f"{self.kind}: {self.subject}" if self.subject else self.kind


def community_parameters(
    blueprint: Blueprint, kinds: Collection[str] = COMMUNITY_KINDS
) -> tuple[Parameter, ...]:
    """Return the parameters of `kinds` that can have an effect on the community of a blueprint."""
    community = blueprint.community
    producer = np.array(community.producer)
    subjects: dict[str, Sequence[str]] = {
        "equilibrium": community.names,
        "initial": community.names,
        "growth": [name for name, grows in zip(community.names, producer, strict=True) if grows],
    }
    effective = {
        "metabolism": np.asarray(community.metabolism).any(),
        "max_growth": bool((~producer).any()),
        "interference": np.asarray(blueprint.interference).any(),
        "hill": bool(community.consumer),
    }
    parameters = []
    for kind in COMMUNITY_KINDS:
        prior = BY_KIND[kind]
        if kind in kinds and (kind in subjects or effective[kind]):
            names = subjects.get(kind, ("",))
            parameters += [Parameter(kind, name, prior.center, prior.sd) for name in names]
    return tuple(parameters)


def apply_parameters(
    names: Sequence[str], values: Float[Array, " parameters"], blueprint: Blueprint
) -> tuple[Community, Float[Array, "patches species"]]:
    """Return the community and its biomass at the start (kg/km²) under named log-factors.

    The blueprint is changed and built, so that every draw of the prior is in balance somewhere. The growth of
    a producer is what its consumers take plus its own spare growth, which is scaled: it never grows less than
    is eaten. Names of other kinds, which belong to the observations, have no effect. Differentiable in
    values. Raises KeyError for a species that the community lacks.
    """
    index = {name: number for number, name in enumerate(blueprint.community.names)}
    places: dict[str, list[tuple[int, int]]] = {}
    for number, name in enumerate(names):
        kind, _, subject = name.partition(": ")
        if kind in COMMUNITY_KINDS:
            places.setdefault(kind, []).append((index[subject] if subject else -1, number))

    def factor(kind: str) -> Array:
        if kind not in places:
            return jnp.ones(())
        species, numbers = np.array(places[kind]).T
        if species[0] < 0:
            return jnp.exp(values[numbers[0]])
        return jnp.exp(jnp.zeros(len(index), values.dtype).at[species].set(values[numbers]))

    community, share = blueprint.community, blueprint.interference
    hill = community.hill * factor("hill")
    # At the reference biomasses the diet stays: w B^q.
    reference = blueprint.biomass[jnp.array(community.resource, int)]
    changed = eqx.tree_at(
        lambda b: (
            b.biomass,
            b.max_growth,
            b.interference,
            b.community.metabolism,
            b.community.hill,
            b.community.preference,
        ),
        blueprint,
        (
            blueprint.biomass * factor("equilibrium"),
            blueprint.max_growth * factor("max_growth"),
            _scaled_odds(share, factor("interference")),
            community.metabolism * factor("metabolism"),
            hill,
            community.preference * reference ** (community.hill - hill),
        ),
    )
    spare = community.growth - blueprint.producers_losses()
    growth = changed.producers_losses() + spare * factor("growth")
    changed = eqx.tree_at(lambda b: b.community.growth, changed, growth)
    biomass = jnp.broadcast_to(
        changed.biomass * factor("initial"), (community.n_patches, community.n_species)
    )
    return changed.build(), biomass


def _scaled_odds(share: Array, factor: Array) -> Array:
    """A share whose odds are multiplied by a factor."""
    return share * factor / (1 - share + share * factor)
