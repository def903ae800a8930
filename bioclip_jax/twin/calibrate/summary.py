"""The result of a calibration: intervals, what the data inform, and how well counts are predicted."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from .likelihood import Calibration
from .priors import BY_KIND, PRIORS, central_90

# A parameter is identified if the data narrow its prior's standard deviation to at most this share.
IDENTIFIED = 0.7
# Posterior correlation from which two parameters can hardly be told apart.
_CONFOUNDED = 0.7
_LOADING = 0.3


def summarize(calibration: Calibration, u: Float[np.ndarray, "draws parameters"]) -> dict[str, Any]:
    """Return parameters with medians and 90 % intervals, and names of those identified and not.

    Contraction is 1 - posterior variance / prior variance on the log scale: 0 where the data say nothing.
    A parameter is identified if its posterior standard deviation is at most IDENTIFIED of the prior's.
    "confounded_with": parameters that it correlates with in the posterior by at least 0.7 either way.
    "informed_directions": combinations of parameters, each in units of its prior, that the data narrow so
    much, although maybe none of them alone. Entries of the confusion matrix have the verified events for
    prior and are not judged.
    """
    values = log_values(calibration, u)
    sd = u.std(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = np.nan_to_num(np.corrcoef(u.T)) if u.shape[1] > 1 else np.ones((1, 1))
    parameters = {}
    for k, one in enumerate(calibration.parameters):
        quantiles = np.exp(np.quantile(values[:, k], (0.5, 0.05, 0.95)))
        others = np.flatnonzero(np.abs(correlation[k]) >= _CONFOUNDED)
        entry = {
            **dict(zip(("median", "lower", "upper"), quantiles.tolist(), strict=True)),
            "prior": central_90(one.center, one.sd),
        }
        if one.kind in BY_KIND:
            entry |= {
                "contraction": float(1 - sd[k] ** 2),
                "identified": bool(sd[k] <= IDENTIFIED),
                "confounded_with": [calibration.names[i] for i in others if i != k],
            }
        parameters[one.name] = entry
    judged = {name: entry for name, entry in parameters.items() if "identified" in entry}
    return {
        "parameters": parameters,
        "identified": [name for name, entry in judged.items() if entry["identified"]],
        "not_identified": [name for name, entry in judged.items() if not entry["identified"]],
        "identified_if": f"posterior standard deviation at most {IDENTIFIED} of the prior's",
        "informed_directions": _informed(calibration, u),
        "priors": [prior.as_dict() for prior in PRIORS],
    }


def log_values(
    calibration: Calibration, u: Float[np.ndarray, "draws parameters"]
) -> Float[np.ndarray, "draws parameters"]:
    """Return the parameters on the log scale, in float64 wherever it is called."""
    return np.asarray(calibration.center) + np.asarray(calibration.sd) * u


def _informed(calibration: Calibration, u: Float[np.ndarray, "draws parameters"]) -> list[dict[str, Any]]:
    """Eigenvectors of the posterior covariance that are as narrow as IDENTIFIED, the narrowest first."""
    judged = [k for k, one in enumerate(calibration.parameters) if one.kind in BY_KIND]
    values, vectors = np.linalg.eigh(np.atleast_2d(np.cov(u[:, judged].T)))
    result = []
    for value, vector in zip(values, vectors.T, strict=True):
        if value > IDENTIFIED**2:
            break
        largest = np.flatnonzero(np.abs(vector) >= _LOADING)
        sign = np.sign(vector[np.argmax(np.abs(vector))])
        loadings = {calibration.names[judged[i]]: float(sign * vector[i]) for i in largest}
        result.append({"standard_deviation": float(np.sqrt(max(value, 0.0))), "loadings": loadings})
    return result


def predictive_counts(
    calibration: Calibration,
    u: Float[np.ndarray, "draws parameters"],
    expected: Float[np.ndarray, "draws periods patches classes"],
    rng: np.random.Generator,
) -> Float[np.ndarray, "draws periods patches classes"]:
    """Draw counts of the same survey from the model, one set for each draw of the parameters."""
    values = log_values(calibration, u)
    dispersion = np.exp(values[:, calibration.names.index("dispersion")])[:, None, None, None]
    # A negative binomial is a Poisson whose mean varies as a gamma.
    rate = rng.gamma(1 / dispersion, dispersion * np.maximum(expected, 1e-12))
    return rng.poisson(np.minimum(rate, 1e15)).astype(float)


def predictive_check(
    calibration: Calibration, replicates: Float[np.ndarray, "draws periods patches classes"], seed: int
) -> dict[str, Any]:
    """Return how the observed counts lie among replicates: shares within intervals, and PIT values.

    The probability integral transform of counts is randomized between P(y - 1) and P(y) (Czado, Gneiting and
    Held 2009, Biometrics 65:1254): uniform for a good model. Only where there was effort.
    """
    observed = np.asarray(calibration.effort_days) > 0
    counts = np.asarray(calibration.counts)[observed]
    draws = replicates[:, observed]
    rng = np.random.default_rng([seed, 4])
    below, equal = (draws < counts).mean(axis=0), (draws == counts).mean(axis=0)
    pit = below + rng.random(counts.shape) * equal
    by_class = {}
    for k, name in enumerate(calibration.classes):
        by_class[name] = {
            "events": float(counts[:, k].sum()),
            "coverage_50": float((np.abs(pit[:, k] - 0.5) <= 0.25).mean()),
            "coverage_90": float((np.abs(pit[:, k] - 0.5) <= 0.45).mean()),
        }
    return {
        "coverage_50": float((np.abs(pit - 0.5) <= 0.25).mean()),
        "coverage_90": float((np.abs(pit - 0.5) <= 0.45).mean()),
        "by_class": by_class,
        "pit": [round(float(value), 4) for value in pit.ravel()],
    }
