"""Simulation-based calibration: a test of the posteriors that a survey of this design gives.

Talts, Betancourt, Simpson, Vehtari and Gelman (2018, arXiv:1804.06788): parameters are drawn from the prior,
counts simulated from them, and the model fitted to these counts; the ranks of the true parameters among the
posterior's draws are uniform if the posterior is right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from bioclip_jax.errors import UserError

from .batch import Batch
from .fit import LEAST_EFFECTIVE
from .importance import importance_draws
from .maximum import covariances, curvatures, maximize
from .priors import BY_KIND
from .summary import IDENTIFIED, predictive_counts

# Of each of the rounds of importance sampling, by simulation.
_PROPOSALS = 512
_SIGNIFICANT = 0.01
_BINS = 10


@dataclass(frozen=True)
class Ranks:
    """Ranks of true parameters, 0 to 1, the posteriors' standard deviations, and effective draws.

    names: of the parameters, without the confusion's. skipped: simulations of which no maximum was found.
    """

    names: tuple[str, ...]
    ranks: Float[np.ndarray, "simulations parameters"]
    sd: Float[np.ndarray, "simulations parameters"]
    effective: Float[np.ndarray, " simulations"]
    skipped: int


def rank_simulations(
    batch: Batch,
    simulations: int,
    seed: int,
    *,
    track: Callable[[Iterator[int], int], Iterator[int]] = lambda items, _: items,
) -> Ranks:
    """Simulate from the prior, fit all simulations together, and rank the truth in each posterior.

    The posterior is that of `fit_map`: importance resampling about the maximum. track: for progress.
    """
    calibration = batch.calibration
    size = len(calibration.names)
    judged = [k for k, one in enumerate(calibration.parameters) if one.kind in BY_KIND]
    rng = np.random.default_rng([seed, 5])
    truth = _prior_draws(batch, simulations, rng)
    counts = predictive_counts(calibration, truth, batch.expected(truth), rng)

    def function(u: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return batch.value_and_grad(u, counts[index])

    maxima = maximize(function, np.zeros((simulations, size)))
    found = np.flatnonzero(np.isfinite(maxima.value))
    if not len(found):
        raise UserError(
            "the community fails in every simulation; check growth rates and densities of the twin's species"
        )
    spread = covariances(curvatures(function, maxima.u))
    ranks, sd, effective = [], [], []
    for i in track(iter(found), len(found)):
        own = np.random.default_rng([seed, 6, int(i)])
        data = counts[i]
        draws = importance_draws(
            lambda u, data=data: batch.value(u, np.broadcast_to(data, (len(u), *data.shape))),
            maxima.u[i],
            spread[i],
            _PROPOSALS,
            own,
        )
        ranks.append(draws.weights @ (draws.u < truth[i]))
        sd.append(np.sqrt(np.diag(draws.moments()[1])))
        effective.append(draws.effective)
    return Ranks(
        tuple(calibration.names[k] for k in judged),
        np.array(ranks)[:, judged],
        np.array(sd)[:, judged],
        np.array(effective),
        simulations - len(found),
    )


def judge_ranks(ranks: Ranks) -> dict[str, object]:
    """Return a Kolmogorov-Smirnov test of uniform ranks by parameter, and the verdict on all of them.

    A parameter counts as identified if its posterior's median standard deviation over the simulations is at
    most IDENTIFIED of the prior's. p-values of the identified parameters are corrected for their number
    (Holm 1979): "uniform" if the least is above 0.01, None if no parameter is identified.
    """
    from scipy.stats import kstest

    names, parameters = ranks.names, {}
    for k, name in enumerate(names):
        share = float(np.median(ranks.sd[:, k]))
        parameters[name] = {
            "p": float(kstest(ranks.ranks[:, k], "uniform").pvalue),
            "histogram": np.histogram(ranks.ranks[:, k], _BINS, (0, 1))[0].tolist(),
            "contraction": 1 - share**2,
            "identified": share <= IDENTIFIED,
        }
    identified = [name for name in names if parameters[name]["identified"]]
    ordered = sorted(identified, key=lambda name: parameters[name]["p"])
    least = 0.0
    for number, name in enumerate(ordered):
        least = max(least, min(1.0, parameters[name]["p"] * (len(ordered) - number)))
        parameters[name]["corrected_p"] = least
    smallest = min((parameters[name]["corrected_p"] for name in identified), default=None)
    return {
        "simulations": len(ranks.ranks),
        "skipped": ranks.skipped,
        "parameters": parameters,
        "identified": identified,
        "not_identified": [name for name in names if name not in identified],
        "least_corrected_p": smallest,
        "uniform": None if smallest is None else smallest > _SIGNIFICANT,
        "effective_draws": {
            "median": float(np.median(ranks.effective)),
            "least": float(ranks.effective.min()),
            "below_100": int((ranks.effective < LEAST_EFFECTIVE).sum()),
        },
    }


def _prior_draws(batch: Batch, count: int, rng: np.random.Generator) -> Float[np.ndarray, "count parameters"]:
    """Draw from the prior; entries of the confusion matrix from their Dirichlet."""
    calibration = batch.calibration
    u = rng.standard_normal((count, len(calibration.names)))
    if calibration.cells:
        gamma = rng.standard_gamma(np.asarray(calibration.dirichlet), (count, *calibration.dirichlet.shape))
        gamma = np.maximum(gamma, 1e-300)
        rows, columns = np.array(calibration.cells).T
        log_odds = np.log(gamma[:, rows, columns] / gamma[:, rows, rows])
        first = len(calibration.names) - len(calibration.cells)
        u[:, first:] = (log_odds - np.asarray(calibration.center)[first:]) / np.asarray(calibration.sd)[
            first:
        ]
    return u
