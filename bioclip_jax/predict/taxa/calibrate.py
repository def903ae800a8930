"""The verb `taxa calibrate`: the temperature at which scores are as often right as they say."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from bioclip_jax.convert.load import model_files
from bioclip_jax.errors import UserError
from bioclip_jax.files import check_outputs, written_beside
from bioclip_jax.pipeline.sources import Source, open_source
from bioclip_jax.pipeline.sources.open import data_files
from bioclip_jax.predict.classifiers.tree_of_life import TreeOfLifeClassifier
from bioclip_jax.predict.progress import track
from bioclip_jax.predict.rank import Rank
from bioclip_jax.predict.taxa.names import TaxaNames
from bioclip_jax.predict.taxa.score import TaxaScorer

BINS = 15
_COOLEST, _HOTTEST = 1 / 32, 32.0
# Fewer images than this say little about how often an answer is right.
_FEWEST = 20
# In place of a species' number, where several have the name or none has.
_AMBIGUOUS = -1


def calibrate(data: str, classifier: TreeOfLifeClassifier, output: Path, *, plot: Path | None = None) -> dict[str, Any]:
    """Fit the temperature to labelled images (`data` as open_source), and write it as JSON.

    The temperature minimises the mean negative log-likelihood of the right species (Guo et al. 2017,
    https://arxiv.org/abs/1706.04599) on half of the images; the figures are of the others, which it has not seen.

    Returns, and writes to `output`: "temperature", "fingerprint" of the model, "taxa" (the head's file), "fitted_on",
      "measured_on", "left_out" (images that cannot be read or whose species is not among the taxa), and "before" and
      "after", each {"accuracy", "nll", "ece": {rank: expected calibration error}, "reliability": of the species,
      BINS rows of {"from", "to", "images", "confidence", "accuracy"}}. `plot`: a picture of the last.
    Errors: UserError for data that is not there or has too few usable images.
    """
    read = {"labelled data": data_files(data), "the head of taxa": classifier.head.path}
    read |= {"part of the model": model_files(classifier.model.directory)}
    check_outputs({"--output": output, "--plot": plot}, read)
    source = open_source(data, split="test")
    features, rows = _features(source, classifier)
    left_out = len(source) - len(rows)
    if len(rows) < _FEWEST:
        raise UserError(
            f"only {len(rows)} of the {len(source)} images of {data} can be read and are of a species of the taxa;"
            f" give at least {_FEWEST}"
        )
    # By chance, whatever order the data have, and the same each time.
    order = np.random.default_rng(0).permutation(len(rows))
    fit, rest = order[::2], order[1::2]
    scorer = classifier.scorer(1.0)
    temperature = _fit(scorer, features[fit], rows[fit])
    result = {
        "temperature": round(temperature, 4),
        "fingerprint": classifier.model.fingerprint,
        "taxa": str(classifier.head.path),
        "fitted_on": len(rows[fit]),
        "measured_on": len(rows[rest]),
        "left_out": left_out,
        "before": _measure(scorer, features[rest], rows[rest]),
        "after": _measure(classifier.scorer(temperature), features[rest], rows[rest]),
    }
    with written_beside(output) as path:
        path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    if plot is not None:
        from bioclip_jax.predict.taxa.reliability_plot import draw

        draw(result, plot)
    return result


def read_temperature(text: str, fingerprint: str) -> float:
    """A temperature: a number, or a file that `calibrate` wrote for the model of that fingerprint. UserError if it is
    neither."""
    try:
        return float(text)
    except ValueError:
        pass
    try:
        content = json.loads(Path(text).read_text(encoding="utf-8"))
        temperature, of = float(content["temperature"]), content["fingerprint"]
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"--temperature {text} is no number and no file of `bioclip-jax taxa calibrate`") from None
    if of != fingerprint:
        raise UserError(f"{text} was fitted to another model; fit one to this with `bioclip-jax taxa calibrate`")
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


def _fit(scorer: TaxaScorer, features: Float32[np.ndarray, "n dim"], species: Int[np.ndarray, " n"]) -> float:
    from scipy.optimize import minimize_scalar

    scale = scorer.logit_scale

    def nll(log_temperature: float) -> float:
        scorer.logit_scale = scale / float(np.exp(log_temperature))
        return float(-np.mean(_log_likelihood(scorer, features, species)))

    bounds = (np.log(_COOLEST), np.log(_HOTTEST))
    found = minimize_scalar(nll, bounds=bounds, method="bounded", options={"xatol": 1e-3})
    scorer.logit_scale = scale
    return float(np.exp(found.x))


def _log_likelihood(
    scorer: TaxaScorer, features: Float32[np.ndarray, "n dim"], species: Int[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """log p of each image's species; one that is there twice has the sum of both."""
    ends = np.append(scorer.names.starts(Rank.SPECIES), len(scorer.names))
    found = np.empty(len(species))
    for start in range(0, len(species), scorer.group_size):
        group = range(start, min(start + scorer.group_size, len(species)))
        totals = scorer.totals(features[group])
        for place, image in enumerate(group):
            rows = np.arange(ends[species[image]], ends[species[image] + 1])
            logits = scorer.logits_of(rows, features[image]).astype(np.float64)
            found[image] = np.logaddexp.reduce(logits) - totals.largest[place] - np.log(totals.sum[place])
    return found


def _measure(
    scorer: TaxaScorer, features: Float32[np.ndarray, "n dim"], species: Int[np.ndarray, " n"]
) -> dict[str, Any]:
    names = scorer.names
    rows = names.starts(Rank.SPECIES)[species]
    confidence: dict[Rank, list[np.ndarray]] = {rank: [] for rank in Rank}
    right: dict[Rank, list[np.ndarray]] = {rank: [] for rank in Rank}
    for start in range(0, len(rows), scorer.group_size):
        part, true = features[start : start + scorer.group_size], rows[start : start + scorer.group_size]
        totals = scorer.totals(part)
        best, score = scorer.best_species(part, totals, 1)
        confidence[Rank.SPECIES].append(score[:, 0])
        right[Rank.SPECIES].append(names.groups(Rank.SPECIES, best[:, 0]) == names.groups(Rank.SPECIES, true))
        for rank, sums in scorer.all_rank_sums(part, totals).items():
            confidence[rank].append(sums.max(axis=0))
            right[rank].append(sums.argmax(axis=0) == names.groups(rank, true))
    of_rank = {rank: (np.concatenate(confidence[rank]), np.concatenate(right[rank])) for rank in Rank}
    return {
        "accuracy": float(of_rank[Rank.SPECIES][1].mean()),
        "nll": float(-_log_likelihood(scorer, features, species).mean()),
        "ece": {rank.get_label(): calibration_error(reliability(*of_rank[rank])) for rank in Rank},
        "reliability": reliability(*of_rank[Rank.SPECIES]),
    }


def reliability(confidence: Float[np.ndarray, " n"], right: Bool[np.ndarray, " n"]) -> list[dict[str, float]]:
    """How often answers were right, by how sure they were: BINS equal bins of {"from", "to", "images", "confidence" and
    "accuracy" (means, 0 where there is no image)}."""
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
