"""Names of organisms brought in line with a backbone taxonomy, offline."""

from bioclip_jax.errors import UserError

try:
    import polars  # noqa: F401
    import rapidfuzz  # noqa: F401
except ImportError as missing:
    raise UserError(
        f"aligning taxonomy needs {missing.name}; install it: pip install 'bioclip-jax[curate]'"
    ) from missing
