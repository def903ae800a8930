"""Zones of repulsion, orientation and attraction, in 2-D or 3-D.

After Couzin et al. (2002, J. Theor. Biol. 218:1), whose model is in 3-D.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

# Below the square of any length of interest: keeps the direction from an individual to itself finite.
_TINY = 1e-12


class Zones(NamedTuple):
    """Radii of the zones, ends of their shells, in the unit of length of positions; a number, or one each.

    field_of_view: radians, 2π without a blind angle; neighbors in the blind cone behind an individual are
    not seen, but repel all the same.
    """

    repulsion: Any
    orientation: Any
    attraction: Any
    field_of_view: Any


def zone_direction(
    position: Float[Array, "individuals dim"],
    direction: Float[Array, "individuals dim"],
    zones: Zones,
    neighbors: Bool[Array, "individuals individuals"] | None = None,
) -> Float[Array, "individuals dim"]:
    """Return the unit direction in which each individual wants to go; its own where nobody is near.

    direction: unit vectors. neighbors: those that each individual (row) heeds, default all others. If any is
    in the zone of repulsion, away from them: the sum of unit vectors (equation 1). Otherwise the sum of the
    directions of those in the zone of orientation and of itself, and that of the unit vectors to those in the
    zone of attraction, each half if there are both (equations 2 and 3).
    """
    n = position.shape[0]

    def each(value: Any) -> Float[Array, "individuals 1"]:
        return jnp.broadcast_to(jnp.asarray(value, position.dtype), (n,))[:, None]

    # One array for each dimension: [individuals, individuals], from the row's to the column's.
    offset = [along[None, :] - along[:, None] for along in position.T]
    squared = sum(o * o for o in offset)
    other = ~jnp.eye(n, dtype=bool) if neighbors is None else neighbors & ~jnp.eye(n, dtype=bool)
    nearness = jax.lax.rsqrt(squared + _TINY)
    ahead = nearness * sum(o * along[:, None] for o, along in zip(offset, direction.T, strict=True))
    seen = other & (ahead >= jnp.cos(each(zones.field_of_view) / 2))
    repulsion, orientation, attraction = (squared < each(radius) ** 2 for radius in zones[:3])
    repelled = other & repulsion
    oriented = seen & orientation & ~repulsion
    attracted = seen & attraction & ~orientation
    # Sums over neighbors as products of matrices: the sum of units is Σ w x_j - x_i Σ w.
    middle = position - position.mean(0)
    ones = jnp.ones((n, 1), position.dtype)
    places, ways = jnp.hstack([middle, ones]), jnp.hstack([direction, ones])
    away = jnp.where(repelled, nearness, 0) @ places
    toward = jnp.where(attracted, nearness, 0) @ places
    align = oriented.astype(position.dtype) @ ways
    # The sum of both has the direction of their mean.
    social = jnp.where(align[:, -1:] > 0, align[:, :-1] + direction, 0) + (
        toward[:, :-1] - middle * toward[:, -1:]
    )
    wanted = jnp.where(away[:, -1:] > 0, middle * away[:, -1:] - away[:, :-1], social)
    length = jnp.linalg.norm(wanted, axis=1, keepdims=True)
    return jnp.where(length > 1e-6, wanted / jnp.maximum(length, 1e-6), direction)


def turn_toward(
    direction: Float[Array, "individuals dim"], wanted: Float[Array, "individuals dim"], largest: Any
) -> Float[Array, "individuals dim"]:
    """Turn unit directions toward others, by at most `largest` radians."""
    cosine = jnp.clip((direction * wanted).sum(1, keepdims=True), -1, 1)
    tangent = _unit(wanted - cosine * direction)
    turned = direction * jnp.cos(largest) + tangent * jnp.sin(largest)
    return _unit(jnp.where(cosine >= jnp.cos(largest), wanted, turned))


def perturb(
    direction: Float[Array, "individuals dim"],
    normals: Float[Array, "individuals dim_and_1"],
    noise: float,
) -> Float[Array, "individuals dim"]:
    """Turn directions by a normal angle of standard deviation `noise` radians, to a uniformly random side.

    normals: standard normal numbers, one more than the dimensions.
    """
    aside = normals[:, 1:]
    tangent = _unit(aside - (aside * direction).sum(1, keepdims=True) * direction)
    angle = noise * normals[:, :1]
    return direction * jnp.cos(angle) + tangent * jnp.sin(angle)


def polarization(direction: Float[Array, "*batch individuals dim"]) -> Float[Array, " *batch"]:
    """Return the length of the mean direction: 1 if all go the same way (equation 4)."""
    return jnp.linalg.norm(direction.mean(-2), axis=-1)


def rotation(
    position: Float[Array, "*batch individuals 3"], direction: Float[Array, "*batch individuals 3"]
) -> Float[Array, " *batch"]:
    """Return the length of the mean angular momentum about the group's middle: 1 in a thin ring (equation 5).

    Arms are unit vectors, so that it does not depend on the group's size.
    """
    arm = position - position.mean(-2, keepdims=True)
    arm = arm / jnp.maximum(jnp.linalg.norm(arm, axis=-1, keepdims=True), 1e-6)
    return jnp.linalg.norm(jnp.cross(arm, direction).mean(-2), axis=-1)


def _unit(vectors: Float[Array, "individuals dim"]) -> Float[Array, "individuals dim"]:
    return vectors / jnp.maximum(jnp.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
