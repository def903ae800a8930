"""Sums over the links of a food web, and their transposes, as gathers of constant rows.

A web has few of all possible links, so that products with its incidence matrix would mostly multiply by 0;
XLA's own transpose of a gather is a scatter, which a CPU runs row by row.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float, Int

# Rows that one gather adds up; a species with more links needs more levels.
_WIDTH = 6


@dataclass(frozen=True)
class End:
    """One end of all links, consumer or resource: species[l] is that of link l."""

    species: tuple[int, ...]
    n_species: int

    def spread(self, values: Float[Array, "*batch species members"]) -> Float[Array, "*batch links members"]:
        """Return the value of each link's species."""
        return _map.bind(values, end=self, to_links=True)

    def collect(self, values: Float[Array, "*batch links members"]) -> Float[Array, "*batch species members"]:
        """Return the sum over each species' links; the transpose of spread."""
        return _map.bind(values, end=self, to_links=False)

    @functools.cached_property
    def rows(self) -> list[Int[np.ndarray, "rows width"]]:
        """Rows to add up, level by level; one past the last row stands for 0."""
        owner = np.array(self.species, int)
        groups: Sequence[np.ndarray] = [np.flatnonzero(owner == one) for one in range(self.n_species)]
        levels, n_rows = [], len(owner)
        while max(map(len, groups)) > _WIDTH:
            parts = [np.split(group, range(_WIDTH, len(group), _WIDTH)) for group in groups]
            parts = [[part for part in group if len(part)] for group in parts]
            levels.append(_padded([part for group in parts for part in group], n_rows))
            ends = np.cumsum([len(group) for group in parts])
            groups = [np.arange(end - len(group), end) for end, group in zip(ends, parts)]
            n_rows = len(levels[-1])
        return [*levels, _padded(groups, n_rows)]


def _padded(groups: Sequence[np.ndarray], filler: int) -> Int[np.ndarray, "groups width"]:
    width = max(map(len, groups))
    return np.array([np.pad(group, (0, width - len(group)), constant_values=filler) for group in groups], int)


def _apply(values: Array, *, end: End, to_links: bool) -> Array:
    *batch, n_rows, members = values.shape
    levels = [np.array(end.species, int)[:, None]] if to_links else end.rows
    for rows in levels:
        if not rows.size:
            return jnp.zeros((*batch, len(rows), members), values.dtype)
        # Gathers of whole rows of a matrix, one for each column and then added up: XLA makes one loop of
        # them that runs along the members in vectors.
        whole = values.reshape(-1, members)
        if not to_links:
            whole = jnp.concatenate([whole, jnp.zeros_like(whole[:1])])
        offsets = np.arange(math.prod(batch))[:, None, None] * n_rows
        places = np.where(rows < n_rows, rows + offsets, len(whole) - 1).reshape(-1, rows.shape[1])
        columns = [whole.at[column].get(mode="promise_in_bounds") for column in places.T]
        values = sum(columns[1:], columns[0]).reshape(*batch, len(rows), members)
        n_rows = len(rows)
    return values


def _shape(values: jax.core.ShapedArray, *, end: End, to_links: bool) -> jax.core.ShapedArray:
    rows = len(end.species) if to_links else end.n_species
    return values.update(shape=(*values.shape[:-2], rows, values.shape[-1]))


# A primitive, since JAX has no other way to give a linear map its transpose that serves all of forward mode,
# reverse mode and vmap.
_map = Primitive("food_web_incidence")
_map.def_impl(jax.jit(_apply, static_argnames=("end", "to_links")))
_map.def_abstract_eval(_shape)
mlir.register_lowering(_map, mlir.lower_fun(_apply, multiple_results=False))
ad.deflinear2(
    _map, lambda cotangent, _, end, to_links: (_map.bind(cotangent, end=end, to_links=not to_links),)
)
batching.primitive_batchers[_map] = lambda values, axes, **options: (
    _map.bind(jnp.moveaxis(values[0], axes[0], 0), **options),
    0,
)
