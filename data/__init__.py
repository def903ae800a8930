"""Data sets as TFDS builders; importing this package registers them by name."""

from bioclip_jax.datasets.tree_of_life_mini import TreeOfLifeMini

__all__ = ["TreeOfLifeMini"]
