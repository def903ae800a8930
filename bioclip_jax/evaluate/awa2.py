"""Animals with Attributes 2: 85 properties of animals that the probe has seen no animal of.

Data of Xian et al. 2019 (https://arxiv.org/abs/1707.00600); protocol of BioCLIP 2
(https://arxiv.org/abs/2505.23883).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool

from bioclip_jax.errors import UserError
from bioclip_jax.predict.embedding import LabeledEmbeddings

from .f1 import f1_scores, resampled_macro_f1
from .fishnet import check_probe_options
from .intervals import bootstrap_interval
from .protocol import Score, Towers

_COLUMN = "attributes"
# Of the logit, not of the probability: the published figure was reached with this.
_THRESHOLD = 0.5


@dataclass(frozen=True)
class AwA2:
    """The attributes of each animal, scored by macro F1.

    seeds: one probe each. learning_rate: of the first 20 epochs. epochs: rounds over the train images.
    Errors: UserError for options that make no sense.
    """

    name: ClassVar[str] = "awa2"
    score: ClassVar[str] = "f1_reference_with_dropout"
    also: ClassVar[Mapping[str, str]] = {
        "f1_reference": "without dropout",
        "macro_f1_with_dropout": "all attributes",
        "macro_f1": "all attributes, without dropout",
    }
    splits: ClassVar[tuple[str, ...]] = ("train", "test")
    # 2: the published figures are compared with the score with dropout.
    revision: ClassVar[int] = 2

    seeds: tuple[int, ...] = (0, 1, 2)
    learning_rate: float = 1e-5
    epochs: int = 50

    def __post_init__(self) -> None:
        check_probe_options(self.seeds, self.learning_rate, self.epochs)

    def __call__(self, sets: Mapping[str, LabeledEmbeddings], towers: Towers) -> Score:
        """Train on "train", score "test"; the column "attributes" has a 1 or 0 for each attribute, as one text.

        Figures: "f1_reference_with_dropout", the mean over seeds of the F1 of the first two attributes alone,
          dropout still on: the reference's code hands scikit-learn the values 0 and 1 as the labels to
          average over, which takes them as columns, and never puts the probe into evaluation mode;
          "f1_reference", without dropout; "macro_f1_with_dropout" and "macro_f1", over all attributes. Of
          each "std", "by_seed" and "interval" (over images, the mean over seeds resampled), those of the
          first without a prefix, those of the others under names that begin with theirs. "n", "n_train",
          "attributes".
        Errors: UserError for a missing column, and texts of other characters or of different lengths.
        """
        from .probe import dropout_logits, fit_probe, logits

        train, true = (read_attributes(sets[split]) for split in self.splits)
        if train.shape[1] != true.shape[1]:
            raise UserError(
                f"the train part has {train.shape[1]} attributes, the test part {true.shape[1]};"
                " give parts of one data set"
            )
        params = fit_probe(
            sets["train"].features,
            train,
            seeds=self.seeds,
            learning_rate=self.learning_rate,
            epochs=self.epochs,
        )
        features = sets["test"].features
        predicted = {
            "_with_dropout": dropout_logits(params, features, self.seeds) > _THRESHOLD,
            "": logits(params, features) > _THRESHOLD,
        }
        # Where all attributes of all images are equal, there is but one label.
        columns = {"f1_reference": np.unique(true).astype(int), "macro_f1": np.arange(true.shape[1])}
        figures: dict[str, Any] = {}
        for (metric, chosen), (dropout, answers) in itertools.product(columns.items(), predicted.items()):
            name = metric + dropout
            prefix = "" if name == self.score else f"{name}_"
            by_seed = np.array([f1_scores(true, of_seed)[chosen].mean() for of_seed in answers])
            figures[name] = float(by_seed.mean())
            figures[f"{prefix}std"] = float(by_seed.std())
            figures[f"{prefix}by_seed"] = by_seed.tolist()
            figures[f"{prefix}interval"] = bootstrap_interval(
                resampled_macro_f1(true[:, chosen], answers[:, :, chosen]), len(true)
            )
        scores = np.mean([f1_scores(true, of_seed) for of_seed in predicted[""]], axis=0)
        figures |= {"n": len(true), "n_train": len(train), "attributes": true.shape[1]}
        rows = [
            {"attribute": number, "f1": float(f1), "true": float(share)}
            for number, (f1, share) in enumerate(zip(scores, true.mean(axis=0)))
        ]
        return Score(figures, {"attributes": rows})


def read_attributes(data: LabeledEmbeddings) -> Bool[np.ndarray, "n attributes"]:
    """The attributes of each image. UserError as AwA2."""
    rows = []
    for sample, value in zip(data.samples, data.column(_COLUMN)):
        text = value.strip() if isinstance(value, str) else str(value)
        if len(text) < 2 or set(text) - {"0", "1"}:
            raise UserError(
                f"{_COLUMN} of image {sample.key} is {value!r};"
                " give a 1 or 0 for each of two or more attributes, as one text"
            )
        if rows and len(text) != len(rows[0]):
            raise UserError(
                f"image {sample.key} has {len(text)} {_COLUMN}, those before it {len(rows[0])}; give each "
                f"as many"
            )
        rows.append([character == "1" for character in text])
    return np.array(rows)
