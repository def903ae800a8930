"""TreeOfLife mini: a few dozen real species, drawn procedurally so that relatives look alike."""

from bioclip_jax.datasets.tree_of_life_mini.builder import MiniConfig, TreeOfLifeMini

__all__ = ["MiniConfig", "TreeOfLifeMini"]
