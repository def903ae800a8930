"""Folds of a cross-validation that keep photographs of one occasion together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float32, Int

FOLDS = 5
# Fold of a photograph that is never held out, since its class has no other group to learn from.
NEVER = -1
# Photographs of a class count as near-identical if their squared distance is below this share of the median
# within the class. Independent pictures of that distance would need classes of two or three dimensions.
NEAR_IDENTICAL = 0.1
# Pairs of a class that are compared at most.
_MOST_PAIRS = 4_000_000


def assign_folds(
    labels: Int[np.ndarray, " n"], groups: Int[np.ndarray, " n"], folds: int = FOLDS, seed: int = 0
) -> Int[np.ndarray, " n"]:
    """Return each photograph's fold, or NEVER.

    Groups stay together and are dealt class by class, so that every fold has its share of every class. A
    group that spans classes is dealt with the class that has most of its photographs. Photographs of a class
    that would be missing from the other folds are never held out.
    """
    random = np.random.default_rng(seed)
    sizes = np.zeros((folds, int(labels.max()) + 1), np.int64)
    fold_of: dict[int, int] = {}
    members: dict[int, list[int]] = {}
    for photograph, group in enumerate(groups.tolist()):
        members.setdefault(group, []).append(photograph)
    shuffled = list(members)
    random.shuffle(shuffled)
    main = {group: int(np.bincount(labels[rows]).argmax()) for group, rows in members.items()}
    # Large groups first, so that small ones even out the folds.
    for group in sorted(shuffled, key=lambda group: (main[group], -len(members[group]))):
        total = sizes.sum(axis=1)
        fold = min(range(folds), key=lambda fold: (sizes[fold, main[group]], total[fold]))
        fold_of[group] = fold
        sizes[fold] += np.bincount(labels[members[group]], minlength=sizes.shape[1])
    assigned = np.array([fold_of[group] for group in groups.tolist()], np.int64)
    alone = sizes.max(axis=0) == sizes.sum(axis=0)
    assigned[alone[labels]] = NEVER
    return assigned


def photograph_groups(
    vectors: Float32[np.ndarray, "n dim"], labels: Int[np.ndarray, " n"], given: Sequence[str] | None = None
) -> Int[np.ndarray, " n"]:
    """Return a group number for each photograph: by name, and near-identical photographs of a class together.

    vectors: unit vectors. given: a name for each photograph; those of an empty name have no group by name.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rows, columns = near_identical(vectors, labels)
    if given is not None:
        first: dict[str, int] = {}
        named = [(first.setdefault(name, index), index) for index, name in enumerate(given) if name]
        rows = np.concatenate([rows, np.array([pair[0] for pair in named], np.int64)])
        columns = np.concatenate([columns, np.array([pair[1] for pair in named], np.int64)])
    links = coo_array((np.ones(len(rows), bool), (rows, columns)), shape=(len(labels),) * 2)
    return connected_components(links, directed=False)[1].astype(np.int64)


def near_identical(
    vectors: Float32[np.ndarray, "n dim"], labels: Int[np.ndarray, " n"]
) -> tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]]:
    """Return pairs of photographs of one class that are near-identical for the model, as of a burst."""
    rows, columns = [], []
    order = np.argsort(labels, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(labels[order])) + 1):
        if len(members) < 3:
            # Without a third photograph there is no distance to compare with.
            continue
        block = max(1, _MOST_PAIRS // len(members))
        limit = NEAR_IDENTICAL * _median_distance(vectors[members])
        for start in range(0, len(members), block):
            distances = 1 - vectors[members[start : start + block]] @ vectors[members].T
            near: Bool[np.ndarray, "block members"] = distances <= limit
            one, other = np.nonzero(near)
            later = other > one + start
            rows.append(members[one[later] + start])
            columns.append(members[other[later]])
    none = np.zeros(0, np.int64)
    return (np.concatenate(rows), np.concatenate(columns)) if rows else (none, none)


def _median_distance(vectors: Float32[np.ndarray, "n dim"]) -> float:
    """Return the median of 1 - cosine over pairs, of at most a thousand of the vectors."""
    some = vectors[:: max(1, len(vectors) // 1000)]
    distances = (1 - some @ some.T)[np.triu_indices(len(some), 1)]
    return float(np.median(distances))
