"""Case 8: predator-prey body-mass ratios and the persistence of food webs.

After Brose, Williams and Martinez (2006, Ecol. Lett. 9:1228): webs of the niche model, a body mass of
Z^(T - 1) at trophic level T, so that Z is the mean ratio of predator to prey, and the bioenergetic model with
x = a Z^(-(T - 1) / 4). Persistence is the share of the species that are alive after 2,000 time units; it
rises with Z, and saturates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from bioclip_jax.predict import track
from bioclip_jax.twin.community import Community, simulate_chunks, steady_conditions

from .bioenergetic import bioenergetic_community
from .cases import Settings
from .niche import niche_web, trophic_levels

RATIOS = tuple(10.0**power for power in (0, 0.5, 1, 1.5, 2, 3, 4))
_KNEE = 100.0
# a and y by the consumers' metabolic type.
_TYPES = {"invertebrates": (0.314, 8.0), "ectotherm vertebrates": (0.88, 4.0)}
# Hill exponent and interference: type II, with interference, and type III; results are means over them.
_RESPONSES = ((1.0, 0.0), (1.0, 1.0), (2.0, 0.0))
_HERBIVORE_EFFICIENCY, _CARNIVORE_EFFICIENCY = 0.45, 0.85
_SPECIES, _CONNECTANCE = 30, 0.15
_TIME_UNITS = 2000.0
# Persistence of 84 webs was the same at 1e-3, 1e-5 and 1e-7.
_TOLERANCE, _MAX_STEPS = 1e-3, 100_000
_EXTINCTION = 1e-30


@dataclass(frozen=True)
class WebEnsemble:
    """Webs of a common structure: links that no web has are left out, those of other webs have preference 0.

    links: (resource, consumer) of any web. preference: 1 / number of prey, or 0. start: biomass.
    """

    links: tuple[tuple[int, int], ...]
    level: Float[np.ndarray, "webs species"]
    producer: Bool[np.ndarray, "webs species"]
    preference: Float[np.ndarray, "webs links"]
    efficiency: Float[np.ndarray, "webs links"]
    start: Float[np.ndarray, "webs species"]


def draw_webs(webs: int, seed: int, *, species: int = _SPECIES) -> WebEnsemble:
    """Draw niche-model webs, and biomasses uniform in 0.05 to 1."""
    random = np.random.default_rng(seed)
    eaten = np.array([niche_web(species, _CONNECTANCE, random) for _ in range(webs)])
    producer = ~eaten.any(axis=1)
    resource, consumer = np.nonzero(eaten.any(axis=0))
    share = eaten / np.maximum(eaten.sum(axis=1, keepdims=True), 1)
    return WebEnsemble(
        links=tuple(zip(resource.tolist(), consumer.tolist(), strict=True)),
        level=np.array([trophic_levels(web) for web in eaten]),
        producer=producer,
        preference=share[:, resource, consumer],
        efficiency=np.where(producer[:, resource], _HERBIVORE_EFFICIENCY, _CARNIVORE_EFFICIENCY),
        start=random.uniform(0.05, 1, (webs, species)),
    )


def study_persistence(
    *, webs: int = 16, seed: int = 0, species: int = _SPECIES, ratios: tuple[float, ...] = RATIOS
) -> dict[str, Any]:
    """Return {"ratios", "webs", TYPE: {"persistence", "standard_error", "gain", "gain_standard_error"}}.

    persistence: by ratio, mean over webs and functional responses. gain: of each ratio over the one before,
    in the same webs with the same starts.
    """
    ensemble = draw_webs(webs, seed, species=species)
    # Webs last: the members of a chunk then take about as many steps, and none waits long for another.
    grid = np.indices((len(_RESPONSES), len(_TYPES), len(ratios), webs))
    response, kind, ratio, web = grid.reshape(4, -1)
    with jax.enable_x64(True):
        members = jax.jit(jax.vmap(lambda *of_member: _community(ensemble.links, *of_member)))(
            jnp.asarray(ensemble.level[web]),
            jnp.asarray(ensemble.producer[web]),
            jnp.asarray(ensemble.preference[web]),
            jnp.asarray(ensemble.efficiency[web]),
            jnp.asarray(ratios)[ratio],
            *jnp.asarray(list(_TYPES.values()))[kind].T,
            *jnp.asarray(_RESPONSES)[response].T,
        )
        conditions = steady_conditions(jax.tree.map(lambda leaf: leaf[0], members), 1)
    chunks = simulate_chunks(
        members,
        ensemble.start[web][:, None],
        conditions,
        np.array([_TIME_UNITS]),
        tolerance=_TOLERANCE,
        max_steps=_MAX_STEPS,
        chunk=webs,
    )
    ends = [chunk.biomass[:, -1, 0] for chunk in track(chunks, "simulating food webs", len(web) // webs)]
    alive = (np.concatenate(ends) > 0).mean(axis=1)
    by_web = alive.reshape(grid.shape[1:]).mean(axis=0)
    return {
        "ratios": list(ratios),
        "webs": webs,
        **{
            name: {
                "persistence": values.mean(axis=1).tolist(),
                "standard_error": _standard_error(values).tolist(),
                "gain": np.diff(values, axis=0).mean(axis=1).tolist(),
                "gain_standard_error": _standard_error(np.diff(values, axis=0)).tolist(),
            }
            for name, values in zip(_TYPES, by_web, strict=True)
        },
    }


def persistence_case(settings: Settings) -> dict[str, Any]:
    """Return case 8."""
    study = study_persistence(seed=settings.seed)
    knee = study["ratios"].index(_KNEE)
    decades = np.log10(study["ratios"])
    texts, holds = [], True
    for name in _TYPES:
        values, gain = np.array(study[name]["persistence"]), np.array(study[name]["gain"])
        before = (values[knee] - values[0]) / (decades[knee] - decades[0])
        after = (values[-1] - values[knee]) / (decades[-1] - decades[knee])
        holds &= bool((gain[:knee] > 0).all() and abs(after) <= before / 3)
        weakest = (gain / np.array(study[name]["gain_standard_error"]))[:knee].min()
        texts.append(
            f"{name} {', '.join(f'{value:.2f}' for value in values)} (each rise up to 100 at least "
            f"{weakest:.1f} standard errors; a decade adds {before:.3f}, beyond 100 {after:.3f})"
        )
    ratios = ", ".join(f"{ratio:.4g}" for ratio in study["ratios"])
    return {
        "ours": f"persistence at ratios {ratios}: {'; '.join(texts)}; {study['webs']} webs",
        "holds": holds,
        "study": study,
    }


def _community(
    links: tuple[tuple[int, int], ...],
    level: Float[Array, " species"],
    producer: Bool[Array, " species"],
    preference: Float[Array, " links"],
    efficiency: Float[Array, " links"],
    ratio: Float[Array, ""],
    metabolism: Float[Array, ""],
    maximum: Float[Array, ""],
    hill: Float[Array, ""],
    interference: Float[Array, ""],
) -> Community:
    return bioenergetic_community(
        links,
        growth=jnp.where(producer, 1.0, 0.0),
        metabolism=jnp.where(producer, 0.0, metabolism * ratio ** (-(level - 1) / 4)),
        maximum=jnp.broadcast_to(maximum, level.shape),
        efficiency=efficiency,
        preference=preference,
        interference=interference,
        hill=hill,
        extinction=_EXTINCTION,
    )


def _standard_error(values: Float[np.ndarray, "ratios webs"]) -> Float[np.ndarray, " ratios"]:
    return values.std(axis=1, ddof=1) / np.sqrt(values.shape[1])
