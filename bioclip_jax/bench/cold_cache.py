"""Compile times as of a first run, whatever was compiled here before."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import jax
from jax.experimental.compilation_cache import compilation_cache


@contextmanager
def cold_cache() -> Iterator[None]:
    """JAX's cache of compiled programs begins empty, and is what it was before afterwards."""
    before = jax.config.jax_compilation_cache_dir
    with tempfile.TemporaryDirectory() as folder:
        _use(folder)
        try:
            yield
        finally:
            _use(before)


def _use(folder: str | None) -> None:
    jax.config.update("jax_compilation_cache_dir", folder)
    compilation_cache.reset_cache()
