"""The one switch between NVIDIA's devices and all others."""

import jax

__all__ = ["on_nvidia"]


def on_nvidia() -> bool:
    """Whether programs run on NVIDIA GPUs here.

    Everything that is NVIDIA's alone, cuDNN attention and the compiler's flags for GPUs, asks this and
    nothing else.
    """
    # An AMD GPU is a "gpu" too.
    return jax.default_backend() == "gpu" and "cuda" in jax.devices()[0].client.platform_version.lower()
