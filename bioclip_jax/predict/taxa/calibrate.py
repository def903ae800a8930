"""Fit a softmax temperature on labeled images, validated by cross-validation (`taxa calibrate`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from bioclip_jax.convert import model_files
from bioclip_jax.errors import UserError
from bioclip_jax.files import check_outputs, json_text, write_text
from bioclip_jax.intervals import bootstrap_interval, wilson_interval
from bioclip_jax.pipeline.sources import Source, data_files, open_source
from bioclip_jax.predict.classifiers import TreeOfLifeClassifier
from bioclip_jax.predict.crop import row_box
from bioclip_jax.predict.inputs import ImageFile
from bioclip_jax.predict.progress import track
from bioclip_jax.predict.rank import Rank
from bioclip_jax.predict.reviewed_sample import sample_caution
from bioclip_jax.text import Taxon, clean_text

from .names import TaxaNames
from .reliability import calibration_error, draw_reliability, error_interval, reliability_bins
from .score import TaxaScorer

FOLDS = 5
_MIN_TEMPERATURE, _MAX_TEMPERATURE, _STEPS = 1 / 32, 32.0, 21
# Temperatures among which a bootstrap chooses, 2 % apart.
_BOOTSTRAP_STEPS = 351
# Fewer images do not determine the accuracy.
_MIN_IMAGES = 20
# Fewer images determine neither the temperature nor the error well; with this many, the accuracy is known to
# within 7 %.
ENOUGH_IMAGES = 200
# Index of a species whose name is unknown or shared by several species.
_AMBIGUOUS = -1


def calibrate_temperature(
    data: str, classifier: TreeOfLifeClassifier, output: Path, *, plot: Path | None = None
) -> dict[str, Any]:
    """Fit a softmax temperature to labeled images (`data` as open_source), and write it as JSON.

    Candidates are the taxa that the classifier has selected, and images of other species are skipped: fewer
    candidates are confused less often, and another temperature fits them.

    The temperature minimizes the negative log-likelihood of the true taxon (Guo et al. 2017,
    https://arxiv.org/abs/1706.04599), averaged over the ranks, since one temperature applies to all of them
    and one fitted to species alone can harm higher ranks. Unless it improves the likelihood of held-out folds
    by more than one standard error, the temperature written is 1.

    Returns, and writes to `output`: "temperature", "fitted_temperature" (of all images) and its 95 %
      "temperature_interval" (bootstrap), "improves", "fingerprint" of the model, "transform" of the images,
      "precision", "taxa" (file of the embeddings), "prior" (path and digest, or None), "candidates" (number
      of species), "images", "left_out" (unreadable ones and those of other species), "caution" (of
      sample_caution, or None), "gain" (of the mean log-likelihood) and its standard error "gain_error";
      "before" and "after", at temperature 1 and at each image's held-out temperature, each {"accuracy" of the
      species with its "interval" (Wilson), "nll" (mean over ranks), "nll_by_rank", "ece": {rank: expected
      calibration error}, "ece_interval" (of the species; bootstrap), "reliability": reliability_bins of the
      species}; "confusion" of the best species, which no temperature changes: {"species": [NAME, ...],
      "counts": [[true, predicted, images], ...]} by positions among the species. `plot`: file for a
      reliability diagram.
    Errors: UserError for absent data and for too few usable images.
    """
    read = {"labeled data": data_files(data), "the taxa embeddings": classifier.head.path}
    read |= {"part of the model": model_files(classifier.model.directory)}
    check_outputs({"--output": output, "--plot": plot}, read)
    source = open_source(data, split="test")
    features, rows = _features(source, classifier)
    if len(rows) < _MIN_IMAGES:
        raise UserError(
            f"only {len(rows)} of the {len(source)} images of {data} are readable and of a candidate "
            f"species; give at least {_MIN_IMAGES}"
        )
    # Random, independent of the order of the data, and reproducible.
    folds = np.random.default_rng(0).permutation(np.arange(len(rows)) % FOLDS)
    likelihood = Likelihood(classifier, features, rows)
    fitted = likelihood.fit()
    held_out = np.array([likelihood.fit(folds != fold) for fold in range(FOLDS)])
    before = _predict(classifier, features, rows, np.ones(len(rows)))
    after = _predict(classifier, features, rows, held_out[folds])
    gain = (after.log_likelihood - before.log_likelihood).mean(axis=1)
    error = float(gain.std(ddof=1) / np.sqrt(len(gain)))
    improves = bool(gain.mean() > error)
    result = {
        "temperature": round(fitted, 4) if improves else 1.0,
        "fitted_temperature": round(fitted, 4),
        "temperature_interval": likelihood.interval(),
        "improves": improves,
        "fingerprint": classifier.model.fingerprint,
        "transform": classifier.model.transform,
        "precision": classifier.model.precision,
        "taxa": str(classifier.head.path),
        "prior": None if classifier.prior is None else classifier.prior.settings,
        "candidates": len(classifier.names.starts(Rank.SPECIES)),
        "images": len(rows),
        "left_out": len(source) - len(rows),
        "caution": sample_caution(source.column) if hasattr(source, "column") else None,
        "gain": float(gain.mean()),
        "gain_error": error,
        "before": before.figures(),
        "after": after.figures(),
        "confusion": _confusion(classifier.names, rows, after.species),
    }
    write_text(output, json_text(result, indent=2) + "\n")
    if plot is not None:
        draw_reliability(result, plot)
    return result


def calibration_warnings(result: dict[str, Any]) -> list[str]:
    """Return warnings about a result of calibrate_temperature, one line each."""
    before, after, fitted = result["before"], result["after"], result["fitted_temperature"]
    cautions = [result["caution"]] if result.get("caution") else []
    if result["images"] < ENOUGH_IMAGES:
        low, high = result["temperature_interval"]
        cautions.append(
            f"only {result['images']} images: give at least {ENOUGH_IMAGES}; the temperature is known to lie "
            f"between {low:.3g} and {high:.3g} (95 % interval)"
        )
    if not result["improves"]:
        return cautions + [
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
        return cautions
    return cautions + [
        f"at some ranks the temperature makes held-out images less likely: {', '.join(worse)}; on average it "
        "helps"
    ]


def _features(
    source: Source, classifier: TreeOfLifeClassifier
) -> tuple[Float32[np.ndarray, "n dim"], Int[np.ndarray, " n"]]:
    """Return unit vectors of the usable images, and indices of their species in names.starts(SPECIES)."""
    species_by_name = _species_by_name(classifier.names)
    wanted: list[int] = []

    def images() -> Iterator[ImageFile]:
        for index in track(range(len(source)), "encoding images", len(source)):
            try:
                sample = source[index]
            except (OSError, ValueError):
                continue
            taxon = sample.taxon or Taxon()
            # A reviewer may have typed a name without its ranks.
            name = taxon.scientific_name if taxon.species else clean_text(sample.metadata.get("label"))
            by_name = species_by_name.get(name, _AMBIGUOUS)
            species = species_by_name.get(taxon.lineage(), by_name)
            if species != _AMBIGUOUS:
                box = row_box(sample.metadata, f"the row of {sample.key}")
                wanted.append(species)
                yield ImageFile(sample.key, "", content=sample.image, box=box)

    parts, species = [], []
    for indices, features in classifier.model.embedder.stream(images(), lambda index, problem: None):
        parts.append(features)
        species.extend(wanted[index] for index in indices)
    dim = classifier.model.embedder.embed_dim
    return np.concatenate(parts) if parts else np.empty((0, dim), np.float32), np.array(species, np.int64)


def _species_by_name(names: TaxaNames) -> dict[Any, int]:
    """Return the index of each species by its lineage, and by its name if that is unique."""
    species: dict[Any, int] = {}
    for index, row in enumerate(names.starts(Rank.SPECIES).tolist()):
        taxon = names.taxon(row)
        species[taxon.lineage()] = index
        species[taxon.scientific_name] = _AMBIGUOUS if taxon.scientific_name in species else index
    return species


class Likelihood:
    """Mean log-likelihood over ranks of each image's true taxon, as a smooth function of the temperature.

    Computed at steps of half an octave and interpolated by cubic splines, so that all fits together cost the
    same passes over the embeddings as one.
    """

    def __init__(
        self,
        classifier: TreeOfLifeClassifier,
        features: Float32[np.ndarray, "n dim"],
        species: Int[np.ndarray, " n"],
    ) -> None:
        from scipy.interpolate import CubicSpline

        steps = np.linspace(np.log(_MIN_TEMPERATURE), np.log(_MAX_TEMPERATURE), _STEPS)
        values = [
            _log_likelihood(classifier.scorer(float(np.exp(step))), features, species).mean(axis=1)
            for step in track(steps, "fitting", _STEPS)
        ]
        self._spline, self._bounds = CubicSpline(steps, np.array(values)), (steps[0], steps[-1])

    def fit(self, among: Bool[np.ndarray, " n"] | None = None) -> float:
        """Return the temperature that maximizes the mean log-likelihood of the images `among` (None: all)."""
        from scipy.optimize import minimize_scalar

        def nll(log_temperature: float) -> float:
            values = self._spline(log_temperature)
            return float(-(values if among is None else values[among]).mean())

        # The mean may have several maxima; search around the best step.
        steps = np.linspace(*self._bounds, 8 * _STEPS)
        best = min(steps, key=nll)
        width = steps[1] - steps[0]
        bounds = (max(self._bounds[0], best - width), min(self._bounds[1], best + width))
        return float(np.exp(minimize_scalar(nll, bounds=bounds, method="bounded", options={"xatol": 1e-4}).x))

    def interval(self) -> list[float] | None:
        """Return the 95 % interval of the temperature of all images, by a bootstrap over them."""
        steps = np.linspace(*self._bounds, _BOOTSTRAP_STEPS)
        values = self._spline(steps).astype(np.float32)

        def best(drawn: Int[np.ndarray, " n"]) -> float:
            return float(np.exp(steps[(values @ drawn.astype(np.float32)).argmax()]))

        return bootstrap_interval(best, values.shape[1], draws=500)


def _log_likelihood(
    scorer: TaxaScorer, features: Float32[np.ndarray, "n dim"], species: Int[np.ndarray, " n"]
) -> Float[np.ndarray, "n ranks"]:
    """Return log p of each image's taxon at each rank, highest first; duplicates of a species add up."""
    names = scorer.names
    starts = names.starts(Rank.SPECIES)
    ends = np.append(starts, len(names))
    result = np.empty((len(species), len(Rank)))
    for start in range(0, len(species), scorer.group_size):
        group = np.arange(start, min(start + scorer.group_size, len(species)))
        totals = scorer.totals(features[group])
        for position, image in enumerate(group):
            rows = np.arange(ends[species[image]], ends[species[image] + 1])
            logits = scorer.logits(rows, features[image]).astype(np.float64)
            value = np.logaddexp.reduce(logits) - totals.largest[position] - np.log(totals.sum[position])
            result[image, Rank.SPECIES.value] = value
        for rank, sums in scorer.all_rank_sums(features[group], totals, min_prob=0.0).items():
            true_sums = sums[names.groups(rank, starts[species[group]]), np.arange(len(group))]
            # Small sums underflow float32, but none is below its species' probability.
            with np.errstate(divide="ignore"):
                result[group, rank.value] = np.maximum(np.log(true_sums), result[group, Rank.SPECIES.value])
    return np.minimum(result, 0)


@dataclass(frozen=True)
class Predictions:
    """Predictions by image and rank, highest rank first.

    confidence: probability of the best taxon. correct: its correctness. log_likelihood: of the true taxon.
    species: the best one, as an index in names.starts(SPECIES).
    """

    confidence: Float[np.ndarray, "n ranks"]
    correct: Bool[np.ndarray, "n ranks"]
    log_likelihood: Float[np.ndarray, "n ranks"]
    species: Int[np.ndarray, " n"]

    def figures(self) -> dict[str, Any]:
        """Return "before" or "after" of calibrate_temperature's result."""
        bins = {
            rank.get_label(): reliability_bins(self.confidence[:, rank.value], self.correct[:, rank.value])
            for rank in Rank
        }
        nll = {rank.get_label(): float(-self.log_likelihood[:, rank.value].mean()) for rank in Rank}
        confidence, correct = self.confidence[:, Rank.SPECIES.value], self.correct[:, Rank.SPECIES.value]
        return {
            "accuracy": float(correct.mean()),
            "interval": wilson_interval(int(correct.sum()), len(correct)),
            "ece_interval": error_interval(confidence, correct),
            "nll": float(np.mean(list(nll.values()))),
            "nll_by_rank": nll,
            "ece": {rank: calibration_error(rank_bins) for rank, rank_bins in bins.items()},
            "reliability": bins[Rank.SPECIES.get_label()],
        }


def _predict(
    classifier: TreeOfLifeClassifier,
    features: Float32[np.ndarray, "n dim"],
    species: Int[np.ndarray, " n"],
    temperatures: Float[np.ndarray, " n"],
) -> Predictions:
    """Predict images, each at its own temperature out of a few."""
    confidence, log_likelihood = np.empty((2, len(species), len(Rank)))
    correct, predicted = np.empty(confidence.shape, bool), np.empty(len(species), np.int64)
    for temperature in np.unique(temperatures):
        scorer, images = classifier.scorer(float(temperature)), np.flatnonzero(temperatures == temperature)
        log_likelihood[images] = _log_likelihood(scorer, features[images], species[images])
        names, true = scorer.names, scorer.names.starts(Rank.SPECIES)[species]
        for start in range(0, len(images), scorer.group_size):
            group = images[start : start + scorer.group_size]
            totals = scorer.totals(features[group])
            best, score = scorer.best_species(features[group], totals, 1)
            confidence[group, Rank.SPECIES.value] = score[:, 0]
            predicted[group] = names.groups(Rank.SPECIES, best[:, 0])
            correct[group, Rank.SPECIES.value] = predicted[group] == species[group]
            for rank, sums in scorer.all_rank_sums(features[group], totals).items():
                confidence[group, rank.value] = sums.max(axis=0)
                correct[group, rank.value] = sums.argmax(axis=0) == names.groups(rank, true[group])
    return Predictions(confidence, correct, log_likelihood, predicted)


def _confusion(
    names: TaxaNames, true: Int[np.ndarray, " n"], predicted: Int[np.ndarray, " n"]
) -> dict[str, list[Any]]:
    """Count pairs of species (indices in names.starts(SPECIES)), by scientific name."""
    starts = names.starts(Rank.SPECIES)
    listed, index = np.unique(np.concatenate([true, predicted]), return_inverse=True)
    name_of = np.array([names.taxon(int(starts[species])).scientific_name for species in listed])
    # Species of the same name in several lineages count as one.
    species, by_name = np.unique(name_of, return_inverse=True)
    pairs, counts = np.unique(by_name[index].reshape(2, -1), axis=1, return_counts=True)
    return {"species": species.tolist(), "counts": np.vstack([pairs, counts]).T.tolist()}
