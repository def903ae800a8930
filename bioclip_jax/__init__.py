"""BioCLIP 2 in JAX: hierarchical contrastive learning over the tree of life."""

__version__ = "0.1.0"
