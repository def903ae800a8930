"""The verb `taxa calibrate`: fit a softmax temperature on labeled images, and check it by cross-validation."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from bioclip_jax.convert import model_files
from bioclip_jax.errors import UserError
from bioclip_jax.files import check_outputs, json_text, write_text
from bioclip_jax.pipeline.sources import Source, data_files, open_source
from bioclip_jax.predict.classifiers import TreeOfLifeClassifier
from bioclip_jax.predict.progress import track
from bioclip_jax.predict.rank import Rank

from .names import TaxaNames
from .score import TaxaScorer

BINS = 15
FOLDS = 5
_COOLEST, _HOTTEST, _STEPS = 1 / 32, 32.0, 21
# Fewer images than this say little about how often an answer is right.
_FEWEST = 20
# In place of a species' number, where several have the name or none has.
_AMBIGUOUS = -1


def calibrate_temperature(
    data: str, classifier: TreeOfLifeClassifier, output: Path, *, plot: Path | None = None
) -> dict[str, Any]:
    """Fit a softmax temperature to labeled images (`data` as open_source), and write it as JSON.

    The temperature minimizes the negative log-likelihood of the right taxon (Guo et al. 2017,
    https://arxiv.org/abs/1706.04599), averaged over the ranks, because one temperature applies to the scores
    of all of
    them: one that is fitted to species alone can spoil the wider ranks. Cross-validation decides if it helps:
    unless images in held-out folds have a better likelihood by more than one standard error, the temperature
    written is 1.

    Returns, and writes to `output`: "temperature", "fitted_temperature" (of all images), "improves",
      "fingerprint" of the model, "transform" of the images, "taxa" (the head's file), "images", "left_out"
      (images that cannot be read or whose species is not among the taxa), "gain" (of the mean log-likelihood)
      and its standard error "gain_error".
      "before" and "after": at temperature 1, and of each image at the temperature fitted to the folds without
      it, each {"accuracy", "nll" (mean over ranks), "nll_by_rank", "ece": {rank: expected calibration error},
      "reliability": of the species, BINS rows of {"from", "to", "images", "confidence", "accuracy"}}. `plot`:
      a picture of the last.
    Errors: UserError for data that is not there or has too few usable images.
    """
    read = {"labeled data": data_files(data), "the head of taxa": classifier.head.path}
    read |= {"part of the model": model_files(classifier.model.directory)}
    check_outputs({"--output": output, "--plot": plot}, read)
    source = open_source(data, split="test")
    features, rows = _features(source, classifier)
    left_out = len(source) - len(rows)
    if len(rows) < _FEWEST:
        raise UserError(
            f"only {len(rows)} of the {len(source)} images of {data} can be read and are of a species of "
            f"the taxa;"
            f" give at least {_FEWEST}"
        )
    # By chance, whatever order the data have, and the same each time.
    fold_of = np.random.default_rng(0).permutation(np.arange(len(rows)) % FOLDS)
    likelihood = Likelihood(classifier, features, rows)
    fitted = likelihood.fit()
    held_out = np.array([likelihood.fit(fold_of != fold) for fold in range(FOLDS)])
    before = _answers(classifier, features, rows, np.ones(len(rows)))
    after = _answers(classifier, features, rows, held_out[fold_of])
    gain = (after.log_likelihood - before.log_likelihood).mean(axis=1)
    error = float(gain.std(ddof=1) / np.sqrt(len(gain)))
    improves = bool(gain.mean() > error)
    result = {
        "temperature": round(fitted, 4) if improves else 1.0,
        "fitted_temperature": round(fitted, 4),
        "improves": improves,
        "fingerprint": classifier.model.fingerprint,
        "transform": classifier.model.transform,
        "taxa": str(classifier.head.path),
        "images": len(rows),
        "left_out": left_out,
        "gain": float(gain.mean()),
        "gain_error": error,
        "before": before.figures(),
        "after": after.figures(),
    }
    write_text(output, json_text(result, indent=2) + "\n")
    if plot is not None:
        from .reliability_plot import draw

        draw(result, plot)
    return result


def doubts(result: dict[str, Any]) -> list[str]:
    """Warnings about a result of `calibrate`, a line each."""
    before, after, fitted = result["before"], result["after"], result["fitted_temperature"]
    if not result["improves"]:
        return [
            f"the fitted temperature {fitted:.3g} does not improve held-out images (negative log-likelihood "
            f"{after['nll']:.3f}, without it {before['nll']:.3f}, standard error of the difference "
            f"{result['gain_error']:.3f}, {result['images']} images); 1 was written, which changes nothing: "
            "give more images"
        ]
    pairs = (
        (rank, before["nll_by_rank"][rank], after["nll_by_rank"][rank]) for rank in before["nll_by_rank"]
    )
    worse = [f"{rank} ({old:.3f} to {new:.3f})" for rank, old, new in pairs if new > old + 1e-3]
    if not worse:
        return []
    return [
        f"at some ranks the temperature makes held-out images less likely: {', '.join(worse)}; on average "
        f"it helps"
    ]


def read_temperature(text: str, fingerprint: str) -> float:
    """A temperature: a number, or a file that `calibrate` wrote for the model of that fingerprint. UserError if it is
    neither.
    """
    try:
        return float(text)
    except ValueError:
        pass
    if not Path(text).is_file():
        raise UserError(
            f"--temperature {text} is neither a number nor a file; name what `bioclip-jax taxa calibrate` "
            f"wrote"
        )
    try:
        content = json.loads(Path(text).read_text(encoding="utf-8"))
        temperature, of = float(content["temperature"]), content["fingerprint"]
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(
            f"--temperature {text} is no number and no file of `bioclip-jax taxa calibrate`"
        ) from None
    if of != fingerprint:
        raise UserError(
            f"{text} was fitted to another model; fit one to this with `bioclip-jax taxa calibrate`"
        )
    return temperature


def _features(
    source: Source, classifier: TreeOfLifeClassifier
) -> tuple[Float32[np.ndarray, "n dim"], Int[np.ndarray, " n"]]:
    """The unit vectors of the usable images, and of each one's species the number among names.starts(SPECIES)."""
    species_of = _species_by_name(classifier.names)
    wanted: list[int] = []

    def images() -> Iterator[bytes]:
        for place in track(range(len(source)), "encoding images", len(source)):
            try:
                sample = source[place]
            except (OSError, ValueError):
                continue
            taxon = sample.taxon
            if taxon is None or not taxon.species:
                continue
            species = species_of.get(taxon.lineage(), species_of.get(taxon.scientific_name, _AMBIGUOUS))
            if species != _AMBIGUOUS:
                wanted.append(species)
                yield sample.image

    parts, species = [], []
    for places, features in classifier.model.embedder.stream(images(), lambda place, problem: None):
        parts.append(features)
        species.extend(wanted[place] for place in places)
    dim = classifier.model.embedder.embed_dim
    return np.concatenate(parts) if parts else np.empty((0, dim), np.float32), np.array(species, np.int64)


def _species_by_name(names: TaxaNames) -> dict[Any, int]:
    """The number of each species by its lineage, and by its name alone where no other species has that name."""
    found: dict[Any, int] = {}
    for number, row in enumerate(names.starts(Rank.SPECIES).tolist()):
        taxon = names.taxon(row)
        found[taxon.lineage()] = number
        found[taxon.scientific_name] = _AMBIGUOUS if taxon.scientific_name in found else number
    return found


class Likelihood:
    """The log-likelihood of images' right taxa at every rank, as a smooth function of the temperature.

    It is computed at steps of half an octave and interpolated by cubic splines, so that any number of fits
    costs as many passes over the head as one.
    """

    def __init__(
        self,
        classifier: TreeOfLifeClassifier,
        features: Float32[np.ndarray, "n dim"],
        species: Int[np.ndarray, " n"],
    ) -> None:
        from scipy.interpolate import CubicSpline

        steps = np.linspace(np.log(_COOLEST), np.log(_HOTTEST), _STEPS)
        values = [
            _log_likelihood(classifier.scorer(float(np.exp(step))), features, species).mean(axis=1)
            for step in track(steps, "fitting", _STEPS)
        ]
        self._spline, self._bounds = CubicSpline(steps, np.array(values)), (steps[0], steps[-1])

    def fit(self, among: Bool[np.ndarray, " n"] | None = None) -> float:
        """The temperature of the largest mean log-likelihood of some of the images (None: all)."""
        from scipy.optimize import minimize_scalar

        def nll(log_temperature: float) -> float:
            values = self._spline(log_temperature)
            return float(-(values if among is None else values[among]).mean())

        # The mean may have several maxima over the whole range; the best step lies beside the largest.
        steps = np.linspace(*self._bounds, 8 * _STEPS)
        best = min(steps, key=nll)
        width = steps[1] - steps[0]
        bounds = (max(self._bounds[0], best - width), min(self._bounds[1], best + width))
        return float(np.exp(minimize_scalar(nll, bounds=bounds, method="bounded", options={"xatol": 1e-4}).x))


def _log_likelihood(
    scorer: TaxaScorer, features: Float32[np.ndarray, "n dim"], species: Int[np.ndarray, " n"]
) -> Float[np.ndarray, "n ranks"]:
    """log p of each image's taxon at each rank, widest first; a species that is there twice has the sum of both."""
    names = scorer.names
    starts = names.starts(Rank.SPECIES)
    ends = np.append(starts, len(names))
    found = np.empty((len(species), len(Rank)))
    for start in range(0, len(species), scorer.group_size):
        group = np.arange(start, min(start + scorer.group_size, len(species)))
        totals = scorer.totals(features[group])
        for place, image in enumerate(group):
            rows = np.arange(ends[species[image]], ends[species[image] + 1])
            logits = scorer.logits_of(rows, features[image]).astype(np.float64)
            value = np.logaddexp.reduce(logits) - totals.largest[place] - np.log(totals.sum[place])
            found[image, Rank.SPECIES.value] = value
        for rank, sums in scorer.all_rank_sums(features[group], totals, min_prob=0.0).items():
            of_rank = sums[names.groups(rank, starts[species[group]]), np.arange(len(group))]
            # Small sums run out of float32, but none is below that of the species.
            with np.errstate(divide="ignore"):
                found[group, rank.value] = np.maximum(np.log(of_rank), found[group, Rank.SPECIES.value])
    return np.minimum(found, 0)


@dataclass(frozen=True)
class Answers:
    """By image and rank, widest first: the best taxon's score, if it is right, the right one's log-likelihood."""

    confidence: Float[np.ndarray, "n ranks"]
    right: Bool[np.ndarray, "n ranks"]
    log_likelihood: Float[np.ndarray, "n ranks"]

    def figures(self) -> dict[str, Any]:
        """ "before" and "after" of calibrate's result."""
        of_rank = {
            rank.get_label(): reliability(self.confidence[:, rank.value], self.right[:, rank.value])
            for rank in Rank
        }
        nll = {rank.get_label(): float(-self.log_likelihood[:, rank.value].mean()) for rank in Rank}
        return {
            "accuracy": float(self.right[:, Rank.SPECIES.value].mean()),
            "nll": float(np.mean(list(nll.values()))),
            "nll_by_rank": nll,
            "ece": {rank: calibration_error(bins) for rank, bins in of_rank.items()},
            "reliability": of_rank[Rank.SPECIES.get_label()],
        }


def _answers(
    classifier: TreeOfLifeClassifier,
    features: Float32[np.ndarray, "n dim"],
    species: Int[np.ndarray, " n"],
    temperatures: Float[np.ndarray, " n"],
) -> Answers:
    """The answers about images, each at its own of few temperatures."""
    confidence, log_likelihood = np.empty((2, len(species), len(Rank)))
    right = np.empty(confidence.shape, bool)
    for temperature in np.unique(temperatures):
        scorer, images = classifier.scorer(float(temperature)), np.flatnonzero(temperatures == temperature)
        log_likelihood[images] = _log_likelihood(scorer, features[images], species[images])
        names, true = scorer.names, scorer.names.starts(Rank.SPECIES)[species]
        for start in range(0, len(images), scorer.group_size):
            group = images[start : start + scorer.group_size]
            totals = scorer.totals(features[group])
            best, score = scorer.best_species(features[group], totals, 1)
            confidence[group, Rank.SPECIES.value] = score[:, 0]
            same = names.groups(Rank.SPECIES, best[:, 0]) == names.groups(Rank.SPECIES, true[group])
            right[group, Rank.SPECIES.value] = same
            for rank, sums in scorer.all_rank_sums(features[group], totals).items():
                confidence[group, rank.value] = sums.max(axis=0)
                right[group, rank.value] = sums.argmax(axis=0) == names.groups(rank, true[group])
    return Answers(confidence, right, log_likelihood)


def reliability(confidence: Float[np.ndarray, " n"], right: Bool[np.ndarray, " n"]) -> list[dict[str, float]]:
    """How often answers were right, by how sure they were: BINS equal bins of {"from", "to", "images", "confidence" and
    "accuracy" (means, 0 where there is no image)}.
    """
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    count = np.bincount(bins, minlength=BINS)
    of = np.maximum(count, 1)
    sure = np.bincount(bins, confidence, BINS) / of
    often = np.bincount(bins, right.astype(float), BINS) / of
    keys = ("from", "to", "images", "confidence", "accuracy")
    edges = np.arange(BINS + 1) / BINS
    return [
        dict(zip(keys, row))
        for row in zip(edges[:-1].tolist(), edges[1:].tolist(), count.tolist(), sure.tolist(), often.tolist())
    ]


def calibration_error(bins: Sequence[dict[str, float]]) -> float:
    """Expected calibration error: the mean of |accuracy - confidence| over images (Guo et al. 2017, equation 3)."""
    images = sum(row["images"] for row in bins)
    return sum(row["images"] * abs(row["accuracy"] - row["confidence"]) for row in bins) / max(images, 1)
