"""Minnows out of a lake and bass in, predicted from the lake as it was before."""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float

from bioclip_jax.errors import UserError
from bioclip_jax.twin.community import (
    Allometry,
    Blueprint,
    Community,
    simulate_ensemble,
    steady_conditions,
)

from .lake_web import LakeWeb

BASS = "Micropterus salmoides"
MONTHS = 24
# Biomass per area of a layer of 1 m; it cancels out.
_KG_PER_KM2 = 1e6
# Of its biomass of 1984 that a species gains per month from eggs in the mud and water that flows in.
_IMMIGRATION = 1e-4
# Bass in the balance of 1984, over that of 1986: none.
_TRACE = 1e-6
# A smaller share of its biomass of 1984 would not be seen, and counts as this one.
_UNSEEN = 1e-3
# A draw is kept if the lake without manipulation stays, in root mean square of log biomass, so near.
_STEADY = 1.0


class Prediction(NamedTuple):
    """Log ratios of biomass, end over 1984, of the species of 1984 in draws that keep the lake of 1984.

    drawn: draws before those that do not were left out.
    """

    log_ratio: Float[np.ndarray, "draws species"]
    biomass: Float[np.ndarray, "draws species"]
    drawn: int


def predict_manipulation(
    before: LakeWeb, after: LakeWeb, *, members: int, seed: int = 0, months: int = MONTHS
) -> Prediction:
    """Simulate the manipulation in communities that are balanced at the biomasses of 1984.

    Of 1986 only the bass is used, which was put in: its mass, biomass and food among the species of 1984.
    Species that came in 1986 are not foreseen. Drawn by member, log-normal by species unless said: biomass
    of 1984 (0.3), metabolism (0.3), growth (0.5), largest growth of consumers (0.3), preference by link (1);
    uniform by member: Hill exponent (1 to 1.5), competition between producers (0 to 1), interference (0.2
    to 0.8), efficiency of eating algae (0.45 to 0.85). A producer that is eaten faster than it grows is given
    growth of 1.1 to 2 times its losses. Each member is also simulated without manipulation, and left out if
    it does not keep near the lake of 1984. Ratios are of geometric means over the last six months.
    """
    random = np.random.default_rng(seed)
    web = _with_bass(before, after)
    communities, biomass = zip(*(_draw(web, random) for _ in range(members)))
    biomass = np.stack(biomass)[:, None, :]
    community = jax.tree.map(lambda *leaves: np.stack(leaves), *communities)
    n = len(web.names)
    start = biomass * (np.arange(n) < n - 1)
    with jax.enable_x64(True):
        steady = steady_conditions(communities[0], months)
    fish = web.is_kind("ectotherm")
    arriving = np.where(fish, 0.0, _IMMIGRATION) * biomass[:, None]
    arriving = np.broadcast_to(arriving, (members, months, 1, n))
    control = eqx.tree_at(lambda c: c.add, steady, arriving)
    keep, stocked = np.ones((months, 1, n)), arriving.copy()
    keep[0, :, fish] = 0.0
    stocked[:, 0, :, -1] = biomass[..., -1] / _TRACE
    manipulated = eqx.tree_at(lambda c: (c.keep, c.add), steady, (keep, stocked))
    ends = [
        np.exp(
            np.log(
                simulate_ensemble(
                    community,
                    start,
                    conditions,
                    np.full(months, 365.25 / 12),
                    tolerance=1e-3,
                    max_steps=100_000,
                    chunk=members,
                ).biomass[:, -6:, 0]
                + 1e-300
            ).mean(axis=1)
        )
        for conditions in (control, manipulated)
    ]
    own = np.arange(n - 1)
    drift = np.log(ends[0][:, own] / start[:, 0, own])
    kept = np.sqrt((drift**2).mean(axis=1)) < _STEADY
    final = ends[1][kept][:, own]
    if not kept.any():
        raise UserError(f"none of {members} draws keeps the lake of 1984; draw more")
    ratio = np.maximum(final / start[kept][:, 0, own], _UNSEEN)
    return Prediction(np.log(ratio), start[kept][:, 0, own], members)


def score(prediction: Prediction, before: LakeWeb, after: LakeWeb) -> dict[str, Any]:
    """Compare with 1986: signs, RMSE of the median log ratio, intervals, and the two aggregate ratios."""
    later = dict(zip(after.names, after.biomass))
    fish = before.is_kind("ectotherm")
    shared = np.array([name in later for name in before.names]) & ~fish
    observed = np.log(
        np.array([later[name] for name, one in zip(before.names, shared) if one]) / before.biomass[shared]
    )
    ratios = prediction.log_ratio[:, shared]
    lower, median, upper = np.quantile(ratios, [0.05, 0.5, 0.95], axis=0)
    aggregate = {}
    for kind, name in (("producer", "producers"), ("invertebrate", "invertebrates")):
        of_kind = before.is_kind(kind)
        total = prediction.biomass[:, of_kind]
        change = (total * np.exp(prediction.log_ratio[:, of_kind])).sum(axis=1) / total.sum(axis=1)
        low, middle, high = (float(value) for value in np.quantile(change, [0.05, 0.5, 0.95]))
        truth = float(after.biomass[after.is_kind(kind)].sum() / before.biomass[of_kind].sum())
        aggregate[name] = {
            "observed": truth,
            "median": middle,
            "lower": low,
            "upper": high,
            "covered": bool(low <= truth <= high),
        }
    error, no_change = np.mean((median - observed) ** 2), np.mean(observed**2)
    return {
        "shared": int(shared.sum()),
        "wrong_signs": int((np.sign(median) != np.sign(observed)).sum()),
        "wrong_if_all_decline": int((observed > 0).sum()),
        "rmse": float(np.sqrt(error)),
        "rmse_no_change": float(np.sqrt(no_change)),
        "skill": float(1 - error / no_change),
        "covered": int(((lower <= observed) & (observed <= upper)).sum()),
        "undecided": int(((lower < 0) & (upper > 0)).sum()),
        "aggregate": aggregate,
        "draws": len(ratios),
        "drawn": prediction.drawn,
        "species": {
            name: {"observed": float(o), "median": float(m), "lower": float(low), "upper": float(high)}
            for name, o, m, low, high in zip(np.array(before.names)[shared], observed, median, lower, upper)
        },
    }


def _with_bass(before: LakeWeb, after: LakeWeb) -> LakeWeb:
    """Return the web of 1984 with the bass as its last species."""
    place = {name: number for number, name in enumerate(before.names)}
    bass = after.names.index(BASS)
    prey = [
        place[after.names[food]]
        for food, eater in after.links
        if eater == bass and after.names[food] in place
    ]
    return LakeWeb(
        (*before.names, BASS),
        (*before.kinds, "ectotherm"),
        np.append(before.mass_kg, after.mass_kg[bass]),
        np.append(before.per_m3, after.per_m3[bass]),
        (*before.links, *((food, len(before.names)) for food in prey)),
    )


def _draw(web: LakeWeb, random: np.random.Generator) -> tuple[Community, Float[np.ndarray, " species"]]:
    """Return a community that is balanced at a draw of 1984's biomasses, kg/km², with a trace of bass."""
    species, allometry = web.species(), Allometry()
    n = len(species)

    def varied(values: np.ndarray, spread: float) -> np.ndarray:
        return values * np.exp(random.normal(0, spread, values.shape))

    resource, _ = np.array(web.links).T
    producer = web.is_kind("producer")
    biomass = varied(web.biomass * _KG_PER_KM2, 0.3)
    biomass[-1] *= _TRACE
    growth = varied(allometry.growth_per_day(species), 0.5)
    interference = np.where(producer, 0.0, random.uniform(0.2, 0.8))
    interference[-1] = 0.0
    competition = random.uniform(0, 1)
    with jax.enable_x64(True):
        community = Community.create(
            web.names,
            web.links,
            producer=producer,
            mass_kg=web.mass_kg,
            metabolism=varied(allometry.metabolism_per_day(species), 0.3),
            growth=growth,
            competition=competition,
            efficiency=np.where(
                producer[resource], random.uniform(0.45, 0.85), allometry.efficiency["animals"]
            ),
            preference=varied(np.ones(len(resource)), 1.0),
            hill=random.uniform(1, 1.5),
        )
        largest = varied(allometry.max_growth_per_day(species), 0.3)
        blueprint = Blueprint(community, biomass, largest, interference)
        lost = np.asarray(blueprint.producers_losses())
        enough = np.where(producer, np.maximum(growth, lost * random.uniform(1.1, 2, n)), 0.0)
        balanced = eqx.tree_at(lambda b: b.community.growth, blueprint, enough).build()
    return jax.tree.map(np.asarray, balanced), biomass
