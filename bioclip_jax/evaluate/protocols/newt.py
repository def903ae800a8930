"""NeWT: 164 binary tasks on natural images, one support vector machine each (https://arxiv.org/abs/2103.16483).

Protocol of BioCLIP 2 (https://arxiv.org/abs/2505.23883): center embeddings by a task's training mean,
normalize them, choose the SVM by a random search of 100 draws, and report the accuracy over the test images
of all tasks together, averaged over three seeds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from bioclip_jax.errors import UserError
from bioclip_jax.intervals import wilson_interval
from bioclip_jax.predict import track
from bioclip_jax.predict.embedding import LabeledEmbeddings, unit

from .base import ModelOutputs, Score

KERNELS = ("rbf", "linear", "sigmoid", "poly")
FOLDS = 5
_DEGREE = 3  # scikit-learn's default for the polynomial kernel


@dataclass(frozen=True)
class NeWT:
    """Accuracy over all tasks.

    draws: settings tried per task. seeds: of the search, one run each. jobs: processes (None: one per core).
    """

    name: ClassVar[str] = "newt"
    score: ClassVar[str] = "top1"
    splits: ClassVar[tuple[str, ...]] = ("train", "test")

    draws: int = 100
    seeds: tuple[int, ...] = (0, 1, 2)
    jobs: int | None = None

    def __post_init__(self) -> None:
        if self.draws < 1 or not self.seeds:
            raise UserError(f"newt with {self.draws} draws and seeds {self.seeds}; give at least one of each")

    def __call__(self, sets: Mapping[str, LabeledEmbeddings], model: ModelOutputs) -> Score:
        """Train on "train", score "test", whose columns are "task", "task_cluster" and "label".

        Figures: "top1" (mean over seeds), "std", "seeds" (accuracy of each), "interval" over images,
          "clusters" (accuracy by task cluster), "tasks" (their number), "n", "bad". Table "tasks".
        """
        train, test = _by_task(sets["train"]), _by_task(sets["test"])
        clusters = dict(
            zip(map(str, sets["test"].column("task")), map(str, sets["test"].column("task_cluster")))
        )
        for task in test:
            _check_train(task, train.get(task))
        task_hits = self._hits(train, test)
        hits = np.concatenate([task_hits[task] for task in test], axis=1)
        accuracies = hits.mean(axis=1).tolist()
        by_cluster: dict[str, list[Bool[np.ndarray, "seeds n"]]] = defaultdict(list)
        table = []
        for task in test:
            by_cluster[clusters[task]].append(task_hits[task])
            counts = {"train": len(train[task].labels), "test": len(test[task].labels)}
            accuracy = {"accuracy": float(task_hits[task].mean())}
            table.append({"task": task, "cluster": clusters[task]} | counts | accuracy)
        figures = {"top1": float(np.mean(accuracies)), "std": float(np.std(accuracies)), "seeds": accuracies}
        # The size of a single run: all seeds score the same images.
        figures["interval"] = wilson_interval(round(float(hits.mean(axis=0).sum())), hits.shape[1])
        figures["clusters"] = {
            name: float(np.concatenate(parts, axis=1).mean()) for name, parts in sorted(by_cluster.items())
        }
        figures |= {"tasks": len(test), "n": hits.shape[1], "bad": dict(sets["test"].skipped)}
        return Score(figures, {"tasks": table})

    def _hits(
        self, train: Mapping[str, _Task], test: Mapping[str, _Task]
    ) -> dict[str, Bool[np.ndarray, "seeds n"]]:
        from joblib import Parallel, delayed

        settings = [sample_settings(self.draws, seed) for seed in self.seeds]
        tasks = list(test)
        work = (delayed(_score_task)(train[task], test[task], settings) for task in tasks)
        hits = Parallel(n_jobs=self.jobs or -1, return_as="generator")(work)
        return dict(zip(tasks, track(hits, "scoring tasks", len(tasks))))


@dataclass(frozen=True)
class _Task:
    """Images of one task: unit vectors, and labels 0 or 1."""

    vectors: Float32[np.ndarray, "n dim"]
    labels: Int[np.ndarray, " n"]


def _by_task(images: LabeledEmbeddings) -> dict[str, _Task]:
    tasks = np.array(list(map(str, images.column("task"))))
    labels = images.column("label")
    if wrong := {str(label) for label in labels} - {"0", "1"}:
        raise UserError(f"column label has {sorted(wrong)[0]!r}; NeWT's labels are 0 and 1")
    numbers = np.array([int(label) for label in labels])
    # In order of appearance.
    return {
        task: _Task(images.unit[tasks == task], numbers[tasks == task])
        for task in dict.fromkeys(tasks.tolist())
    }


def _check_train(task: str, train: _Task | None) -> None:
    count = np.zeros(2, int) if train is None else np.bincount(train.labels, minlength=2)
    if count.min() < FOLDS:
        raise UserError(
            f"the task {task} has {count[0]} training images of label 0 and {count[1]} of label 1; "
            f"it needs {FOLDS} of each"
        )


def _score_task(
    train: _Task, test: _Task, settings: list[list[dict[str, Any]]]
) -> Bool[np.ndarray, "seeds n"]:
    from threadpoolctl import threadpool_limits

    mean = train.vectors.mean(axis=0)
    # One thread per process: the other cores run other tasks.
    with threadpool_limits(1):
        predictions = search_and_predict(
            unit(train.vectors - mean), train.labels, unit(test.vectors - mean), settings
        )
    return np.stack([predicted == test.labels for predicted in predictions])


def sample_settings(count: int, seed: int) -> list[dict[str, Any]]:
    """Sample C, kernel and gamma as RandomizedSearchCV does for a pipeline with the step "svc"."""
    from scipy.stats import loguniform
    from sklearn.model_selection import ParameterSampler

    space = {"C": loguniform(1e-3, 1e1), "kernel": list(KERNELS), "gamma": loguniform(1e-4, 1e-3)}
    prefixed = {f"svc__{name}": values for name, values in space.items()}
    sampled = ParameterSampler(prefixed, count, random_state=seed)
    return [{name.removeprefix("svc__"): value for name, value in setting.items()} for setting in sampled]


def search_and_predict(
    train: Float[np.ndarray, "n dim"],
    labels: Int[np.ndarray, " n"],
    test: Float[np.ndarray, "m dim"],
    settings: Sequence[Sequence[Mapping[str, Any]]],
) -> list[Int[np.ndarray, " m"]]:
    """Predict by the best of each list of settings.

    The same as RandomizedSearchCV over make_pipeline(StandardScaler(), SVC()). Best is the highest mean
    accuracy over 5 stratified folds, the first of equals; it is refitted to all of `train`. Every kernel
    of the search is a function of dot products of the scaled vectors, so these are computed once per fold
    instead of once per draw, and libsvm gets the finished kernel.
    """
    from sklearn.model_selection import StratifiedKFold

    folds = [
        (_Products.scale(train[inner], train[outer]), labels[inner], labels[outer])
        for inner, outer in StratifiedKFold(FOLDS).split(train, labels)
    ]
    full = _Products.scale(train, test)
    predictions = []
    for drawn in settings:
        scores = [
            np.mean(
                [(_fit_and_predict(kernels, own, setting) == true).mean() for kernels, own, true in folds]
            )
            for setting in drawn
        ]
        predictions.append(_fit_and_predict(full, labels, drawn[int(np.argmax(scores))]))
    return predictions


class _Products:
    """Dot products among training vectors and of other vectors with them, and squared lengths."""

    def __init__(self, train: Float[np.ndarray, "n dim"], other: Float[np.ndarray, "m dim"]) -> None:
        self.own, self.other = train @ train.T, other @ train.T
        self.own_lengths, self.other_lengths = (train**2).sum(axis=1), (other**2).sum(axis=1)

    @classmethod
    def scale(cls, train: Float[np.ndarray, "n dim"], other: Float[np.ndarray, "m dim"]) -> _Products:
        from sklearn.preprocessing import StandardScaler

        # libsvm computes in float64.
        scaler = StandardScaler().fit(train)
        return cls(*(scaler.transform(part).astype(np.float64) for part in (train, other)))

    def kernels(self, kind: str, gamma: float) -> tuple[Float[np.ndarray, "n n"], Float[np.ndarray, "m n"]]:
        if kind == "linear":
            return self.own, self.other
        if kind == "sigmoid":
            return np.tanh(gamma * self.own), np.tanh(gamma * self.other)
        if kind == "poly":
            return (gamma * self.own) ** _DEGREE, (gamma * self.other) ** _DEGREE
        lengths = self.own_lengths
        own = lengths[:, None] + lengths - 2 * self.own
        other = self.other_lengths[:, None] + lengths - 2 * self.other
        return np.exp(-gamma * own), np.exp(-gamma * other)


def _fit_and_predict(
    products: _Products, labels: Int[np.ndarray, " n"], setting: Mapping[str, Any]
) -> Int[np.ndarray, " m"]:
    from sklearn.svm import SVC

    own, other = products.kernels(setting["kernel"], setting["gamma"])
    return SVC(C=setting["C"], kernel="precomputed").fit(own, labels).predict(other)
