"""JAX's backend, checked before its first use."""

from __future__ import annotations

import jax

from bioclip_jax.errors import UserError


def check_backend() -> None:
    """Initialize JAX's devices. UserError where $JAX_PLATFORMS asks for some that this machine does not have."""
    platforms = jax.config.jax_platforms
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:
        if not platforms:
            raise
        raise UserError(
            f"JAX_PLATFORMS is {platforms}, and JAX finds no such device on this machine; unset it, set it "
            f"to cpu, or "
            "install the driver and jax[cuda13]"
        ) from error


def allow_platform(platform: str) -> None:
    """Let `platform` be used although $JAX_PLATFORMS leaves it out, if no device was used before."""
    allowed = jax.config.jax_platforms
    if allowed and platform not in allowed.split(","):
        jax.config.update("jax_platforms", platform)
