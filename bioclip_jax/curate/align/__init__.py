"""Align names of organisms with a backbone taxonomy, offline."""

import lazy_loader

from bioclip_jax.errors import UserError

try:
    import polars  # noqa: F401
    import rapidfuzz  # noqa: F401
except ImportError as missing:
    raise UserError(
        f"aligning taxonomy needs {missing.name}; install it: pip install 'bioclip-jax[curate]'"
    ) from missing

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "align": ["align_names"],
        "backbone": ["Backbone"],
        "report": ["write_report"],
        "table": ["align_table"],
    },
)
