"""The statistics of a set of shards as one web page that needs nothing but itself."""

from bioclip_jax.curate.counting.report.page import write_report

__all__ = ["write_report"]
