"""Biomass of all species over time as quantiles of the ensemble, in int16 on a logarithmic scale."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from bioclip_jax.twin.scenario import Run

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
# Steps per factor of ten: 0.12 % each, and a range of 1e-16 to 1e16 kg/km².
STEPS_PER_DECADE = 2000
# Stands for extinction, whose logarithm is none.
EXTINCT = -32768


def quantiles(
    run: Run, patches: list[int]
) -> tuple[
    Int[np.ndarray, "branches species quantiles times"], Int[np.ndarray, "branches species patches times"]
]:
    """Return quantiles over the members of the mean over the area, and the medians of patches, encoded.

    patches: their order. Values are round(STEPS_PER_DECADE log10(B)) for B in kg/km², or EXTINCT.
    """
    total, by_patch = [], []
    for branch in range(len(run.branches)):
        total.append(np.quantile(run.total(branch), QUANTILES, axis=0).transpose(2, 0, 1))
        by_patch.append(np.median(run.biomass[branch], axis=0).transpose(2, 1, 0)[:, patches])
    return encode(np.stack(total)), encode(np.stack(by_patch))


def encode(biomass: Float[np.ndarray, "..."]) -> Int[np.ndarray, "..."]:
    """Return biomass in kg/km² on the logarithmic scale."""
    alive = biomass > 0
    steps = np.round(STEPS_PER_DECADE * np.log10(np.where(alive, biomass, 1.0)))
    return np.where(alive, np.clip(steps, EXTINCT + 1, 32767), EXTINCT).astype(np.int16)
