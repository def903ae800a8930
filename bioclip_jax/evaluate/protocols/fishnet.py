"""FishNet: diet, climate zone and water type of fishes, predicted from frozen embeddings by a small probe.

Data of Khan et al. 2023 (ICCV, "FishNet: A Large-scale Dataset and Benchmark for Fish Recognition, Detection,
and Functional Trait Prediction"); protocol of BioCLIP 2 (https://arxiv.org/abs/2505.23883).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, Float32

from bioclip_jax.errors import UserError
from bioclip_jax.intervals import wilson_interval
from bioclip_jax.predict.embedding import LabeledEmbeddings

from .base import ModelOutputs, Score, check_seeds

FEEDING_PATH = "FeedingPath"
TRAITS = (
    FEEDING_PATH,
    "Tropical",
    "Temperate",
    "Subtropical",
    "Boreal",
    "Polar",
    "freshwater",
    "saltwater",
    "brackish",
)
_FEEDING_PATHS = {"pelagic": 1.0, "benthic": 0.0}
_UNKNOWN = -1.0
# Applied to the logit, not the probability, as for the published figure.
_THRESHOLD = 0.5


@dataclass(frozen=True)
class FishNet:
    """Accuracy over nine binary traits; an image is correct if all nine are.

    seeds: one probe each. learning_rate: of the first 20 epochs. epochs: passes over the training images.
    Errors: UserError for invalid options.
    """

    name: ClassVar[str] = "fishnet"
    score: ClassVar[str] = "accuracy_with_dropout"
    also: ClassVar[Mapping[str, str]] = {"accuracy": "without dropout"}
    splits: ClassVar[tuple[str, ...]] = ("train", "test")
    # 2: the published figures are compared with the score with dropout.
    revision: ClassVar[int] = 2

    seeds: tuple[int, ...] = (0, 1, 2)
    learning_rate: float = 1e-4
    epochs: int = 50

    def __post_init__(self) -> None:
        check_probe_options(self.seeds, self.learning_rate, self.epochs)

    def __call__(self, sets: Mapping[str, LabeledEmbeddings], model: ModelOutputs) -> Score:
        """Train on "train", score "test", whose columns are TRAITS.

        Images with an unknown trait (empty, -1 or not a number) are skipped.

        Figures: "accuracy_with_dropout", the mean over seeds with dropout on, as in the reference's code,
          which never puts the probe into evaluation mode; its "std", "by_seed" and "interval" (over images);
          "accuracy", without dropout, with "accuracy_std", "accuracy_by_seed" and "accuracy_interval";
          "by_trait", without dropout; "n" and "n_train"; "unknown", skipped images by split.
        Errors: UserError for a missing column, an invalid value, and a split without a usable image.
        """
        from .probe import dropout_logits, fit_probe, logits

        parts, unknown = {}, {}
        for split in self.splits:
            targets = read_traits(sets[split])
            known = (targets != _UNKNOWN).all(axis=1)
            parts[split] = sets[split].features[known], targets[known]
            unknown[split] = int((~known).sum())
            if not known.any():
                raise UserError(
                    f"no image of the {split} split has all of {', '.join(TRAITS)}; give data that have them"
                )
        train, (features, targets) = parts["train"], parts["test"]
        params = fit_probe(*train, seeds=self.seeds, learning_rate=self.learning_rate, epochs=self.epochs)
        correct = self._correct(logits(params, features), targets)
        with_dropout = self._correct(dropout_logits(params, features, self.seeds), targets)
        figures: dict[str, Any] = {}
        for name, by_trait in (("accuracy_with_dropout", with_dropout), ("accuracy", correct)):
            prefix = "" if name == self.score else f"{name}_"
            hits = by_trait.all(axis=2)
            by_seed = hits.mean(axis=1)
            figures[name] = float(by_seed.mean())
            figures[f"{prefix}std"] = float(by_seed.std())
            figures[f"{prefix}by_seed"] = by_seed.tolist()
            figures[f"{prefix}interval"] = wilson_interval(round(hits.mean(axis=0).sum()), len(targets))
        by_trait = dict(zip(TRAITS, correct.mean(axis=(0, 1)).tolist()))
        figures |= {"by_trait": by_trait, "n": len(targets), "n_train": len(train[1]), "unknown": unknown}
        rates = targets.mean(axis=0).tolist()
        rows = [
            {"trait": trait, "accuracy": by_trait[trait], "true": rate} for trait, rate in zip(TRAITS, rates)
        ]
        return Score(figures, {"traits": rows})

    @staticmethod
    def _correct(
        logits: Float32[np.ndarray, "seeds n 9"], targets: Float32[np.ndarray, "n 9"]
    ) -> Bool[np.ndarray, "seeds n 9"]:
        return (logits > _THRESHOLD) == (targets > 0)


def check_probe_options(seeds: tuple[int, ...], learning_rate: float, epochs: int) -> None:
    """Raise UserError for options that no probe can be trained with."""
    check_seeds(seeds)
    if not learning_rate > 0:
        raise UserError(f"the learning rate is {learning_rate}; give a number above 0")
    if epochs < 1:
        raise UserError(f"the number of epochs is {epochs}; give 1 or more")


def read_traits(data: LabeledEmbeddings) -> Float32[np.ndarray, "n 9"]:
    """Return the traits of each image in the order of TRAITS: 1, 0, or -1 for unknown.

    Raises UserError for a missing column or an invalid value.
    """
    columns = []
    for trait in TRAITS:
        read = _read_feeding_path if trait == FEEDING_PATH else _read_flag
        column = []
        for sample, value in zip(data.samples, data.column(trait)):
            number = _UNKNOWN if _is_unknown(value) else read(value)
            if number is None:
                wanted = "pelagic or benthic" if trait == FEEDING_PATH else "1 or 0"
                raise UserError(
                    f"{trait} of image {sample.key} is {value!r}; give {wanted}, or leave it empty"
                )
            column.append(number)
        columns.append(column)
    return np.array(columns, np.float32).T


def _is_unknown(value: Any) -> bool:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return not str(value).strip()
    return number == _UNKNOWN or np.isnan(number)


def _read_feeding_path(value: Any) -> float | None:
    return _FEEDING_PATHS.get(str(value).strip().lower())


def _read_flag(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if number in (0, 1) else None
