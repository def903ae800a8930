"""Calibration of the desert community to the captures on Portal's control plots alone.

Near its equilibrium the community is a linear system, driven by noise of the plants' growth and the rodents'
capture. Its captures then have a Gaussian likelihood in closed form, with no simulation: a Kalman filter over
the quarters. The removal is simulated with the full equations.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bioclip_jax.twin.community import Community, environment, flows, steady_conditions

from .portal_community import N_PARAMETERS, RODENTS, parameters, portal_community
from .portal_counts import GROUPS, Counts

QUARTER_DAYS = 365.25 / 4
# Species whose noise is not zero: the plants' growth, the rodents' capture.
NOISY = (0, 1, 2, 5, 6, 7, 8)
# Quarters before the first census, in which the community comes to vary as it does: 2^7, 32 years.
_DOUBLINGS = 7
# The exponential over 2^-7 of a quarter by its series up to this order.
_STEPS, _SERIES = 7, 6
_LEAPFROGS, _ACCEPTANCE = 7, 0.8


class Observations(NamedTuple):
    """Captures on the control plots as the filter reads them.

    log_rate: captures per census, with those of each season of the year scaled to the same mean, log.
    variance: Poisson's of log_rate. rate: geometric mean per census. mass_g: by group.
    """

    log_rate: Float[np.ndarray, "quarters groups"]
    variance: Float[np.ndarray, "quarters groups"]
    rate: Float[np.ndarray, " groups"]
    mass_g: Float[np.ndarray, " groups"]


def observations(counts: Counts) -> Observations:
    """Return the captures of all plots together.

    Pocket mice sleep through the winter: seasons say more of who is awake than of how many there are, and the
    community has no seasons. A quarter without census has an infinite variance.
    """
    captures, censuses = counts.captures.sum(axis=1).T, counts.censuses.sum(axis=0)[:, None]
    rate = captures.sum(axis=0) / censuses.sum()
    season = np.arange(len(captures)) % 4
    by_season = np.stack(
        [(captures[season == s].sum(axis=0) + 0.5) / max(censuses[season == s].sum(), 1) for s in range(4)]
    )
    expected = np.maximum(censuses, 1) * by_season[season] / rate
    variance = np.where(censuses > 0, 1 / (captures + 0.5), np.inf)
    log_rate = np.log((captures + 0.5) / expected)
    usual = np.exp(np.average(log_rate, axis=0, weights=np.broadcast_to(censuses > 0, log_rate.shape)))
    return Observations(log_rate, variance, usual, counts.mass_g)


def linear_rates(
    community: Community, biomass: Float[Array, " species"]
) -> tuple[Float[Array, "species species"], Float[Array, "species noisy"]]:
    """Return the derivatives of d log B/dt (1/day) by log biomass and by the noise of NOISY."""
    conditions = steady_conditions(community)

    def change(log_biomass: Array, noise: Array) -> Array:
        now = eqx.tree_at(lambda c: c.noise, conditions, noise[None])
        flow = flows(
            community, environment(community, now), log_biomass[None], jnp.ones((1, len(biomass)), bool)
        )
        gain = flow.production + flow.assimilated - flow.lost_to_consumers - flow.mortality
        return gain[0] * jnp.exp(-log_biomass)

    at = (jnp.log(biomass), jnp.zeros(len(biomass)))
    by_biomass, by_noise = jax.jacfwd(change, argnums=(0, 1))(*at)
    return by_biomass, by_noise[:, np.array(NOISY)]


def noise_of(
    value: dict[str, Array],
) -> tuple[Float[Array, "noisy noisy"], Float[Array, " noisy"]]:
    """Return the covariance of the noise of NOISY, and over how many days it is remembered."""
    shared = value["shared_noise"][0]
    plants = value["plant_noise"][0] ** 2 * (shared * jnp.ones((3, 3)) + (1 - shared) * jnp.eye(3))
    covariance = jax.scipy.linalg.block_diag(plants, jnp.diag(value["rodent_noise"] ** 2))
    days = jnp.concatenate([jnp.full(3, value["plant_memory"][0]), jnp.full(4, value["rodent_memory"][0])])
    return covariance, days


def transition(
    value: dict[str, Array], observed: Observations, days: float = QUARTER_DAYS
) -> tuple[Float[Array, "state state"], Float[Array, "state state"]]:
    """Return A and Q of x(t + days) = A x(t) + N(0, Q), x the log deviations of species, then the noise.

    After Van Loan (1978, IEEE Trans. Autom. Control 23:395).
    """
    community, biomass = portal_community(value, observed.rate, observed.mass_g)
    by_biomass, by_noise = linear_rates(community, biomass)
    covariance, memory = noise_of(value)
    n, noisy = by_noise.shape
    drift = jnp.block([[by_biomass, by_noise], [jnp.zeros((noisy, n)), -jnp.diag(1 / memory)]])
    rate = 1 / memory[:, None] + 1 / memory[None, :]
    diffusion = jnp.zeros_like(drift).at[n:, n:].set(covariance * rate)
    block = jnp.block([[-drift, diffusion], [jnp.zeros_like(drift), drift.T]])
    # Of short steps, whose exponential is a short series; doubled to the whole.
    short, unit = block * (days / 2**_STEPS), jnp.eye(len(block))
    exponential = unit
    for order in range(_SERIES, 0, -1):
        exponential = unit + short @ exponential / order
    size = n + noisy
    step = exponential[size:, size:].T
    spread = step @ exponential[:size, size:]
    for _ in range(_STEPS):
        spread, step = spread + step @ spread @ step.T, step @ step
    return step, (spread + spread.T) / 2


def log_likelihood(standard: Float[Array, " parameters"], observed: Observations) -> Float[Array, ""]:
    """Return the log probability density of the captures at standardized parameters."""
    value = parameters(standard)
    step, spread = transition(value, observed)
    covariance, power = spread, step
    for _ in range(_DOUBLINGS):
        covariance, power = covariance + power @ covariance @ power.T, power @ power
    groups = np.arange(len(GROUPS)) + RODENTS.start
    center = jnp.log(value["level"] * observed.rate)
    noise = value["overdispersion"][0] * observed.variance
    known = np.isfinite(observed.variance)

    def quarter(carry: tuple, data: tuple) -> tuple:
        mean, covariance = carry
        log_rate, variance, seen = data
        mean, covariance = step @ mean, step @ covariance @ step.T + spread
        error = jnp.where(seen, log_rate - center - mean[groups], 0.0)
        total = covariance[np.ix_(groups, groups)] * (seen[:, None] & seen) + jnp.diag(variance)
        factor = jnp.linalg.cholesky(total)
        gain = jax.scipy.linalg.cho_solve((factor, True), covariance[groups] * seen[:, None]).T
        scaled = jax.scipy.linalg.solve_triangular(factor, error, lower=True)
        density = -0.5 * (scaled @ scaled) - jnp.log(jnp.diag(factor)).sum()
        covariance = covariance - gain @ (covariance[groups] * seen[:, None])
        return (mean + gain @ error, (covariance + covariance.T) / 2), density

    start = (jnp.zeros(len(step)), covariance)
    _, density = jax.lax.scan(
        quarter, start, (observed.log_rate, jnp.where(known, noise, 1.0), jnp.asarray(known))
    )
    return density.sum() - 0.5 * known.sum() * np.log(2 * np.pi)


def log_posterior(standard: Float[Array, " parameters"], observed: Observations) -> Float[Array, ""]:
    """Return the log posterior density but for a constant; the prior is standard normal."""
    return log_likelihood(standard, observed) - 0.5 * (standard @ standard)


class Posterior(NamedTuple):
    """Draws of the standardized parameters, and how well they were drawn.

    draws: of all chains. rhat, ess: the largest potential scale reduction and the smallest effective sample
    size of a parameter. acceptance: mean probability of a proposal.
    """

    draws: Float[np.ndarray, "draws parameters"]
    rhat: float
    ess: float
    acceptance: float


def sample_posterior(
    observed: Observations, *, chains: int = 32, iterations: int = 100, warmup: int = 25, seed: int = 0
) -> Posterior:
    """Sample the posterior by Hamiltonian Monte Carlo from a Laplace approximation; call it with x64 enabled.

    Neal (2011, Handbook of Markov Chain Monte Carlo, ch. 5), in the coordinates in which the approximation is
    a standard normal. Chains start at draws of it; the first iterations, which tune the step, are dropped.
    """
    from scipy.optimize import minimize

    # The plain loop shares one compiled function with the mode and its curvature.
    batch = jax.jit(jax.vmap(jax.value_and_grad(lambda standard: log_posterior(standard, observed))))

    def at(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        value, slope = (np.asarray(part) for part in batch(points))
        return np.where(np.isfinite(value), value, -np.inf), np.nan_to_num(slope)

    def one(point: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = at(point[None])
        return -max(float(value[0]), -1e10), -slope[0]

    mode = minimize(one, np.zeros(N_PARAMETERS), jac=True, method="L-BFGS-B", options={"maxiter": 300}).x
    factor = _laplace_factor(mode, lambda points: at(points)[1], chains)
    random = np.random.default_rng(seed)
    shape = (chains, N_PARAMETERS)

    def whitened(point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        value, slope = at(mode + point @ factor.T)
        return value, slope @ factor

    position = random.standard_normal(shape)
    value, slope = whitened(position)
    step, kept, accepted = 0.3, [], []
    for iteration in range(iterations):
        momentum = random.standard_normal(shape)
        start = value - 0.5 * (momentum**2).sum(axis=1)
        length = step * random.uniform(0.8, 1.2)
        new, new_value, new_slope = position, value, slope
        for _ in range(_LEAPFROGS):
            momentum = momentum + 0.5 * length * new_slope
            new = new + length * momentum
            new_value, new_slope = whitened(new)
            momentum = momentum + 0.5 * length * new_slope
        with np.errstate(invalid="ignore"):
            gain = new_value - 0.5 * (momentum**2).sum(axis=1) - start
        probability = np.exp(np.minimum(np.nan_to_num(gain, nan=-np.inf), 0))
        take = random.random(chains) < probability
        position = np.where(take[:, None], new, position)
        value, slope = np.where(take, new_value, value), np.where(take[:, None], new_slope, slope)
        if iteration < warmup:
            step *= np.exp(0.5 * (probability.mean() - _ACCEPTANCE))
        else:
            kept.append(mode + position @ factor.T)
            accepted.append(probability.mean())
    path = np.stack(kept, axis=1)
    rhat, ess = _diagnostics(path)
    return Posterior(path.reshape(-1, N_PARAMETERS), rhat, ess, float(np.mean(accepted)))


def _laplace_factor(mode: np.ndarray, slopes: Callable[[np.ndarray], np.ndarray], rows: int) -> np.ndarray:
    """Return L of the covariance L L' at the mode, its curvature from differences of slopes."""
    n = len(mode)
    shift = 1e-4 * np.eye(n)
    points = np.concatenate([mode + shift, mode - shift])
    padded = np.resize(points, (-(-len(points) // rows) * rows, n))
    slope = np.concatenate([slopes(part) for part in padded.reshape(-1, rows, n)])[: 2 * n]
    curvature = (slope[n:] - slope[:n]) / 2e-4
    values, vectors = np.linalg.eigh((curvature + curvature.T) / 2)
    return vectors / np.sqrt(np.maximum(values, 0.05))


def _diagnostics(path: Float[np.ndarray, "chains iterations parameters"]) -> tuple[float, float]:
    """Return the largest split R-hat and the smallest effective sample size, by numpyro."""
    from numpyro.diagnostics import effective_sample_size, split_gelman_rubin

    return float(split_gelman_rubin(path).max()), float(effective_sample_size(path).min())
