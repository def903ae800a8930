"""Feeding links that nobody observed, inferred from what a consumer's relatives eat and from body masses.

The odds that consumer i eats resource j are

    odds(i, j) = e^a · (s / (1 − s))^b · exp(−(x − μ)² / 2σ²),        x = log10(m_j / m_i)

s is the share of i's nearest relatives that eat j or, in part, relatives of j. The last factor, the body-mass
window, is log-normal in the mass ratio and applies to animals that are eaten, not to plants: an elephant and
a vole eat the same grass. Constants are fitted to the observed links, for each kind of consumer and of food,
by logistic regression, each consumer's own links left out of its s. So are the settings of s: how many
relatives count, whether those of similar mass count more (for animals that are eaten), and how much relatives
of the resource count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from jaxtyping import Bool, Float

from bioclip_jax.errors import UserError

from .links import Link
from .species import FOODS, TAXONOMY, Species

Scores = Float[np.ndarray, "consumers resources"]
# Weight of a relative by the lowest rank shared: four times as much for each rank.
_PER_RANK = 4.0
# The same for embeddings: exp(cosine / temperature).
_TEMPERATURE = 0.1
# Shares of relatives of 0 and 1 are not certain: in logits, added to the share and its complement.
_DOUBT = 0.02
# Standard deviation of the prior of the constants: around odds of s/(1 − s), without a window.
_PRIOR = 1.0


@dataclass(frozen=True)
class Proximity:
    """Settings of the share of relatives that eat a resource.

    nearest: number of relatives (more if the last ones are equally close), None for all. mass_decades:
    standard deviation of the similarity of masses that relatives are weighted by, in powers of ten, None for
    no weighting. kin: weight of the relatives of the resource against the resource itself, 0 … 1.
    """

    nearest: int | None = 5
    mass_decades: float | None = None
    kin: float = 0.0


TAXONOMY_ONLY = Proximity()
_CHOICES = tuple(
    Proximity(nearest, mass_decades, kin)
    for nearest, mass_decades, kin in product((5, None), (None, 0.5), (0.0, 0.5, 1.0))
)


def relatives_scores(
    species: Sequence[Species],
    links: Sequence[Link],
    settings: Proximity = TAXONOMY_ONLY,
    *,
    embeddings: Mapping[str, Float[np.ndarray, " dim"]] | None = None,
) -> Scores:
    """Share of each consumer's nearest relatives that eat each resource, both in the species' order.

    A consumer's own links never count. Rows of producers, and of all if nothing is observed, are 0.
    """
    return _Web(species, links, embeddings).shares(settings)


def link_scores(
    species: Sequence[Species],
    links: Sequence[Link],
    *,
    embeddings: Mapping[str, Float[np.ndarray, " dim"]] | None = None,
) -> Scores:
    """Probability that each consumer eats each resource, both in the species' order; 0 in producers' rows.

    A consumer's own links never count for it; inferred links count for nobody. A known diet multiplies the
    probability by the share of the resource's kind in it. embeddings: vectors by species' names, such as the
    mean of a species' images; the taxonomy is used for all if they lack a species.

    Raises UserError if there is no observed link. On the Serengeti's web see validate's study_inferred_links;
    with embeddings nothing has been measured.
    """
    web = _Web(species, links, embeddings)
    if not web.observed.any():
        raise UserError("no observed links to infer others from; give some in the table of links")
    # SciPy brings a BLAS of its own, so it is imported before threads are limited: the matrices are small.
    import scipy.optimize  # noqa: F401
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        return _probabilities(web)


def infer_links(
    species: Sequence[Species],
    links: Sequence[Link],
    *,
    embeddings: Mapping[str, Float[np.ndarray, " dim"]] | None = None,
    threshold: float = 0.3,
    fewest: int = 1,
) -> tuple[Link, ...]:
    """Links of the consumers with fewer than `fewest` observed ones, marked as inferred.

    They are those whose probability, their weight, is at least `threshold`, and at any rate the most probable
    one, without which the consumer would starve. Observed links are not repeated.
    """
    count = {one.name: 0 for one in species if one.kind != "producer"}
    for link in links:
        count[link.consumer] += not link.inferred
    lacking = [name for name, n in count.items() if n < fewest]
    if not lacking:
        return ()
    scores = link_scores(species, links, embeddings=embeddings)
    index = {one.name: i for i, one in enumerate(species)}
    relation = "the embedding" if _covers(embeddings, species) else "the taxonomy"
    known = {(link.resource, link.consumer) for link in links}
    inferred = []
    for consumer in lacking:
        row = scores[index[consumer]]
        chosen = (row >= threshold) | (row == row.max())
        for resource, one in zip(species, np.where(chosen, row, 0)):
            if one > 0 and (resource.name, consumer) not in known:
                text = f"inferred from nearest relatives in {relation} and body masses, probability {one:.2f}"
                inferred.append(Link(resource.name, consumer, True, round(float(one), 4), text))
    return tuple(inferred)


class _Web:
    """Species and observed links as arrays: consumers by resources, both in the species' order."""

    def __init__(
        self,
        species: Sequence[Species],
        links: Sequence[Link],
        embeddings: Mapping[str, Float[np.ndarray, " dim"]] | None,
    ):
        n = len(species)
        self.kinds = np.array([one.kind for one in species])
        self.is_consumer = self.kinds != "producer"
        index = {one.name: i for i, one in enumerate(species)}
        self.eats: Bool[np.ndarray, "consumers resources"] = np.zeros((n, n), bool)
        for link in links:
            if not link.inferred:
                self.eats[index[link.consumer], index[link.resource]] = True
        self.observed = self.eats.any(1)
        self.log_mass = np.log10([one.mass_g for one in species])
        self.ratio = np.nan_to_num(self.log_mass[None, :] - self.log_mass[:, None])
        self.kinship = _kinship(species, embeddings)
        self.foods = np.array([one.food for one in species])
        shares = np.array([[_share(one, food) for food in FOODS] for one in species])
        self.diet = shares[:, [FOODS.index(food) for food in self.foods]]

    def groups(self) -> Iterator[tuple[Bool[np.ndarray, " consumers"], Bool[np.ndarray, " resources"], bool]]:
        """Consumers of a kind, resources of a kind of food, and True if masses matter."""
        for kind, food in product(("invertebrate", "ectotherm", "endotherm"), FOODS):
            resources = self.foods == food
            consumers = (self.kinds == kind) & (self.diet[:, resources] > 0).any(1)
            if consumers.any() and resources.any():
                yield consumers, resources, food != "plants"

    def shares(self, settings: Proximity) -> Scores:
        """Share of the nearest relatives that eat each resource, without the consumer's own links."""
        weights = np.where(self.observed[None, :] & self.is_consumer[:, None], self.kinship, 0.0)
        np.fill_diagonal(weights, 0.0)
        if settings.mass_decades is not None:
            weights = weights * np.exp(-((self.ratio / settings.mass_decades) ** 2) / 2)
        if settings.nearest is not None and settings.nearest < len(weights):
            cut = np.sort(weights, axis=1)[:, -settings.nearest, None]
            weights = np.where(weights >= cut, weights, 0.0)
        shares = weights @ self.eats / np.maximum(weights.sum(1, keepdims=True), 1e-300)
        if settings.kin:
            kin = self.kinship * (self.foods[None, :] == self.foods[:, None])
            related = shares @ (kin / kin.sum(1, keepdims=True)).T
            shares = (1 - settings.kin) * shares + settings.kin * related
        return shares


@dataclass(frozen=True)
class _Fit:
    """Constants of the odds, and the penalized negative log-likelihood that they reach."""

    constants: Float[np.ndarray, " terms"]
    loss: float

    @classmethod
    def of(cls, shares: Scores, ratio: Scores | None, eats: Bool[np.ndarray, "consumers resources"]) -> _Fit:
        """Fit the links of some consumers; without any, the prior's mode stands."""
        from scipy.optimize import minimize

        terms = _terms(shares, ratio).reshape(shares.size, -1)
        labels = eats.ravel()
        mode = np.eye(terms.shape[1])[1]
        precision = np.r_[1e-4, np.full(len(mode) - 1, 1 / _PRIOR**2)]

        def loss(constants):
            logits, away = terms @ constants, constants - mode
            value = np.logaddexp(0, logits).sum() - logits[labels].sum() + (precision * away**2).sum() / 2
            slope = terms.T @ (1 / (1 + np.exp(-logits)) - labels) + precision * away
            return value, slope

        # More relatives that eat it never speak against a link, and the window has a top, not a bottom.
        bounds = [(None, None), (0, None), (None, None), (None, 0)][: len(mode)]
        fit = minimize(loss, mode, jac=True, method="L-BFGS-B", bounds=bounds)
        return cls(fit.x, float(fit.fun))

    def probability(self, shares: Scores, ratio: Scores | None) -> Scores:
        return 1 / (1 + np.exp(-(_terms(shares, ratio) @ self.constants)))


def _probabilities(web: _Web) -> Scores:
    """Fit each kind of consumer and food with each choice of settings, and score with the best."""
    shares = {settings: web.shares(settings) for settings in _CHOICES}
    scores = np.zeros((len(web.kinds),) * 2)
    for consumers, resources, window in web.groups():
        known = np.ix_(consumers & web.observed, resources)
        ratio = web.ratio[known] if window else None
        fits = [
            (_Fit.of(share[known], ratio, web.eats[known]), share)
            for settings, share in shares.items()
            if window or settings.mass_decades is None
        ]
        fit, share = min(fits, key=lambda pair: pair[0].loss)
        block = np.ix_(consumers, resources)
        scores[block] = fit.probability(share[block], web.ratio[block] if window else None)
    return scores * web.diet


def _terms(shares: Scores, ratio: Scores | None) -> Float[np.ndarray, "consumers resources terms"]:
    """Terms of the log odds: 1, logit of the share and, with a window, x and x²."""
    terms = [np.ones_like(shares), np.log((shares + _DOUBT) / (1 - shares + _DOUBT))]
    return np.stack(terms if ratio is None else [*terms, ratio, ratio**2], axis=-1)


def _kinship(
    species: Sequence[Species], embeddings: Mapping[str, Float[np.ndarray, " dim"]] | None
) -> Float[np.ndarray, "species species"]:
    """Weights of relatives: by embedding if all species have one, else by the lowest rank shared, else 0."""
    if embeddings is not None and _covers(embeddings, species):
        vectors = np.stack([np.asarray(embeddings[one.name], float) for one in species])
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.exp((vectors @ vectors.T - 1) / _TEMPERATURE)
    kinship = np.zeros((len(species),) * 2)
    for level, rank in enumerate((*TAXONOMY, "species"), 1):
        names = np.array([one.name if rank == "species" else one.taxonomy.get(rank, "") for one in species])
        kinship[(names[:, None] == names[None, :]) & (names != "")] = _PER_RANK**level
    return kinship


def _covers(embeddings: Mapping[str, Float[np.ndarray, " dim"]] | None, species: Sequence[Species]) -> bool:
    return embeddings is not None and all(one.name in embeddings for one in species)


def _share(one: Species, food: str) -> float:
    if one.kind == "producer":
        return 0.0
    return 1.0 if one.diet is None else float(one.diet.get(food, 0.0))
