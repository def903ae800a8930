"""Case 7: kangaroo rats kept out of Portal's plots, predicted from the control plots alone.

In this community grasshopper mice can fall without kangaroo rats in two ways: small granivores become more
and eat the insects that they live on, and cover grows in which they hunt worse. They can rise because seeds,
insects and space become free, and because small mice are prey. Competition for insects did not make them
fewer: without cover they change by x 1.11 (1.02 to 1.40), and by 1.08 (1.01 to 1.27) in 60 draws in which
kangaroo rats neither eat insects nor get in their way. With cover a tenth of the draws falls, and none by a
third. So exploitation and cover as modeled do not explain what was observed; what does may be in no link of
this web. The priors were widened in hindsight (portal_community), and the result says so.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bioclip_jax.twin.community import simulate, steady_conditions

from .cases import Settings
from .portal_community import PRIORS, RATS, RODENTS, parameters, portal_community
from .portal_counts import (
    CONTROL,
    EXCLOSURE,
    FIRST_YEAR,
    GRANIVORES,
    GRASSHOPPER_MICE,
    GROUPS,
    LAST_YEAR,
    Counts,
    ratio_interval,
    read_counts,
)
from .portal_fit import NOISY, Observations, noise_of, observations, sample_posterior

FOLDER = "portal"
MONTH_DAYS = 365.25 / 12
# Months before the fences, in which the community comes to vary.
_MONTHS_BEFORE = 60
_MONTHS = 12 * (LAST_YEAR - FIRST_YEAR + 1)
# Posterior draws that are simulated.
_DRAWS = 120
_HINDSIGHT = (
    "hindsight: priors of grasshopper mice were widened twice, because in the first version they could only "
    "rise"
)


def remove_kangaroo_rats(
    standard: Float[Array, " parameters"],
    normals: Float[Array, "months noisy"],
    observed: Observations,
) -> tuple[Float[Array, "patches groups"], Float[Array, ""]]:
    """Return mean captures per census in the surroundings and in a plot without kangaroo rats.

    standard: standardized parameters. normals: standard normals of the noise, which both patches share: a row
    for the start, then one a month.
    The second value is False if the solver failed. Call it with x64 enabled.
    """
    value = parameters(standard)
    community, biomass = portal_community(value, observed.rate, observed.mass_g, n_patches=2)
    covariance, memory = noise_of(value)
    keep = jnp.exp(-MONTH_DAYS / memory)
    # Each noise is autoregressive; its shocks have the covariance that makes its own stationary.
    shocks = normals[1:] @ jnp.linalg.cholesky(covariance * (1 - keep[:, None] * keep)).T

    def month(noise: Array, shock: Array) -> tuple[Array, Array]:
        noise = keep * noise + shock
        return noise, noise

    start = jnp.linalg.cholesky(covariance) @ normals[0]
    _, noise = jax.lax.scan(month, start, shocks)
    months = len(shocks)
    conditions = eqx.tree_at(
        lambda c: (c.noise, c.keep),
        steady_conditions(community, months),
        (
            jnp.zeros((months, 2, len(biomass))).at[:, :, np.array(NOISY)].set(noise[:, None]),
            jnp.ones((months, 2, len(biomass))).at[_MONTHS_BEFORE, 1, RATS].set(0.0),
        ),
    )
    path = simulate(
        community,
        jnp.broadcast_to(biomass, (2, len(biomass))),
        conditions,
        jnp.full(months, MONTH_DAYS),
        tolerance=1e-3,
    )
    mean = path.biomass[_MONTHS_BEFORE + 1 :].mean(axis=0)
    return mean[:, RODENTS] / biomass[RODENTS] * value["level"] * observed.rate, path.succeeded


def predict_removal(
    draws: Float[np.ndarray, "draws parameters"], observed: Observations, *, seed: int = 0
) -> Float[np.ndarray, "draws patches groups"]:
    """Simulate the removal for each draw; return those that the solver finished. Call it with x64 enabled."""
    random = np.random.default_rng(seed)
    normals = random.standard_normal((len(draws), 1 + _MONTHS_BEFORE + _MONTHS, len(NOISY)))
    # One after the other: a batch would take the steps of its slowest member in each month.
    many = jax.jit(
        lambda draws, noise: jax.lax.map(lambda one: remove_kangaroo_rats(*one, observed), (draws, noise))
    )
    rates, succeeded = many(jnp.asarray(draws), jnp.asarray(normals))
    return np.asarray(rates)[np.asarray(succeeded)]


def read_portal(data: str | os.PathLike[str]) -> dict[str, Counts]:
    """Return the captures on controls and exclosures, from the folder portal below `data`."""
    folder = Path(data) / FOLDER
    return {treatment: read_counts(folder, treatment) for treatment in (CONTROL, EXCLOSURE)}


def portal_case(settings: Settings, counts: dict[str, Counts]) -> dict[str, Any]:
    """Return case 7: observed ratios, those predicted from the control plots, and the hindsight in priors."""
    control = counts[CONTROL]
    with jax.enable_x64(True):
        observed = observations(control)
        posterior = sample_posterior(observed, seed=settings.seed)
        chosen = np.linspace(0, len(posterior.draws) - 1, _DRAWS).astype(int)
        draws = posterior.draws[chosen]
        rates = predict_removal(draws, observed, seed=settings.seed)
        bare = predict_removal(_without_cover(draws), observed, seed=settings.seed)
    random = np.random.default_rng(settings.seed)
    energy = rates * observed.mass_g**0.712
    compensated = (energy[:, 1, 1:].sum(axis=1) - energy[:, 0, 1:].sum(axis=1)) / energy[:, 0, 0]
    study: dict[str, Any] = {
        "draws": len(rates),
        "hindsight": _HINDSIGHT,
        "lowest_grasshopper_mice": float(_ratio(rates, (GRASSHOPPER_MICE,)).min()),
        "rhat": posterior.rhat,
        "ess": posterior.ess,
        "compensation": _interval(compensated),
        "control": {
            group: {"observed": float(rate), **_interval(rates[:, 0, index])}
            for index, (group, rate) in enumerate(
                zip(GROUPS, control.captures.sum(axis=(1, 2)) / control.censuses.sum())
            )
        },
    }
    parts, covered = [], []
    for name, groups in (("granivores", GRANIVORES), ("grasshopper_mice", (GRASSHOPPER_MICE,))):
        ratio, low, high = ratio_interval(counts[EXCLOSURE].rates(groups), control.rates(groups))
        predicted = _interval(_ratio(rates, groups, control, random))
        holds = predicted["lower"] <= ratio <= predicted["upper"]
        undecided = predicted["lower"] < 1 < predicted["upper"]
        study[name] = {
            "observed": {"ratio": ratio, "lower": low, "upper": high},
            "predicted": predicted,
            "mean_ratio_of_many_plots": _interval(_ratio(rates, groups)),
            "without_cover": _interval(_ratio(bare, groups)),
            "covers": holds,
            "cannot_tell": undecided,
        }
        covered.append(holds)
        parts.append(
            f"{name.replace('_', ' ')} observed x {ratio:.2f} ({low:.2f} to {high:.2f}), predicted "
            f"{predicted['median']:.2f} ({predicted['lower']:.2f} to {predicted['upper']:.2f}): "
            f"{'covers' if holds else 'does not cover'}"
            f"{', though the intervals overlap' if not holds and _overlap(predicted, low, high) else ''}"
            f"{', and it spans both signs: the data cannot tell' if undecided else ''}"
        )
    bare_mice = study["grasshopper_mice"]["without_cover"]
    share = study["compensation"]
    parts.append(
        f"without effects of kangaroo rats on cover, grasshopper mice x {bare_mice['median']:.2f} "
        f"({bare_mice['lower']:.2f} to {bare_mice['upper']:.2f})"
    )
    parts.append(
        f"the others take {share['median']:.0%} ({share['lower']:.0%} to {share['upper']:.0%}) of the energy "
        "that kangaroo rats used"
    )
    parts.append(
        f"{len(rates)} of {_DRAWS} draws simulated, R-hat at most {posterior.rhat:.2f}, effective sample "
        f"size at least {posterior.ess:.0f}"
    )
    parts.append(_HINDSIGHT)
    return {"ours": "; ".join(parts), "holds": all(covered), "study": study}


def _ratio(
    rates: Float[np.ndarray, "draws patches groups"],
    groups: tuple[str, ...],
    control: Counts | None = None,
    random: np.random.Generator | None = None,
) -> Float[np.ndarray, " draws"]:
    """Return the ratio of captures without and with kangaroo rats, by draw.

    control, random: add how far the mean of 4 plots and that of 8 differ by chance, given how control plots
    differ.
    """
    rows = [index for index, group in enumerate(GROUPS) if group in groups]
    total = rates[..., rows].sum(axis=-1)
    ratio = total[:, 1] / total[:, 0]
    if control is None or random is None:
        return ratio
    spread = np.log(control.rates(groups)).std(ddof=1)
    return ratio * np.exp(spread * np.sqrt(1 / 4 + 1 / 8) * random.standard_normal(len(ratio)))


def _overlap(predicted: dict[str, float], lower: float, upper: float) -> bool:
    return predicted["lower"] <= upper and lower <= predicted["upper"]


def _without_cover(draws: Float[np.ndarray, "draws parameters"]) -> Float[np.ndarray, "draws parameters"]:
    """Return the draws with next to no time lost to cover."""
    names = list(PRIORS)
    start = sum(len(PRIORS[name].center) for name in names[: names.index("time_lost_to_cover")])
    changed = draws.copy()
    changed[:, start] = -20.0
    return changed


def _interval(values: Float[np.ndarray, " draws"]) -> dict[str, float]:
    lower, median, upper = np.quantile(values, [0.05, 0.5, 0.95])
    return {"median": float(median), "lower": float(lower), "upper": float(upper)}
