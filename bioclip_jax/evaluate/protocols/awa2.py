"""Animals with Attributes 2: 85 attributes, predicted for species outside the probe's training data.

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
from bioclip_jax.evaluate.metrics import f1_scores, resampled_macro_f1
from bioclip_jax.intervals import bootstrap_interval
from bioclip_jax.predict.embedding import LabeledEmbeddings

from .base import ModelOutputs, Score
from .fishnet import check_probe_options

_COLUMN = "attributes"
# Applied to the logit, not the probability, as for the published figure.
_THRESHOLD = 0.5


@dataclass(frozen=True)
class AwA2:
    """Macro F1 over the attributes of each animal.

    seeds: one probe each. learning_rate: of the first 20 epochs. epochs: passes over the training images.
    Errors: UserError for invalid options.
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

    def __call__(self, sets: Mapping[str, LabeledEmbeddings], model: ModelOutputs) -> Score:
        """Train on "train", score "test"; the column "attributes" has a string of one 1 or 0 per attribute.

        Figures: "f1_reference_with_dropout", the mean over seeds of the F1 of the first two attributes, with
          dropout on: the reference's code passes the values 0 and 1 to scikit-learn as the labels to average
          over, which selects the first two columns, and never puts the probe into evaluation mode;
          "f1_reference", without dropout; "macro_f1_with_dropout" and "macro_f1", over all attributes. Each
          has "std", "by_seed" and "interval" (over images, the mean over seeds resampled), prefixed by its
          name except for the first. "n", "n_train", "attributes".
        Errors: UserError for a missing column, and strings with other characters or of different lengths.
        """
        from .probe import dropout_logits, fit_probe, logits

        train, true = (read_attributes(sets[split]) for split in self.splits)
        if train.shape[1] != true.shape[1]:
            raise UserError(
                f"the train split has {train.shape[1]} attributes, the test split {true.shape[1]};"
                " give splits of one data set"
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
        # If all attributes of all images are equal, the reference selects only one column.
        columns = {"f1_reference": np.unique(true).astype(int), "macro_f1": np.arange(true.shape[1])}
        figures: dict[str, Any] = {}
        for (metric, chosen), (mode, by_seed) in itertools.product(columns.items(), predicted.items()):
            name = metric + mode
            prefix = "" if name == self.score else f"{name}_"
            scores = np.array([f1_scores(true, one_seed)[chosen].mean() for one_seed in by_seed])
            figures[name] = float(scores.mean())
            figures[f"{prefix}std"] = float(scores.std())
            figures[f"{prefix}by_seed"] = scores.tolist()
            figures[f"{prefix}interval"] = bootstrap_interval(
                resampled_macro_f1(true[:, chosen], by_seed[:, :, chosen]), len(true)
            )
        scores = np.mean([f1_scores(true, one_seed) for one_seed in predicted[""]], axis=0)
        figures |= {"n": len(true), "n_train": len(train), "attributes": true.shape[1]}
        rows = [
            {"attribute": number, "f1": float(f1), "true": float(share)}
            for number, (f1, share) in enumerate(zip(scores, true.mean(axis=0)))
        ]
        return Score(figures, {"attributes": rows})


def read_attributes(data: LabeledEmbeddings) -> Bool[np.ndarray, "n attributes"]:
    """Return the attributes of each image. Raises UserError as AwA2."""
    rows = []
    for sample, value in zip(data.samples, data.column(_COLUMN)):
        text = value.strip() if isinstance(value, str) else str(value)
        if len(text) < 2 or set(text) - {"0", "1"}:
            raise UserError(
                f"{_COLUMN} of image {sample.key} is {value!r};"
                " give a string of one 1 or 0 for each of two or more attributes"
            )
        if rows and len(text) != len(rows[0]):
            raise UserError(
                f"image {sample.key} has {len(text)} {_COLUMN}, earlier images {len(rows[0])}; "
                "give each the same number"
            )
        rows.append([character == "1" for character in text])
    return np.array(rows)
