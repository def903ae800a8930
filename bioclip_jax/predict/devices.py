"""The devices that a person may ask for by name."""

from __future__ import annotations

import jax

from bioclip_jax.distributed import allow_platform, check_backend
from bioclip_jax.errors import UserError

# What people call a kind of device, and what JAX calls it; "gpu" is NVIDIA's or AMD's, "cuda" is NVIDIA's
# alone.
_KINDS = ("cpu", "gpu", "cuda", "rocm", "tpu")


def local_devices(name: str | None = None) -> list[jax.Device]:
    """This machine's devices of the kind `name`, all of them; of None, the best kind there is.

    `name`: cpu, gpu, cuda, rocm or tpu, or one device of a kind by its number, such as cuda:1; a
    torch.device is one too. UserError for any other, and where there is no such device.
    """
    if name is None:
        check_backend()
        return jax.local_devices()
    kind, colon, number = str(name).strip().lower().partition(":")
    if kind == "mps":
        raise UserError(f"the device {name} is Apple's, which JAX cannot use here; use cpu")
    if kind not in _KINDS or (colon and not number.isdecimal()):
        raise UserError(
            f"there is no device {name!r}; choose cpu, gpu, cuda or tpu, or one by its number as in cuda:1"
        )
    if kind == "cpu":
        # Every machine has one, and the option says more than the environment.
        allow_platform(kind)
    check_backend()
    try:
        found = jax.local_devices(backend=kind)
    except RuntimeError as error:
        there = ", ".join(sorted({device.platform for device in jax.local_devices()}))
        extra = " and bioclip_jax[cuda13]" if kind in ("gpu", "cuda") else ""
        advice = f"use {there}, or install the driver{extra}"
        raise UserError(
            f"the device {name} cannot be used: JAX finds no {kind} on this machine; {advice}"
        ) from error
    if not colon:
        return found
    if int(number) >= len(found):
        raise UserError(f"there is no device {name}: this machine has {kind}:0 to {kind}:{len(found) - 1}")
    return [found[int(number)]]
