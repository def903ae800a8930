"""Case 2: Bayesian fit of the Lotka-Volterra equations to pelts of lynx and hare, 1900 to 1920.

Model, priors and published posterior are those of Carpenter (2018), Predator-Prey Population Dynamics: the
Lotka-Volterra model in Stan, a case study of the Stan project. Units: thousands of pelts, years.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bioclip_jax.errors import UserError
from bioclip_jax.tables import read_table, texts

from .cases import Settings

# Below the folder of the data.
_FILE = "lynx_hare/hudson-bay-lynx-hare.csv"
# Posterior means, which the study gives to two digits in its text.
_PUBLISHED = {"alpha": 0.55, "beta": 0.028, "gamma": 0.80, "delta": 0.024}
_ALPHA_INTERVAL = (0.47, 0.63)
_STEPS_PER_YEAR = 5
Scalar = Float[Array, ""]


@dataclass(frozen=True)
class Pelts:
    """Pelts of hare and lynx by year.

    year: rising. hare, lynx: thousands of pelts, all above 0.
    """

    year: Float[np.ndarray, " years"]
    hare: Float[np.ndarray, " years"]
    lynx: Float[np.ndarray, " years"]


def read_pelts(data: Path) -> Pelts:
    """Read the pelts below the folder of the validation data; raises UserError naming file and fault."""
    path = data / _FILE
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); give the table of pelts") from None
    content = b"".join(line for line in lines if not line.lstrip().startswith(b"#"))
    names = ("Year", "Hare", "Lynx")
    table = read_table(path, names, content=content)
    columns = []
    for name in names:
        if name not in table.column_names:
            raise UserError(f"{path} has no column {name}; it needs {', '.join(names)}")
        try:
            column = np.array([float(text) for text in texts(table[name])])
        except ValueError as error:
            raise UserError(f"{path}, column {name}: {error}; give numbers") from None
        if not np.all(np.isfinite(column) & (column > 0)):
            raise UserError(f"{path}, column {name}: not all numbers are finite and above 0; correct them")
        columns.append(column)
    if len(columns[0]) < 3 or not np.all(np.diff(columns[0]) == 1):
        raise UserError(f"{path}: the years do not follow each other; give one row a year, in order")
    return Pelts(*columns)


def lotka_volterra_log(
    parameters: Float[Array, " 4"], initial: Float[Array, " 2"], years: int
) -> Float[Array, "years 2"]:
    """Return log prey and log predators at years 0, 1, ... by RK4 with a fixed step.

    parameters: α, β, γ, δ of du/dt = (α − β v) u, dv/dt = (−γ + δ u) v. initial: u, v. At the posterior mean
    the step's relative error is below 1e-4, far below the pelts' own errors.
    """
    alpha, beta, gamma, delta = parameters
    dt = 1 / _STEPS_PER_YEAR

    def slope(log_prey: Scalar, log_predators: Scalar) -> tuple[Scalar, Scalar]:
        return alpha - beta * jnp.exp(log_predators), delta * jnp.exp(log_prey) - gamma

    # Scalars, not a vector of two, let XLA fuse a step into one kernel.
    def step(state: tuple[Scalar, Scalar], _: None) -> tuple[tuple[Scalar, Scalar], tuple[Scalar, Scalar]]:
        u, v = state
        u1, v1 = slope(u, v)
        u2, v2 = slope(u + dt / 2 * u1, v + dt / 2 * v1)
        u3, v3 = slope(u + dt / 2 * u2, v + dt / 2 * v2)
        u4, v4 = slope(u + dt * u3, v + dt * v3)
        return (u + dt / 6 * (u1 + 2 * u2 + 2 * u3 + u4), v + dt / 6 * (v1 + 2 * v2 + 2 * v3 + v4)), state

    start = (jnp.log(initial[0]), jnp.log(initial[1]))
    _, path = jax.lax.scan(step, start, length=(years - 1) * _STEPS_PER_YEAR + 1)
    return jnp.stack(path, axis=1)[::_STEPS_PER_YEAR]


def model(log_pelts: Float[Array, "years 2"]) -> None:
    """Priors and likelihood of the case study, in NumPyro; columns are hare and lynx."""
    import numpyro
    from numpyro.distributions import LogNormal, Normal, TruncatedNormal

    rates = {
        "alpha": TruncatedNormal(1, 0.5, low=0),
        "beta": TruncatedNormal(0.05, 0.05, low=0),
        "gamma": TruncatedNormal(1, 0.5, low=0),
        "delta": TruncatedNormal(0.05, 0.05, low=0),
    }
    parameters = jnp.stack([numpyro.sample(name, prior) for name, prior in rates.items()])
    initial = numpyro.sample("initial", LogNormal(jnp.log(10.0), 1).expand([2]).to_event(1))
    sigma = numpyro.sample("sigma", LogNormal(-1, 1).expand([2]).to_event(1))
    expected = lotka_volterra_log(parameters, initial, len(log_pelts))
    numpyro.sample("log_pelts", Normal(expected, sigma), obs=log_pelts)


def fit_pelts(
    pelts: Pelts, *, chains: int = 4, warmup: int = 1000, draws: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """Sample the posterior by NUTS, in float64, with the chains side by side.

    Returns {"parameters": {name: {"mean", "sd", "lower", "upper": 80 % interval, "r_hat", "effective"}},
    "divergences", "draws"}; of initial and sigma, [0] is the hare's and [1] the lynx's.
    """
    from numpyro.diagnostics import summary
    from numpyro.infer import MCMC, NUTS, init_to_value

    with jax.enable_x64(True):
        log_pelts = jnp.log(jnp.stack([jnp.asarray(pelts.hare), jnp.asarray(pelts.lynx)], axis=1))
        # At the priors' medians the orbits start with the right period; from random places some chains find
        # a posterior mode at which pelts are nothing but noise.
        start = {"alpha": 1.0, "beta": 0.05, "gamma": 1.0, "delta": 0.05}
        kernel = NUTS(model, dense_mass=True, init_strategy=init_to_value(values=start))
        sampler = MCMC(
            kernel,
            num_warmup=warmup,
            num_samples=draws,
            num_chains=chains,
            chain_method="vectorized",
            progress_bar=False,
        )
        sampler.run(jax.random.key(seed), log_pelts)
        samples = {name: np.asarray(value) for name, value in sampler.get_samples(True).items()}
        divergences = int(np.sum(sampler.get_extra_fields()["diverging"]))
    scalars = {}
    for name, value in samples.items():
        for index in np.ndindex(value.shape[2:]):
            scalars[name + "".join(f"[{i}]" for i in index)] = value[(..., *index)]
    rows = summary(scalars, prob=0.8)
    parameters = {}
    for name, value in scalars.items():
        lower, upper = np.quantile(value, [0.1, 0.9])
        parameters[name] = {
            "mean": float(value.mean()),
            "sd": float(value.std()),
            "lower": float(lower),
            "upper": float(upper),
            "r_hat": float(rows[name]["r_hat"]),
            "effective": float(rows[name]["n_eff"]),
        }
    return {"parameters": parameters, "divergences": divergences, "draws": chains * draws}


def lynx_hare_case(settings: Settings, pelts: Pelts) -> dict[str, Any]:
    """Return case 2."""
    study = fit_pelts(pelts, seed=settings.seed)
    fitted = study["parameters"]
    alpha = fitted["alpha"]
    r_hat = max(one["r_hat"] for one in fitted.values())
    means = ", ".join(
        f"{symbol} {fitted[name]['mean']:.3g}" for symbol, name in zip("αβγδ", _PUBLISHED, strict=True)
    )
    return {
        "ours": f"means {means}; 80 % interval of α {alpha['lower']:.3f} to {alpha['upper']:.3f}; largest "
        f"r-hat {r_hat:.3f}, {study['divergences']} divergences in {study['draws']:,} draws",
        "holds": bool(
            all(abs(fitted[name]["mean"] / value - 1) <= 0.03 for name, value in _PUBLISHED.items())
            and abs(alpha["lower"] - _ALPHA_INTERVAL[0]) <= 0.02
            and abs(alpha["upper"] - _ALPHA_INTERVAL[1]) <= 0.02
            and r_hat < 1.01
        ),
        "study": study,
    }
