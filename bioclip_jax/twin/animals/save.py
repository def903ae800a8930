"""Checkpoints of a population: one .npz with the state, the history, and what they are of."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bioclip_jax.errors import UserError
from bioclip_jax.files import atomic_write, read_arrays

from .hour import Population


class Saved(NamedTuple):
    """A population at the time of its last record, and all records; run is the fingerprint of its start."""

    run: str
    population: Population
    records: list[tuple[np.ndarray, ...]]


def fingerprint(run: Any) -> str:
    """Return a digest of all that decides on a run: a pytree of arrays, numbers and static fields."""
    leaves, structure = jax.tree.flatten(run)
    digest = hashlib.sha256(str(structure).encode())
    for leaf in map(np.asarray, leaves):
        digest.update(f"{leaf.dtype} {leaf.shape}".encode())
        digest.update(leaf.tobytes())
    return digest.hexdigest()


def save(path: Path, saved: Saved) -> None:
    """Write a checkpoint in place of the last one."""
    arrays = {f"state{name}": np.asarray(leaf) for name, leaf in _leaves(saved.population).items()}
    columns = {f"history{number}": np.stack(column) for number, column in enumerate(zip(*saved.records))}
    with atomic_write(path) as partial:
        np.savez(partial, run=saved.run, **arrays, **columns)


def load(path: Path, run: str, like: Population) -> Saved:
    """Return a checkpoint; `like` is a population of its shapes.

    Raises UserError if it is damaged or of another run.
    """
    try:
        arrays = read_arrays(Path(path))
        its_run = str(arrays["run"])
    except (KeyError, OSError, ValueError):
        raise UserError(f"{path} is not a checkpoint of a population, or damaged; delete it") from None
    if its_run != run:
        raise UserError(
            f"{path} is the checkpoint of another run (other rates, habitat, founders or seed); delete it or "
            "name another"
        )
    leaves = [jnp.asarray(arrays[f"state{name}"]) for name in _leaves(like)]
    population = jax.tree.unflatten(jax.tree.structure(like), leaves)
    columns = [
        arrays[f"history{number}"] for number in range(sum(name.startswith("history") for name in arrays))
    ]
    return Saved(run, population, list(zip(*columns)))


def _leaves(population: Population) -> dict[str, Any]:
    return {
        jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(population)
    }
