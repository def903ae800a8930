"""NeWT: 164 binary questions about natural images, a support vector machine each (https://arxiv.org/abs/2103.16483).

Protocol of BioCLIP 2 (https://arxiv.org/abs/2505.23883): vectors are centred by a question's training images
and normalised, the machine is chosen by a random search of 100 draws, and the figure is the accuracy over the
test images of all questions together, the mean over three seeds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, Float32, Int

from bioclip_jax.errors import UserError
from bioclip_jax.predict import track
from bioclip_jax.predict.embedding import LabeledEmbeddings, unit

from .intervals import share_interval
from .protocol import Score, Towers
from .svm import FOLDS, draws, search_and_predict


@dataclass(frozen=True)
class NeWT:
    """draws: settings that are tried for each question. seeds: of the search, a run each. jobs: processes, None for one a
    core.
    """

    name: ClassVar[str] = "newt"
    score: ClassVar[str] = "top1"
    splits: ClassVar[tuple[str, ...]] = ("train", "test")

    draws: int = 100
    seeds: tuple[int, ...] = (0, 1, 2)
    jobs: int | None = None

    def __post_init__(self) -> None:
        if self.draws < 1 or not self.seeds:
            raise UserError(
                f"newt with {self.draws} draws and seeds {self.seeds} finds nothing; give at least one of "
                f"each"
            )

    def __call__(self, sets: Mapping[str, LabeledEmbeddings], towers: Towers) -> Score:
        """Figures: "top1" (mean over seeds), "std", "seeds" (the accuracy of each), "interval" over images, "clusters"
        (accuracy by kind of question), "tasks" (how many), "n", "bad". Table "tasks".
        """
        train, test = _by_task(sets["train"]), _by_task(sets["test"])
        clusters = dict(
            zip(map(str, sets["test"].column("task")), map(str, sets["test"].column("task_cluster")))
        )
        for task in test:
            _check(task, train.get(task))
        right = self._right(train, test)
        hits = np.concatenate([right[task] for task in test], axis=1)
        accuracies = hits.mean(axis=1).tolist()
        by_cluster: dict[str, list[Bool[np.ndarray, "seeds n"]]] = defaultdict(list)
        for task in test:
            by_cluster[clusters[task]].append(right[task])
        table = [
            {
                "task": task,
                "cluster": clusters[task],
                "train": len(train[task].labels),
                "test": len(test[task].labels),
            }
            | {"accuracy": float(right[task].mean())}
            for task in test
        ]
        figures = {"top1": float(np.mean(accuracies)), "std": float(np.std(accuracies)), "seeds": accuracies}
        # Of one run; the seeds see the same images.
        figures["interval"] = share_interval(round(float(hits.mean(axis=0).sum())), hits.shape[1])
        figures["clusters"] = {
            name: float(np.concatenate(parts, axis=1).mean()) for name, parts in sorted(by_cluster.items())
        }
        figures |= {"tasks": len(test), "n": hits.shape[1], "bad": dict(sets["test"].skipped)}
        return Score(figures, {"tasks": table})

    def _right(
        self, train: Mapping[str, _Task], test: Mapping[str, _Task]
    ) -> dict[str, Bool[np.ndarray, "seeds n"]]:
        from joblib import Parallel, delayed

        settings = [draws(self.draws, seed) for seed in self.seeds]
        tasks = list(test)
        work = (delayed(_answer)(train[task], test[task], settings) for task in tasks)
        found = Parallel(n_jobs=self.jobs or -1, return_as="generator")(work)
        return dict(zip(tasks, track(found, "answering questions", len(tasks))))


@dataclass(frozen=True)
class _Task:
    """The images of one question: unit vectors, and 0 or 1."""

    vectors: Float32[np.ndarray, "n dim"]
    labels: Int[np.ndarray, " n"]


def _by_task(labelled: LabeledEmbeddings) -> dict[str, _Task]:
    tasks = np.array(list(map(str, labelled.column("task"))))
    labels = labelled.column("label")
    if wrong := {str(label) for label in labels} - {"0", "1"}:
        raise UserError(f"column label has {sorted(wrong)[0]!r}; NeWT's labels are 0 and 1")
    numbers = np.array([int(label) for label in labels])
    # In the order in which they first come.
    return {
        task: _Task(labelled.unit[tasks == task], numbers[tasks == task])
        for task in dict.fromkeys(tasks.tolist())
    }


def _check(task: str, train: _Task | None) -> None:
    count = np.zeros(2, int) if train is None else np.bincount(train.labels, minlength=2)
    if count.min() < FOLDS:
        raise UserError(
            f"the question {task} has {count[0]} training images of label 0 and {count[1]} of label 1; "
            f"it needs {FOLDS} of each"
        )


def _answer(train: _Task, test: _Task, settings: list[list[dict[str, Any]]]) -> Bool[np.ndarray, "seeds n"]:
    from threadpoolctl import threadpool_limits

    mean = train.vectors.mean(axis=0)
    # The other processes have the other cores.
    with threadpool_limits(1):
        answers = search_and_predict(
            unit(train.vectors - mean), train.labels, unit(test.vectors - mean), settings
        )
    return np.stack([answer == test.labels for answer in answers])
