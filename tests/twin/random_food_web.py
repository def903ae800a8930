"""Random food webs in random weather, and their derivatives by plain loops over species."""

from __future__ import annotations

import math

import jax
import numpy as np

from bioclip_jax.twin.community import Community, Conditions

BOLTZMANN = 8.617333262e-5


def random_community(
    seed: int,
    *,
    species: int = 7,
    patches: int = 2,
    nutrients: int = 2,
    links_seed: int | None = None,
    **parameters: object,
) -> Community:
    """A web in which each species eats some of those before it; all terms of the equations differ from 0."""
    random = np.random.default_rng(seed)
    chance = np.random.default_rng([seed if links_seed is None else links_seed, 4])
    producer = np.arange(species) < max(2, species // 3)
    links = [
        (resource, consumer)
        for consumer in range(species)
        if not producer[consumer]
        for resource in range(consumer)
        if resource == consumer - 1 or chance.random() < 0.5
    ]
    mass = 10 ** (-1 + 0.3 * np.arange(species))
    move = random.uniform(0, 0.5, (patches, patches)) * (1 - np.eye(patches))
    values = {
        "metabolism": np.where(producer, 0.01, 0.05 * mass**-0.25),
        "mortality": random.uniform(0.001, 0.01, species),
        "growth": np.where(producer, random.uniform(0.3, 1.0, species), 0.0),
        "inverse_capacity": np.where(producer, random.uniform(0.005, 0.02, species), 0.0),
        "competition": 0.4,
        "capture": random.uniform(0.005, 0.03, len(links)),
        "handling": random.uniform(0.5, 2.0, len(links)),
        "efficiency": random.uniform(0.4, 0.9, len(links)),
        "preference": random.uniform(0.2, 1.0, len(links)),
        "interference": random.uniform(0.0, 0.1, species),
        "hill": 1.3,
        "half_saturation": np.where(producer, random.uniform(0.1, 1.0, (nutrients, species)), 0.0),
        "content": random.uniform(0.01, 0.1, (nutrients, species)),
        "supply": random.uniform(2.0, 5.0, nutrients),
        "turnover": random.uniform(0.1, 0.3, nutrients),
        "dispersal": random.uniform(0.0, 0.05, species),
        "movement": move,
        "area_km2": random.uniform(1.0, 5.0, patches),
        "rain_exponent": np.where(producer, 0.7, 0.0),
        "energy_metabolism": random.uniform(0.3, 0.7, species),
        "energy_growth": random.uniform(0.3, 0.9, species),
        "energy_capture": random.uniform(0.1, 0.4, species),
        "energy_handling": random.uniform(0.1, 0.3, species),
        "reference_temperature_k": 290.0,
    }
    names = [f"species{number}" for number in range(species)]
    with jax.enable_x64(True):
        return Community.create(
            names,
            links,
            producer=producer,
            mass_kg=mass,
            n_patches=patches,
            n_nutrients=nutrients,
            **values | parameters,
        )


def random_conditions(seed: int, community: Community, intervals: int) -> Conditions:
    """Weather, harvest, habitat and barriers by interval, without removals and introductions."""
    random = np.random.default_rng([seed, 1])
    shape = (intervals, community.n_patches, community.n_species)
    return Conditions(
        rain=random.uniform(0.5, 1.5, shape[:2]),
        temperature_k=random.uniform(280, 300, shape[:2]),
        noise=0.2 * random.normal(size=shape),
        harvest=random.uniform(0, 0.01, shape),
        capacity=random.uniform(0.5, 1.5, shape),
        open=random.uniform(0, 1, (intervals, community.n_patches, community.n_patches, community.n_species)),
        keep=np.ones(shape),
        add=np.zeros(shape),
    )


def start(seed: int, community: Community) -> np.ndarray:
    return np.random.default_rng([seed, 2]).uniform(2, 20, (community.n_patches, community.n_species))


def derivative(
    community: Community, conditions: Conditions, biomass: np.ndarray, nutrients: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """dB/dt and dN/dt at a moment, species by species; conditions without an axis of intervals."""
    c = jax.tree.map(np.asarray, community)
    change, pools = np.zeros_like(biomass), np.zeros_like(nutrients)
    species = range(community.n_species)
    links = list(zip(community.resource, community.consumer))

    def warmth(energy: float, patch: int) -> float:
        here, reference = conditions.temperature_k[patch], float(c.reference_temperature_k)
        return math.exp(energy * (here - reference) / (BOLTZMANN * here * reference))

    for patch in range(community.n_patches):
        b = biomass[patch]
        noise = np.exp(conditions.noise[patch])
        attack = [
            c.preference[n] * c.capture[n] * noise[eater] * warmth(c.energy_capture[eater], patch)
            for n, (_, eater) in enumerate(links)
        ]
        for i in species:
            loss = c.metabolism[i] * warmth(c.energy_metabolism[i], patch) + c.mortality[i]
            change[patch, i] -= (loss + conditions.harvest[patch, i]) * b[i]
            if community.producer[i]:
                crowding = sum(
                    (1.0 if i == j else float(c.competition)) * b[j] for j in species if community.producer[j]
                )
                limits = [1.0] + [
                    nutrients[patch, n] / (c.half_saturation[n, i] + nutrients[patch, n])
                    for n in range(community.n_nutrients)
                    if c.half_saturation[n, i] > 0
                ]
                rate = c.growth[i] * noise[i] * warmth(c.energy_growth[i], patch)
                rate *= conditions.rain[patch] ** c.rain_exponent[i] * min(limits)
                grown = rate * (1 - crowding * c.inverse_capacity[i] / conditions.capacity[patch, i]) * b[i]
                change[patch, i] += grown
                for n in range(community.n_nutrients):
                    pools[patch, n] -= c.content[n, i] * grown
            busy = 1 + c.interference[i] * b[i]
            mine = [n for n, (_, eater) in enumerate(links) if eater == i]
            for n in mine:
                handling = c.handling[n] / warmth(c.energy_handling[i], patch)
                busy += handling * attack[n] * b[links[n][0]] ** float(c.hill)
            for n in mine:
                j = links[n][0]
                eaten = attack[n] * b[j] ** float(c.hill) / busy / c.mass_kg[i] * b[i]
                change[patch, i] += c.efficiency[n] * eaten
                change[patch, j] -= eaten
        for n in range(community.n_nutrients):
            pools[patch, n] += c.turnover[n] * (c.supply[n] - nutrients[patch, n])
        for other in range(community.n_patches):
            for i in species:
                share = conditions.open[patch, other, i] * c.movement[patch, other] * c.dispersal[i]
                if biomass[other, i] > 0:
                    change[patch, i] -= share * b[i]
                    change[other, i] += share * b[i] * c.area_km2[patch] / c.area_km2[other]
    return change, pools
