"""Verify shards: read everything, say what is wrong where, and write clean copies."""

from bioclip_jax.curate.verify.report import print_report
from bioclip_jax.curate.verify.verify import verify_shards

__all__ = ["print_report", "verify_shards"]
