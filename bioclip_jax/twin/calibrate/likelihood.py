"""The likelihood of counts: community × encounters × effort, negative binomial, through the confusion.

    true events      N_tpj = D_tpj a_j E_tp           D density (1/km²), a detectability, E effort (days)
    labeled events   M_tpk = Σ_j N_tpj C_pjk          C_p = s_p I + (1 - s_p) P(predicted | true)
    counts           y_tpk ~ negative binomial of mean M_tpk and variance M_tpk + φ M_tpk²

D is the mean of the simulated biomass over a period by body mass. a is v r (2 + θ) / π where movement is
known (Rowcliffe et al. 2008, J. Appl. Ecol. 45:1228). Events without an animal have a constant rate in
place of D a.
"""

from __future__ import annotations

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln
from jaxtyping import Array, Float

from bioclip_jax.errors import UserError, did_you_mean
from bioclip_jax.twin.community import Blueprint, Conditions, simulate

from .observations import BLANK, Observations, period_weights
from .parameters import Parameter, apply_parameters, community_parameters
from .priors import BY_KIND, COMMUNITY_KINDS

# Events per day by chance alone: no count is impossible.
_LEAST_RATE = 1e-6
# Cells of the confusion matrix with less are not calibrated.
_LEAST_CONFUSION = 0.01
# Relative error of a biomass per step, far below that of any count.
_TOLERANCE = 1e-5
# Of the solver per interval: a community that needs more in a month is nowhere near any that lives.
_MAX_STEPS = 256


def log_negative_binomial(
    counts: Float[Array, "*shape"], mean: Float[Array, "*shape"], dispersion: Float[Array, ""]
) -> Float[Array, "*shape"]:
    """Return log P(counts), for a variance of mean + dispersion · mean²."""
    size = 1 / dispersion
    # log1p forms keep the Poisson limit, of a large size, accurate.
    return (
        gammaln(counts + size)
        - gammaln(size)
        - gammaln(counts + 1)
        - size * jnp.log1p(mean * dispersion)
        + counts * (jnp.log(mean * dispersion) - jnp.log1p(mean * dispersion))
    )


class Calibration(eqx.Module):
    """The log posterior of a community's parameters, given observations.

    Parameters are in units of their prior: u = (value - center) / sd, so that the prior of u is standard
    normal. Entries of the confusion matrix, as log-odds to the right label, have the Dirichlet's density
    instead. All methods are pure, for jit, grad and vmap with x64 enabled.

    weights: of the path's values in each period's mean. diagonal: of the confusion matrix, when its
    calibrated cells are at their center.
    """

    blueprint: Blueprint
    conditions: Conditions
    days: Float[Array, " intervals"]
    weights: Float[Array, "periods times"]
    counts: Float[Array, "periods patches classes"]
    effort_days: Float[Array, "periods patches"]
    labeled_share: Float[Array, " patches"]
    confusion: Float[Array, "classes classes"]
    dirichlet: Float[Array, "classes classes"]
    center: Float[Array, " parameters"]
    sd: Float[Array, " parameters"]
    parameters: tuple[Parameter, ...] = eqx.field(static=True)
    classes: tuple[str, ...] = eqx.field(static=True)
    cells: tuple[tuple[int, int], ...] = eqx.field(static=True)

    @classmethod
    def create(
        cls,
        blueprint: Blueprint,
        conditions: Conditions,
        days: Float[Array, " intervals"],
        observations: Observations,
        kinds: Sequence[str] = COMMUNITY_KINDS,
    ) -> Calibration:
        """Assemble a calibration; call it with x64 enabled.

        conditions, days: the intervals from the community's start to the last period's end at least.
        kinds: of the community's parameters to calibrate. Raises UserError for a class that is not a species
        of the community, and intervals that end too early.
        """
        for name in observations.species:
            if name not in blueprint.community.names:
                hint = did_you_mean(name, blueprint.community.names, "add it to the species, or drop it")
                raise UserError(f"the observations have {name!r}, which is not a species of the twin{hint}")
        times = np.concatenate([[0.0], np.cumsum(np.asarray(days))])
        if times[-1] < observations.last_day - 1e-6:
            raise UserError(
                f"the conditions end on day {times[-1]:g}, before the last period (day "
                f"{observations.last_day:g}); give longer ones"
            )
        # A species that is on the way to extinction must not leave the likelihood flat: no threshold.
        blueprint = eqx.tree_at(
            lambda b: b.community.extinction_kg, blueprint, replace_fn=lambda kg: jnp.zeros_like(kg)
        )
        parameters = [*community_parameters(blueprint, kinds)]
        parameters += _observation_parameters(observations)
        size = len(observations.classes)
        confusion, dirichlet, cells = np.eye(size), np.ones((size, size)), ()
        if observations.dirichlet is not None:
            dirichlet = observations.dirichlet
            confusion = dirichlet / dirichlet.sum(axis=1, keepdims=True)
            uncertain = (confusion >= _LEAST_CONFUSION) & ~np.eye(size, dtype=bool)
            cells = tuple(map(tuple, np.argwhere(uncertain).tolist()))
            parameters += [_cell_parameter(observations, j, k) for j, k in cells]
        observed = observations.observed
        return cls(
            blueprint=blueprint,
            conditions=conditions,
            days=jnp.asarray(days),
            weights=jnp.asarray(period_weights(observations.start_day, observations.end_day, times)),
            counts=jnp.asarray(np.where(observed[:, :, None], observations.counts, 0.0)),
            effort_days=jnp.asarray(observations.effort_days),
            labeled_share=jnp.asarray(
                np.zeros(observed.shape[1])
                if observations.labeled_share is None
                else observations.labeled_share
            ),
            confusion=jnp.asarray(confusion),
            dirichlet=jnp.asarray(dirichlet),
            center=jnp.array([one.center for one in parameters]),
            sd=jnp.array([one.sd for one in parameters]),
            parameters=tuple(parameters),
            classes=observations.classes,
            cells=cells,
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters."""
        return tuple(one.name for one in self.parameters)

    def with_counts(self, counts: Float[Array, "periods patches classes"]) -> Calibration:
        """Return the calibration of other counts of the same survey."""
        return eqx.tree_at(lambda one: one.counts, self, counts)

    def values(self, u: Float[Array, "*batch parameters"]) -> Float[Array, "*batch parameters"]:
        """Return the parameters on the log scale."""
        return self.center + self.sd * u

    def densities(self, u: Float[Array, " parameters"]) -> Float[Array, "periods patches species"]:
        """Return the mean individuals per km² over each period."""
        community, biomass = apply_parameters(self.names, self.values(u), self.blueprint)
        path = simulate(
            community, biomass, self.conditions, self.days, tolerance=_TOLERANCE, max_steps=_MAX_STEPS
        )
        # Where the solver gave up the path is void: nothing is likely there.
        mean = jnp.einsum("it,tps->ips", self.weights, path.biomass) / community.mass_kg
        return jnp.where(path.succeeded, mean, jnp.nan)

    def expected(self, u: Float[Array, " parameters"]) -> Float[Array, "periods patches classes"]:
        """Return the expected labeled events."""
        return self.labeled(u, self.densities(u))

    def labeled(
        self, u: Float[Array, " parameters"], densities: Float[Array, "periods patches species"]
    ) -> Float[Array, "periods patches classes"]:
        """Return the expected labeled events at some densities."""
        values = self.values(u)
        kinds = [name for name in self.classes if name != BLANK]
        species = np.array([self.blueprint.community.names.index(name) for name in kinds], int)
        at = np.array([self.names.index(f"detectability: {name}") for name in kinds], int)
        true = densities[:, :, species] * jnp.exp(values[at])
        if BLANK in self.classes:
            # The last of the classes, as Observations has it.
            blank = jnp.broadcast_to(jnp.exp(values[self.names.index("blank")]), (*densities.shape[:2], 1))
            true = jnp.concatenate([true, blank], axis=-1)
        labeled = jnp.einsum("ipj,jk->ipk", true, self.confusion_matrix(u))
        share = self.labeled_share[:, None]
        rate = share * true + (1 - share) * labeled + _LEAST_RATE
        return rate * self.effort_days[:, :, None]

    def confusion_matrix(self, u: Float[Array, " parameters"]) -> Float[Array, "true predicted"]:
        """Return P(predicted | true)."""
        if not self.cells:
            return self.confusion
        rows, columns = np.array(self.cells).T
        varied = np.zeros(self.confusion.shape, bool)
        varied[rows, columns] = True
        np.fill_diagonal(varied, True)
        logits = jnp.zeros_like(self.confusion)
        logits = logits.at[rows, columns].set(self.values(u)[-len(self.cells) :])
        shares = jax.nn.softmax(jnp.where(varied, logits, -jnp.inf), axis=1)
        total = jnp.where(varied, self.confusion, 0.0).sum(axis=1, keepdims=True)
        return jnp.where(varied, shares * total, self.confusion)

    def log_likelihood(self, u: Float[Array, " parameters"]) -> Float[Array, ""]:
        """Return log P(counts | u)."""
        return self._log_likelihood(u, self.expected(u))

    def _log_likelihood(self, u: Array, mean: Array) -> Float[Array, ""]:
        dispersion = jnp.exp(self.values(u)[self.names.index("dispersion")])
        observed = (self.effort_days > 0)[:, :, None]
        value = log_negative_binomial(self.counts, jnp.where(observed, mean, 1.0), dispersion)
        return jnp.where(observed, value, 0.0).sum()

    def log_prior(self, u: Float[Array, " parameters"]) -> Float[Array, ""]:
        """Return the log density of the prior of u, but for a constant."""
        normal = len(self.parameters) - len(self.cells)
        value = -0.5 * (u[:normal] ** 2).sum()
        if self.cells:
            # In log-odds the density of a Dirichlet is Π p^α: the Jacobian takes the 1 from α - 1.
            rows, columns = np.array(self.cells).T
            matrix = self.confusion_matrix(u)
            value += (self.dirichlet[rows, columns] * jnp.log(matrix[rows, columns])).sum()
            own = np.unique(rows)
            value += (self.dirichlet[own, own] * jnp.log(matrix[own, own])).sum()
        return value

    def __call__(self, u: Float[Array, " parameters"]) -> Float[Array, ""]:
        """Return the log posterior density of u, but for a constant; -inf where the solver fails."""
        return self.posterior(u)[0]

    def posterior(
        self, u: Float[Array, " parameters"]
    ) -> tuple[Float[Array, ""], Float[Array, "periods patches classes"]]:
        """Return the log posterior density, as a call does, and the expected labeled events."""
        expected = self.expected(u)
        value = self._log_likelihood(u, expected) + self.log_prior(u)
        return jnp.where(jnp.isfinite(value), value, -jnp.inf), expected


def _observation_parameters(observations: Observations) -> list[Parameter]:
    """Parameters of the observations, but for the confusion's."""
    parameters = []
    for name in observations.species:
        prior = BY_KIND["detectability"]
        known = observations.detectability.get(name)
        center, sd = (prior.center, prior.sd) if known is None else (known.log_mean, known.log_sd)
        parameters.append(Parameter("detectability", name, center, sd))
    if BLANK in observations.classes:
        parameters.append(Parameter("blank", "", BY_KIND["blank"].center, BY_KIND["blank"].sd))
    parameters.append(Parameter("dispersion", "", BY_KIND["dispersion"].center, BY_KIND["dispersion"].sd))
    return parameters


def _cell_parameter(observations: Observations, true: int, predicted: int) -> Parameter:
    """Log-odds of one wrong label to the right one, in units of their standard deviation."""
    from scipy.special import polygamma

    alpha = observations.dirichlet
    center = float(np.log(alpha[true, predicted] / alpha[true, true]))
    sd = float(np.sqrt(polygamma(1, alpha[true, predicted]) + polygamma(1, alpha[true, true])))
    subject = f"{observations.classes[true]} as {observations.classes[predicted]}"
    return Parameter("confusion", subject, center, min(sd, 3.0))
