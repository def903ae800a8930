"""A desert community of seeds, insects and rodents, balanced at the densities of Portal's control plots.

Priors of its parameters stand here with their reasons, and no number here is fitted to plots from which
kangaroo rats are kept out. They are not blind to what happened there, though: in the first version, written
before any simulation, grasshopper mice could only rise without kangaroo rats, although they fell. So twice
what is unknown about them was made wider, by what they eat, how far they range and what cover does to them.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bioclip_jax.twin.community import Community

from .portal_counts import GROUPS

LARGE_SEEDS, SMALL_SEEDS, FOLIAGE, COVER, INSECTS = range(5)
RODENTS = slice(5, 9)
RATS, POCKET, DEER, GRASSHOPPER = range(5, 9)
NAMES = ("large seeds", "small seeds", "foliage", "cover", "insects", *GROUPS)
# Who eats whom. By the last four links time is lost and next to nothing eaten; by the one before them
# kangaroo rats clear cover, and live on none of it.
LINKS = (
    *((food, rodent) for rodent in range(5, 9) for food in (LARGE_SEEDS, SMALL_SEEDS, INSECTS)),
    (POCKET, GRASSHOPPER),
    (DEER, GRASSHOPPER),
    (LARGE_SEEDS, INSECTS),
    (SMALL_SEEDS, INSECTS),
    (FOLIAGE, INSECTS),
    (COVER, RATS),
    (RATS, POCKET),
    (RATS, DEER),
    (RATS, GRASSHOPPER),
    (COVER, GRASSHOPPER),
)
# Cover is counted in arbitrary units, far less than the mass of the foliage.
COVER_STOCK = 1.0
# A plot has 0.25 ha. The share of its rodents that 49 traps catch in a night cancels out.
PLOT_KM2 = 0.0025
SURROUNDINGS_KM2 = 0.2
CAUGHT = 0.5
# Metabolizable energy of food, kJ/g; scales all that is eaten, and cancels out.
FOOD_KJ_PER_G = 15.0


@dataclass(frozen=True)
class Prior:
    """A normal prior of log (positive) or logit (share) of a parameter, or of log odds of a time budget.

    center: median, in the parameter's own unit, one a value. spread: standard deviation on that scale.
    """

    kind: str
    center: tuple[float, ...]
    spread: float
    reason: str


PRIORS = {
    "level": Prior(
        "positive", (1.0,) * 4, 0.4, "equilibrium of the rodents over their geometric mean on control plots"
    ),
    "turnover": Prior(
        "positive",
        (1.35,) * 4,
        0.5,
        "losses of a rodent population without food, over the largest rate of increase of a mammal of its "
        "mass (Hennemann 1983): months, not days as for a single starving animal",
    ),
    "time_handling": Prior("odds", (1.0,) * 4, 1.0, "time with food, over time in search: about equal"),
    "time_own": Prior("odds", (1.0,) * 4, 1.0, "time lost to its own kind, over time in search: about equal"),
    "time_lost_to_rats": Prior(
        "odds",
        (0.3, 0.3, 0.1),
        1.0,
        "time or places lost to kangaroo rats, which are larger and aggressive, over time in search; less "
        "for grasshopper mice, which eat something else and are aggressive too",
    ),
    "time_lost_to_cover": Prior(
        "share",
        (0.25,),
        1.5,
        "share of its time that a grasshopper mouse, a hunter on open ground, loses to grass and litter, "
        "from nearly none to most; the first version had no cover",
    ),
    "cover_turnover": Prior("positive", (0.003,), 0.5, "tussocks and litter last for about a year, 1/day"),
    "cover_depletion": Prior("share", (0.3,), 1.0, "cover, over what would grow undisturbed"),
    "rats_of_cover": Prior("share", (0.5,), 1.5, "share of kangaroo rats, which dig and cut, in its losses"),
    "insects_in_diet": Prior(
        "share",
        (0.05, 0.08, 0.35, 0.8),
        1.0,
        "heteromyids are granivores, deer and harvest mice omnivores, grasshopper mice carnivores; how much "
        "differs between studies and seasons (a spread of 0.6 in the first version)",
    ),
    "mice_in_diet": Prior("share", (0.05,), 0.8, "grasshopper mice sometimes kill smaller rodents"),
    "large_in_seeds": Prior(
        "share",
        (0.65, 0.45, 0.45, 0.5),
        0.8,
        "kangaroo rats harvest more large seeds than small mice, but how much more is uncertain",
    ),
    "dispersal": Prior(
        "positive",
        (0.003, 0.003, 0.03),
        1.0,
        "share that leaves a plot per day: once in a life of about a year, more or less; of grasshopper "
        "mice, whose ranges are ten plots large, more (after the first version too)",
    ),
    "seed_turnover": Prior("positive", (0.005,) * 2, 0.7, "seeds lie in the soil for months to years, 1/day"),
    "seed_depletion": Prior(
        "share", (0.5,) * 2, 0.8, "stock of seeds, over what the soil would hold uneaten"
    ),
    "rodents_of_seeds": Prior(
        "share",
        (0.5,) * 2,
        1.0,
        "share of rodents in all losses but to insects (birds, germination, decay); from a tenth to nine",
    ),
    "foliage_turnover": Prior("positive", (0.01,), 0.5, "leaves live for months, 1/day"),
    "foliage_depletion": Prior("share", (0.7,), 0.5, "deserts are green as far as there is water"),
    "insects_of_foliage": Prior("share", (0.1,), 0.6, "insects eat a tenth of most vegetation"),
    "insect_turnover": Prior("positive", (0.02,), 0.5, "several generations a year, 1/day"),
    "rodents_of_insects": Prior("share", (0.25,), 1.2, "lizards, birds, spiders and ants take the rest"),
    "insect_efficiency": Prior("positive", (0.15,), 0.3, "production over ingestion"),
    "seeds_in_insects_diet": Prior("share", (0.15,), 0.8, "harvester ants and beetles among all insects"),
    "insect_time": Prior("odds", (0.5, 1.0), 1.0, "handling and crowding, over time in search"),
    "plant_noise": Prior("positive", (0.7,), 0.5, "standard deviation of log growth: rain varies by half"),
    "shared_noise": Prior("share", (0.6,), 0.7, "share of its variance that all plants share"),
    "rodent_noise": Prior("positive", (0.2,) * 4, 0.7, "of log capture: what the web leaves out"),
    "plant_memory": Prior("positive", (180.0,), 0.5, "days over which growth stays high or low: seasons"),
    "rodent_memory": Prior("positive", (365.0,), 0.5, "days; predators, disease and cover last for years"),
    "overdispersion": Prior("positive", (2.0,), 0.4, "variance of captures over Poisson's: residents return"),
}
N_PARAMETERS = sum(len(prior.center) for prior in PRIORS.values())


def parameters(standard: Float[Array, " parameters"]) -> dict[str, Float[Array, " values"]]:
    """Return the parameters at a vector of standard normals: their prior, if these are random."""
    values, start = {}, 0
    for name, prior in PRIORS.items():
        offset = prior.spread * standard[start : start + len(prior.center)]
        start += len(prior.center)
        center = np.asarray(prior.center)
        if prior.kind == "share":
            values[name] = jax.nn.sigmoid(np.log(center / (1 - center)) + offset)
        else:
            values[name] = center * jnp.exp(offset)
    return values


def portal_community(
    value: dict[str, Array],
    rate: Float[np.ndarray, " groups"],
    mass_g: Float[np.ndarray, " groups"],
    *,
    n_patches: int = 1,
) -> tuple[Community, Float[Array, " species"]]:
    """Return a community and its equilibrium, kg/km²; call it with x64 enabled.

    value: of parameters(). rate, mass_g: usual captures per census on control plots, and body mass, by group.
    n_patches: 1, or 2 for the surroundings and a plot in them, between which rodents disperse.

    Intake is the field metabolic rate of rodents, 5.48 m^0.712 kJ/day for m in g (Nagy, Girard and Brown
    1999, Annu. Rev. Nutr. 19:247); the largest rate of increase is 4.9 m^-0.2622 per year (Hennemann 1983,
    Oecologia 56:104). An animal's time is split at the equilibrium into search, food, its own kind and
    kangaroo rats: the terms of the denominator of F_ij, 1 + Σ h b B + c B. The last of them is a link with
    handling time but without intake.
    """
    mass = jnp.concatenate([jnp.full(5, 1e-6), jnp.asarray(mass_g) / 1000])
    rodents = value["level"] * jnp.asarray(rate) / (CAUGHT * PLOT_KM2) * mass[RODENTS]
    intake = 5.48 * mass_g**0.712 / FOOD_KJ_PER_G / mass_g
    turnover = value["turnover"] * 4.9 * mass_g**-0.2622 / 365.25

    # Shares of the diets, in the order of LINKS.
    insects, large = value["insects_in_diet"], value["large_in_seeds"]
    mice = jnp.zeros(4).at[3].set(value["mice_in_diet"][0])
    insects = insects * (1 - mice)
    seeds = 1 - insects - mice
    diet = jnp.stack([seeds * large, seeds * (1 - large), insects], axis=1)
    eaten = diet * (intake * rodents)[:, None]
    prey = rodents[1:3] / rodents[1:3].sum()
    killed = mice[3] * intake[3] * rodents[3] * prey

    # Insects: what rodents take of their production says how much they produce, and eat.
    production = eaten[:, 2].sum() / value["rodents_of_insects"][0]
    insect_stock = production / value["insect_turnover"][0]
    insect_intake = production / value["insect_efficiency"][0] / insect_stock
    by_rodents = eaten[:, :2].sum(axis=0)
    seed_share = value["seeds_in_insects_diet"][0] * by_rodents / by_rodents.sum()
    insect_diet = jnp.concatenate([seed_share, 1 - seed_share.sum(keepdims=True)])
    by_insects = insect_diet * insect_intake * insect_stock

    # Plants: their stock and growth from what is lost.
    other = by_rodents * (1 - value["rodents_of_seeds"]) / value["rodents_of_seeds"]
    leaves = by_insects[2:] * (1 / value["insects_of_foliage"] - 1)
    lost = jnp.concatenate([by_rodents + by_insects[:2] + other, by_insects[2:] + leaves])
    plants = lost / jnp.concatenate([value["seed_turnover"], value["foliage_turnover"]])
    plants = jnp.append(plants, COVER_STOCK)
    cleared = value["cover_turnover"] * COVER_STOCK * value["rats_of_cover"]
    lost = jnp.append(lost, value["cover_turnover"] * COVER_STOCK)
    depletion = jnp.concatenate([value[f"{plant}_depletion"] for plant in ("seed", "foliage", "cover")])
    biomass = jnp.concatenate([plants, insect_stock[None], rodents])

    # Time budgets, and from them capture and handling: what a link eats is its share of the intake.
    odds = jnp.stack([value["time_handling"], value["time_own"]], axis=1)
    rats = jnp.concatenate([jnp.zeros(2), value["time_lost_to_rats"]])
    odds = jnp.concatenate([value["insect_time"][None], odds])
    denominator = 1 + odds.sum(axis=1) + rats
    covered = jnp.zeros(5).at[4].set(value["time_lost_to_cover"][0])
    denominator = denominator / (1 - covered)
    consumer = np.array([eater for _, eater in LINKS])
    resource = np.array([food for food, _ in LINKS])
    intake = jnp.concatenate([insect_intake[None], intake])
    clearing = cleared / rodents[0] / intake[1]
    share = jnp.concatenate([diet.reshape(-1), mice[3] * prey, insect_diet, clearing, jnp.full(4, 1e-9)])
    eater = consumer - INSECTS
    capture = share * intake[eater] * denominator[eater] * mass[consumer] / biomass[resource]
    handling = (odds[:, 0] / denominator / intake / mass[INSECTS:])[eater]
    lost_time = jnp.where(resource == RATS, rats[eater], (covered * denominator)[eater])
    handling = jnp.where(
        (resource == RATS) | (resource == COVER), lost_time / (capture * biomass[resource]), handling
    )

    gained = jnp.concatenate([production[None] / insect_stock, turnover])
    gained = gained.at[2:4].add(killed / rodents[1:3])
    efficiency = (gained / intake)[eater]
    efficiency = jnp.where((resource == RATS) | (resource == COVER), 0.0, efficiency)
    mortality = jnp.concatenate(
        [
            jnp.concatenate([other, leaves, lost[COVER:] - cleared]) / plants,
            ((production - eaten[:, 2].sum()) / insect_stock)[None],
            turnover,
        ]
    )
    rest = {}
    if n_patches == 2:
        share_back = PLOT_KM2 / SURROUNDINGS_KM2
        rest = {
            "area_km2": jnp.array([SURROUNDINGS_KM2, PLOT_KM2]),
            "movement": jnp.array([[0.0, share_back], [1.0, 0.0]]),
            "dispersal": jnp.zeros(9).at[POCKET:].set(value["dispersal"]),
        }
    community = Community.create(
        NAMES,
        LINKS,
        producer=[True] * 4 + [False] * 5,
        mass_kg=mass,
        n_patches=n_patches,
        growth=jnp.zeros(9).at[:INSECTS].set(lost / plants / (1 - depletion)),
        inverse_capacity=jnp.zeros(9).at[:INSECTS].set(depletion / plants),
        mortality=mortality,
        capture=capture,
        handling=handling,
        efficiency=efficiency,
        interference=jnp.zeros(9).at[INSECTS:].set(odds[:, 1] / biomass[INSECTS:]),
        **rest,
    )
    return community, biomass
