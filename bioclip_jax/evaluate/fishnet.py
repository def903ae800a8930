"""FishNet: what a fish eats, where and in what water it lives, told from frozen vectors by a small probe.

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
from bioclip_jax.predict.embedding import LabeledEmbeddings

from .intervals import share_interval
from .protocol import Score, Towers

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
# Of the logit, not of the probability: the published figure was reached with this.
_THRESHOLD = 0.5


@dataclass(frozen=True)
class FishNet:
    """Nine yes-or-no traits of each fish; an image counts as right if all nine are.

    seeds: one probe each. learning_rate: of the first 20 epochs. epochs: rounds over the train images.
    Errors: UserError for options that make no sense.
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

    def __call__(self, sets: Mapping[str, LabeledEmbeddings], towers: Towers) -> Score:
        """Train on "train", score "test"; the data's columns are those of TRAITS. Images with a trait unknown (empty,
        -1 or not a number) are left out.

        Figures: "accuracy_with_dropout", the mean over seeds where dropout stays on, as in the reference's
          code, which never puts the probe into evaluation mode; its "std", "by_seed" and "interval" (over
          images); "accuracy", without dropout, with "accuracy_std", "accuracy_by_seed" and
          "accuracy_interval"; "by_trait", without dropout; "n" and "n_train"; "unknown", images left out, by
          part.
        Errors: UserError for a missing column, a value that is none of a trait, and a part without an image.
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
                    f"no image of the {split} part has all of {', '.join(TRAITS)}; give data that have them"
                )
        train, (features, targets) = parts["train"], parts["test"]
        params = fit_probe(*train, seeds=self.seeds, learning_rate=self.learning_rate, epochs=self.epochs)
        right = self._right(logits(params, features), targets)
        with_dropout = self._right(dropout_logits(params, features, self.seeds), targets)
        figures: dict[str, Any] = {}
        for name, answers in (("accuracy_with_dropout", with_dropout), ("accuracy", right)):
            prefix = "" if name == self.score else f"{name}_"
            hits = answers.all(axis=2)
            by_seed = hits.mean(axis=1)
            figures[name] = float(by_seed.mean())
            figures[f"{prefix}std"] = float(by_seed.std())
            figures[f"{prefix}by_seed"] = by_seed.tolist()
            figures[f"{prefix}interval"] = share_interval(round(hits.mean(axis=0).sum()), len(targets))
        by_trait = dict(zip(TRAITS, right.mean(axis=(0, 1)).tolist()))
        figures |= {"by_trait": by_trait, "n": len(targets), "n_train": len(train[1]), "unknown": unknown}
        rates = targets.mean(axis=0).tolist()
        rows = [
            {"trait": trait, "accuracy": by_trait[trait], "true": rate} for trait, rate in zip(TRAITS, rates)
        ]
        return Score(figures, {"traits": rows})

    @staticmethod
    def _right(
        answers: Float32[np.ndarray, "seeds n 9"], targets: Float32[np.ndarray, "n 9"]
    ) -> Bool[np.ndarray, "seeds n 9"]:
        return (answers > _THRESHOLD) == (targets > 0)


def check_probe_options(seeds: tuple[int, ...], learning_rate: float, epochs: int) -> None:
    """UserError for what no probe can be trained with."""
    if not seeds or min(seeds) < 0 or max(seeds) >= 2**32 or len(set(seeds)) < len(seeds):
        raise UserError(f"seeds {list(seeds)} do not do; give one or more from 0 to 2**32 - 1, each once")
    if not learning_rate > 0:
        raise UserError(f"learning rate {learning_rate} does not do; give a number above 0")
    if epochs < 1:
        raise UserError(f"{epochs} epochs are none; give 1 or more")


def read_traits(data: LabeledEmbeddings) -> Float32[np.ndarray, "n 9"]:
    """The traits of each image, in the order of TRAITS: 1, 0, or -1 where it is unknown.

    UserError for a missing column, and a value that is none of the trait.
    """
    columns = []
    for trait in TRAITS:
        read = _read_feeding_path if trait == FEEDING_PATH else _read_flag
        column = []
        for sample, value in zip(data.samples, data.column(trait)):
            found = _UNKNOWN if _is_unknown(value) else read(value)
            if found is None:
                wanted = "pelagic or benthic" if trait == FEEDING_PATH else "1 or 0"
                raise UserError(
                    f"{trait} of image {sample.key} is {value!r}; give {wanted}, or leave it empty"
                )
            column.append(found)
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
