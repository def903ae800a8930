"""Predictions as one web page that needs nothing but itself."""

from bioclip_jax.predict.report.page import write_page
from bioclip_jax.predict.report.report import Report

__all__ = ["Report", "write_page"]
